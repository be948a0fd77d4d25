// The key services as a stream process opens them from its settings: credentials from files, and sealing end to end.
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateKeyCommand, KMSClient } from '@aws-sdk/client-kms'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { systemRandom } from '../../../src/adapters/random/system-random.ts'
import type { KeyProviderConfig } from '../../../src/config/key-settings.ts'
import { BlockOpener, readSealedHeader } from '../../../src/crypto/block-opener.ts'
import { BlockSealer } from '../../../src/crypto/block-sealer.ts'
import { openKeyService } from '../../../src/main/key-service.ts'
import { nullLogger } from '../../../src/observability/log.ts'
import type { KeyProvider } from '../../../src/ports/key-provider.ts'
import { parseProducerId, parseTopicId } from '../../../src/protocol/ids.ts'
import { motoServer, startMoto } from '../../support/moto.ts'
import { startVaultStub, type VaultStub } from '../../support/vault-stub.ts'

const topicId = parseTopicId('00112233445566778899aabbccddeeff')
const place = { topicId, partition: 0, producerId: parseProducerId('ffeeddccbbaa99887766554433221100'), n: 1, part: 0 }
const block = { partition: 0, packing: 1, count: 1, encoding: 0, rawSize: 5, data: new TextEncoder().encode('hello') }
const parts = { clock: systemClock, random: systemRandom, logger: nullLogger }
const base: KeyProviderConfig = { keyProvider: 'keyring', vaultMount: 'transit', vaultKey: 'trunkline' }

let dir: string
const opened: KeyProvider[] = []
beforeAll(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'trunkline-service-')))
})
afterEach(async () => {
  for (const keys of opened.splice(0)) await keys.close()
})
afterAll(() => rmSync(dir, { recursive: true }))

function secret(name: string, text: string, mode = 0o600): string {
  const path = join(dir, name)
  writeFileSync(path, text, { mode })
  return path
}

async function open(config: Partial<KeyProviderConfig>): Promise<KeyProvider> {
  const { keys } = await openKeyService({ ...base, ...config }, parts)
  opened.push(keys)
  return keys
}

/** Seals by one, opens by another: what one node wrote another reads. Answers the KEK's id. */
async function sealAndOpen(one: KeyProvider, other: KeyProvider): Promise<string> {
  const common = { clock: systemClock, random: systemRandom, tenant: 'acme' }
  const sealed = await new BlockSealer({ keys: one, ...common }).seal(block, place)
  const found = await new BlockOpener({ keys: other, ...common }).open(place, sealed)
  expect(new TextDecoder().decode(found.data)).toBe('hello')
  return readSealedHeader(sealed).kekId
}

describe('Vault transit (stub)', () => {
  let vault: VaultStub
  beforeAll(async () => {
    vault = await startVaultStub()
    vault.addKey('trunkline')
  })
  afterAll(async () => vault.close())

  it('seals on one node what another opens, with a token that is read from its file each time', async () => {
    const vaultTokenFile = secret('token', `${vault.token}\n`)
    const config = { keyProvider: 'vault-transit', vaultUrl: vault.url, vaultTokenFile } as const
    const [one, other] = [await open(config), await open(config)]
    expect(await sealAndOpen(one, other)).toBe('vault:trunkline:v1')
    secret('token', 'expired')
    await expect(one.generate({ topicId, tenant: 'x' })).rejects.toMatchObject({ name: 'KEY_UNAVAILABLE' })
    secret('token', vault.token)
    expect(await sealAndOpen(one, other)).toBe('vault:trunkline:v1')
  })

  it('given a token that others may read, then it does not start', async () => {
    const vaultTokenFile = secret('open-token', vault.token, 0o644)
    await expect(open({ keyProvider: 'vault-transit', vaultUrl: vault.url, vaultTokenFile })).rejects.toMatchObject({
      name: 'BAD_CONFIG',
      details: { vaultTokenFile: expect.stringContaining('0600') },
    })
  })
})

motoServer.describe('AWS KMS (moto)', () => {
  it('seals on one node what another opens, with credentials from a file', async () => {
    const moto = await startMoto()
    const region = 'eu-central-1'
    const kms = new KMSClient({ region, endpoint: moto.url, credentials: { accessKeyId: 'a', secretAccessKey: 'b' } })
    const { KeyMetadata } = await kms.send(new CreateKeyCommand({}))
    kms.destroy()
    const awsCredentialsFile = secret(
      'aws',
      '[default]\naws_access_key_id = testing\naws_secret_access_key = testing\n',
    )
    const config = {
      keyProvider: 'aws-kms',
      awsKmsRegion: region,
      awsKmsEndpoint: moto.url,
      awsCredentialsFile,
    } as const
    // By its id, and by its ARN, as for a key of another account: the same key.
    const one = await open({ ...config, awsKmsKey: KeyMetadata?.KeyId ?? '' })
    const other = await open({ ...config, awsKmsKey: KeyMetadata?.Arn ?? '' })
    expect(await sealAndOpen(one, other)).toBe(`aws:${KeyMetadata?.KeyId}`)
    await moto.stop()
  })
})

describe('AWS credentials', () => {
  it('given a file without them, then it does not start, and the file is not quoted', async () => {
    const awsCredentialsFile = secret('half', 'aws_access_key_id = AKIAEXAMPLE')
    const config = { keyProvider: 'aws-kms', awsKmsRegion: 'eu-central-1', awsKmsKey: 'k', awsCredentialsFile } as const
    const error: unknown = await open(config).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ name: 'BAD_CONFIG' })
    expect(JSON.stringify(error)).not.toContain('AKIA')
  })
})

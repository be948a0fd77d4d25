// Owns: the AWS KMS adapter passes the KeyProvider suite against moto, and what it promises beyond the port.
import {
  CancelKeyDeletionCommand,
  CreateAliasCommand,
  CreateKeyCommand,
  DisableKeyCommand,
  EnableKeyCommand,
  KMSClient,
  ScheduleKeyDeletionCommand,
  UpdateAliasCommand,
} from '@aws-sdk/client-kms'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { AwsKmsProvider } from '../../src/adapters/aws-kms/aws-kms-provider.ts'
import { type KmsCalls, openKmsCalls } from '../../src/adapters/aws-kms/kms-calls.ts'
import { SimulatedClock } from '../../src/adapters/clock/simulated-clock.ts'
import { decodeServiceWrap, encodeServiceWrap } from '../../src/crypto/service-wrap.ts'
import { parseTopicId } from '../../src/protocol/ids.ts'
import { type Moto, motoServer, startMoto } from '../support/moto.ts'
import { describeKeyProvider, type KeyProviderFixture } from './key-provider-suite.ts'

const region = 'eu-central-1'
const elsewhere = 'eu-west-1'
const credentials = { accessKeyId: 'testing', secretAccessKey: 'testing' }
const context = { topicId: parseTopicId('00112233445566778899aabbccddeeff'), tenant: 'acme' }

motoServer.describe('AWS KMS', () => {
  let moto: Moto
  let aliases = 0
  beforeAll(async () => {
    moto = await startMoto()
  })
  afterAll(async () => moto.stop())

  const callsIn = (where: string): Promise<KmsCalls> =>
    openKmsCalls({ region: where, endpoint: moto.url, credentials: () => credentials, nowMs: () => Date.now() })

  interface KmsFixture extends KeyProviderFixture {
    readonly provider: AwsKmsProvider
    readonly kms: KMSClient
    readonly calls: KmsCalls
    readonly alias: string
  }

  async function fixture(): Promise<KmsFixture> {
    const kms = new KMSClient({ region, endpoint: moto.url, credentials })
    aliases += 1
    const alias = `alias/trunkline-${aliases}`
    const newKey = async (client: KMSClient): Promise<string> => {
      const { KeyMetadata } = await client.send(new CreateKeyCommand({}))
      return KeyMetadata?.KeyId ?? ''
    }
    await kms.send(new CreateAliasCommand({ AliasName: alias, TargetKeyId: await newKey(kms) }))
    const clock = new SimulatedClock()
    const calls = await callsIn(region)
    const provider = new AwsKmsProvider({ calls, keyId: alias, clock })
    await provider.refresh()
    const strangers: AwsKmsProvider[] = []
    const keyId = (kekId: string): string => kekId.slice('aws:'.length)
    return {
      provider,
      kms,
      calls,
      alias,
      async rotate() {
        await kms.send(new UpdateAliasCommand({ AliasName: alias, TargetKeyId: await newKey(kms) }))
        await provider.refresh()
      },
      async revoke(kekId) {
        await kms.send(new DisableKeyCommand({ KeyId: keyId(kekId) }))
        await provider.refresh()
      },
      async restore(kekId) {
        await kms.send(new EnableKeyCommand({ KeyId: keyId(kekId) }))
        await provider.refresh()
      },
      async destroy(kekId) {
        await kms.send(new ScheduleKeyDeletionCommand({ KeyId: keyId(kekId), PendingWindowInDays: 7 }))
        await provider.refresh()
      },
      async stranger() {
        const far = new KMSClient({ region: elsewhere, endpoint: moto.url, credentials })
        const farKey = await newKey(far)
        far.destroy()
        const stranger = new AwsKmsProvider({ calls: await callsIn(elsewhere), keyId: farKey, clock })
        strangers.push(stranger)
        return stranger
      },
      async close() {
        await Promise.all([provider, ...strangers].map((one) => one.close()))
        kms.destroy()
      },
    }
  }

  describeKeyProvider('AWS KMS (moto)', fixture)

  it.each([
    ['topic', { ...context, topicId: parseTopicId('ff112233445566778899aabbccddeeff') }],
    ['tenant', { ...context, tenant: 'acmf' }],
  ])('binds the %s at the service too: a forged check does not help', async (_, other) => {
    const at = await fixture()
    const { provider } = at
    const { kekId, wrapped } = await provider.generate(context)
    const forged = encodeServiceWrap(kekId, decodeServiceWrap(kekId, wrapped, context), other)
    await expect(provider.unwrap(kekId, forged, other)).rejects.toMatchObject({ name: 'BLOCK_DAMAGED' })
    await expect(provider.rewrap(kekId, forged, other)).rejects.toMatchObject({ name: 'BLOCK_DAMAGED' })
    await at.close()
  })

  it('asks KMS for no key that a block merely names', async () => {
    const at = await fixture()
    const { provider } = at
    const { wrapped } = await provider.generate(context)
    for (const kekId of ['aws:alias/other', 'aws:arn:aws:kms:eu-west-1:1:key/x', 'aws:', 'kek-0123456789abcdef'])
      await expect(provider.unwrap(kekId, wrapped, context)).rejects.toMatchObject({
        name: 'KEY_UNAVAILABLE',
        details: { reason: 'unknown KEK' },
      })
    await at.close()
  })

  it('undoes a shredding when the deletion is cancelled in time', async () => {
    const at = await fixture()
    const { provider, kms } = at
    const { kekId, wrapped, plaintext } = await provider.generate(context)
    await at.rotate()
    await at.destroy(kekId)
    await expect(provider.unwrap(kekId, wrapped, context)).rejects.toMatchObject({ name: 'KEY_SHREDDED' })
    await kms.send(new CancelKeyDeletionCommand({ KeyId: kekId.slice(4) }))
    await at.restore(kekId)
    expect(await provider.unwrap(kekId, wrapped, context)).toEqual(plaintext)
    await at.close()
  })

  it('answers unavailable, and nothing of the service’s text, when KMS is away', async () => {
    const at = await fixture()
    const { provider } = at
    const { kekId, wrapped } = await provider.generate(context)
    const calls = await openKmsCalls({
      region,
      endpoint: 'http://127.0.0.1:9',
      credentials: () => credentials,
      nowMs: () => Date.now(),
    })
    const problems: unknown[] = []
    const away = new AwsKmsProvider({
      calls,
      keyId: 'alias/none',
      clock: new SimulatedClock(),
      onProblem: (problem) => problems.push(problem),
    })
    for (const call of [
      () => away.generate(context),
      () => away.unwrap(kekId, wrapped, context),
      () => away.refresh(),
    ]) {
      const error = await call().then(
        () => undefined,
        (thrown: unknown) => thrown,
      )
      expect(error).toMatchObject({ name: 'KEY_UNAVAILABLE', details: { reason: 'KMS does not answer' } })
      expect(JSON.stringify(error)).not.toMatch(/127\.0\.0\.1|ECONNREFUSED/)
    }
    await vi.waitFor(() => expect(problems).toHaveLength(1))
    await away.close()
    await at.close()
  })
})

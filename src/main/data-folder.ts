// Owns: what lies in a gateway's data folder, and how it is opened: log, keyring, gateway keys, signing key, dev client.
//   log/              the embedded event log
//   keyring.json      KEK ring (0600); must be the one the folder was made with (ring-id). With re-wrapped keys:
//                     keyring.json.rewrapped beside it
//   gateway-keys.json session tokens and cursors (0600)
//   signing-key.json  access tokens of the built-in issuer (0600)
//   dev-client.json   the one client that `dev` makes (0600)
// Leaves out: the formats (crypto, adapters/keyring), operators' own clients (configuration).
import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openEmbeddedLog } from '../adapters/embedded/open.ts'
import type { WatchedKeyFile } from '../adapters/keyring/key-file-watch.ts'
import { loadOrCreate, loadOrCreateGatewayKeys } from '../adapters/keyring/key-files.ts'
import { type KeyringProvider, openKeyring } from '../adapters/keyring/keyring-provider.ts'
import { generateSigningJwk, parseSigningJwk, type SigningJwk } from '../api-tier/auth/signing-key.ts'
import { readSecretFile } from '../config/secret-file.ts'
import type { GatewayKeys } from '../crypto/gateway-keys.ts'
import type { Clock } from '../ports/clock.ts'
import type { EventLog } from '../ports/event-log.ts'
import type { KeyProvider } from '../ports/key-provider.ts'
import type { Random } from '../ports/random.ts'
import { TrunklineError } from '../protocol/errors.ts'
import { gatewayKeysFile, keyringFiles } from './key-reload.ts'

export interface DevClient {
  readonly clientId: string
  readonly clientSecret: string
}

export interface DataFolder {
  readonly log: EventLog
  readonly keys: KeyProvider
  readonly gatewayKeys: GatewayKeys
  readonly signingKey: SigningJwk
  readonly devClient: DevClient
  /** Where the keys lie, to be watched. */
  readonly keyFiles: readonly WatchedKeyFile[]
  close(): Promise<void>
}

export interface DataFolderOptions {
  readonly dir: string
  readonly clock: Clock
  readonly random: Random
  readonly topicsMax: number
  /** Paths of keys that lie elsewhere; those must exist. Undefined: in the folder, made when missing. */
  readonly keyringFile: string | undefined
  readonly gatewayKeyFile: string | undefined
  readonly clientSecretFile: string | undefined
  readonly onProblem: (problem: unknown) => void
}

/** Makes what a new folder lacks. The caller closes it. Errors: DATA_DIR_…, KEYRING_…, STORAGE_…. */
export async function openDataFolder(options: DataFolderOptions): Promise<DataFolder> {
  const { dir, clock, random } = options
  await mkdir(dir, { recursive: true, mode: 0o700 })
  // The log's lock comes first: two processes never race for the key files of one folder.
  const { topicsMax, onProblem } = options
  const log = await openEmbeddedLog({ dir: join(dir, 'log'), clock, random, topicsMax, onProblem })
  try {
    const create = { create: true, clock, random }
    // ring-id is written last of all: where it is, the folder was complete once, and no key may be made anew.
    const isNew = !existsSync(join(dir, ringIdFile))
    const gatewayKeyPath = options.gatewayKeyFile ?? join(dir, 'gateway-keys.json')
    const gatewayKeys = await loadOrCreateGatewayKeys(gatewayKeyPath, {
      ...create,
      create: isNew && options.gatewayKeyFile === undefined,
    })
    const freshJwk = JSON.stringify(await generateSigningJwk(random))
    const signingKey = await loadOrCreate(join(dir, 'signing-key.json'), create, parseSigningJwk, () => freshJwk)
    const devClient = await openDevClient(options)
    const keyringPath = options.keyringFile ?? join(dir, 'keyring.json')
    const keys = await openKeyringOf(options, keyringPath, isNew)
    return {
      log,
      keys,
      gatewayKeys,
      signingKey,
      devClient,
      keyFiles: [...keyringFiles(keyringPath, keys), gatewayKeysFile(gatewayKeyPath, gatewayKeys)],
      close: async () => {
        await log.close()
        await keys.close()
        gatewayKeys.close()
      },
    }
  } catch (thrown) {
    await log.close()
    throw thrown
  }
}

/** Written when the folder's first keyring is opened: from then on only that ring fits the data. */
const ringIdFile = 'ring-id'

async function openKeyringOf(options: DataFolderOptions, path: string, isNew: boolean): Promise<KeyringProvider> {
  const { dir, clock, random } = options
  const ringIdPath = join(dir, ringIdFile)
  const expectedRingId = isNew ? undefined : (await readFile(ringIdPath, 'utf8')).trim()
  // A keyring that is missing though there is data must not be made anew: nothing would open any more.
  const create = isNew && options.keyringFile === undefined
  const keys = await openKeyring(path, { create, expectedRingId, clock, random })
  if (isNew) {
    const ringId = (): string => `${keys.ringId}\n`
    // Whole and on the disk before anything is acked: an empty one after a power cut would fit no keyring.
    await loadOrCreate(ringIdPath, { create: true, clock, random }, (text) => text, ringId)
  }
  return keys
}

async function openDevClient({ dir, clientSecretFile, clock, random }: DataFolderOptions): Promise<DevClient> {
  if (clientSecretFile !== undefined) {
    return { clientId: 'dev', clientSecret: readSecretFile('clientSecretFile', clientSecretFile) }
  }
  const options = { create: true, clock, random }
  return await loadOrCreate(join(dir, 'dev-client.json'), options, parseDevClient, () => freshDevClient(random))
}

function freshDevClient(random: Random): string {
  const clientSecret = Buffer.from(random.bytes(24)).toString('base64url')
  return `${JSON.stringify({ version: 1, clientId: 'dev', clientSecret })}\n`
}

function parseDevClient(text: string): DevClient {
  const unreadable = (cause?: unknown): TrunklineError =>
    new TrunklineError('KEYRING_UNREADABLE', { details: { file: 'dev-client.json' }, cause })
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch (thrown) {
    throw unreadable(thrown)
  }
  if (typeof content !== 'object' || content === null || !('clientId' in content) || !('clientSecret' in content))
    throw unreadable()
  const { clientId, clientSecret } = content
  if (typeof clientId !== 'string' || typeof clientSecret !== 'string' || clientSecret.length < 16) throw unreadable()
  return { clientId, clientSecret }
}

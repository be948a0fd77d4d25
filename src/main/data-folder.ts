// Owns: what lies in a gateway's data folder, and how it is opened: log, keyring, gateway keys, signing key, dev client.
//   log/              the embedded event log
//   keyring.json      KEK ring (0600); must be the one the folder was made with (ring-id)
//   gateway-keys.json session tokens and cursors (0600)
//   signing-key.json  access tokens of the built-in issuer (0600)
//   dev-client.json   the one client that `dev` makes (0600)
// Leaves out: the formats (crypto, adapters/keyring), operators' own clients (configuration).
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openEmbeddedLog } from '../adapters/embedded/open.ts'
import { loadOrCreate, loadOrCreateGatewayKeys } from '../adapters/keyring/key-files.ts'
import { openKeyring } from '../adapters/keyring/keyring-provider.ts'
import { generateSigningJwk, parseSigningJwk, type SigningJwk } from '../api-tier/auth/signing-key.ts'
import type { GatewayKeys } from '../crypto/gateway-keys.ts'
import type { Clock } from '../ports/clock.ts'
import type { EventLog } from '../ports/event-log.ts'
import type { KeyProvider } from '../ports/key-provider.ts'
import type { Random } from '../ports/random.ts'
import { TrunklineError } from '../protocol/errors.ts'

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
  close(): Promise<void>
}

export interface DataFolderOptions {
  readonly dir: string
  readonly clock: Clock
  readonly random: Random
  readonly onProblem?: (problem: unknown) => void
}

/** Makes what a new folder lacks. The caller closes it. Errors: DATA_DIR_…, KEYRING_…, STORAGE_…. */
export async function openDataFolder(options: DataFolderOptions): Promise<DataFolder> {
  const { dir, clock, random } = options
  await mkdir(dir, { recursive: true, mode: 0o700 })
  // The log's lock comes first: two processes never race for the key files of one folder.
  const log = await openEmbeddedLog({
    dir: join(dir, 'log'),
    clock,
    random,
    ...(options.onProblem === undefined ? {} : { onProblem: options.onProblem }),
  })
  try {
    const keys = await openKeyringOf(dir, { create: !hasData(dir), clock, random })
    const create = { create: true, clock, random }
    const gatewayKeys = await loadOrCreateGatewayKeys(join(dir, 'gateway-keys.json'), create)
    const freshJwk = JSON.stringify(await generateSigningJwk(random))
    const signingKey = await loadOrCreate(join(dir, 'signing-key.json'), create, parseSigningJwk, () => freshJwk)
    const devClient = await loadOrCreate(join(dir, 'dev-client.json'), create, parseDevClient, () =>
      freshDevClient(random),
    )
    return {
      log,
      keys,
      gatewayKeys,
      signingKey,
      devClient,
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

const ringIdFile = 'ring-id'

/** A folder with data has its ring id: a keyring that is missing then must not be made anew, the data would be lost. */
function hasData(dir: string): boolean {
  return existsSync(join(dir, ringIdFile))
}

async function openKeyringOf(
  dir: string,
  options: { create: boolean; clock: Clock; random: Random },
): Promise<KeyProvider> {
  const path = join(dir, ringIdFile)
  const expectedRingId = options.create ? undefined : (await readFile(path, 'utf8')).trim()
  const keys = await openKeyring(join(dir, 'keyring.json'), { ...options, expectedRingId })
  if (options.create) await writeFile(path, `${keys.ringId}\n`, { mode: 0o600, flag: 'wx' })
  return keys
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

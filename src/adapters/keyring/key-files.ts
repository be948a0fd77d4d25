// Owns: the key files on disk: mode 0600, never half written, never replaced by accident.
// 1. A file whose mode lets group or others in is refused, not repaired: its keys may be known already.
// 2. A file appears whole or not at all: written beside, fsynced, then linked (creation never replaces another
//    process's file) or renamed (rotation); the folder is fsynced too.
// 3. Two changes of one file never overlap: each holds FILE.lock, made exclusively, while it reads and writes. A command
//    that was killed inside leaves the lock behind; the next one gives up after `lockWaitMs` and says so.
// Leaves out: what is inside (src/crypto/gateway-keys.ts, keyring-content.ts).
import { constants } from 'node:fs'
import { type FileHandle, link, mkdir, open, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { GatewayKeys } from '../../crypto/gateway-keys.ts'
import { type Clock, sleep } from '../../ports/clock.ts'
import type { Random } from '../../ports/random.ts'
import { TrunklineError } from '../../protocol/errors.ts'

export interface KeyFileOptions {
  /** Make the file when it is missing; otherwise that is KEYRING_MISSING. */
  readonly create: boolean
  readonly random: Random
  readonly clock: Clock
}

const fileBytesMax = 1024 * 1024
const ownerOnly = 0o600
const otherThanOwner = 0o077
const suffixSize = 8
/** A change takes milliseconds. */
const lockWaitMs = 5_000
export const lockRetryMs = 50

/** Errors: KEYRING_MISSING, KEYRING_UNREADABLE, KEYRING_WRONG. The caller closes the keys. */
export function loadOrCreateGatewayKeys(path: string, options: KeyFileOptions): Promise<GatewayKeys> {
  return loadOrCreate(
    path,
    options,
    (text) => GatewayKeys.parse(text),
    () => GatewayKeys.generate(options.random, options.clock).toText(),
  )
}

/**
 * Takes the file's keys over into `keys`, which others hold. On an error what was loaded stays in use.
 * Errors: KEYRING_MISSING, KEYRING_UNREADABLE, KEYRING_WRONG (an older copy would bring dropped keys back).
 */
export async function reloadGatewayKeys(path: string, keys: GatewayKeys): Promise<void> {
  const read = GatewayKeys.parse(await readKeyFile(path))
  if (read.revision < keys.revision) {
    read.close()
    throw new TrunklineError('KEYRING_WRONG', { details: { path, reason: 'an older copy' } })
  }
  keys.adopt(read)
}

/** One change under the file's lock. Errors: KEYRING_…, and what `edit` throws. */
export function changeGatewayKeys<T>(
  path: string,
  source: Omit<KeyFileOptions, 'create'>,
  edit: (keys: GatewayKeys) => { readonly keys: GatewayKeys; readonly value: T },
): Promise<T> {
  return changeKeyFile(path, source, (text) => {
    const former = GatewayKeys.parse(text)
    try {
      const { keys, value } = edit(former)
      const changed = keys.toText()
      keys.close()
      return { text: changed, value }
    } finally {
      former.close()
    }
  })
}

/** Reads, changes and replaces a file under its lock (invariant 3). Errors: KEYRING_…; what `change` throws leaves the file. */
function changeKeyFile<T>(
  path: string,
  { random, clock }: Omit<KeyFileOptions, 'create'>,
  change: (text: string) => { readonly text: string; readonly value: T },
): Promise<T> {
  return underLock(path, clock, async () => {
    const { text, value } = change(await readKeyFile(path))
    await replaceKeyFile(path, text, random)
    return value
  })
}

/** Invariant 3. Errors: KEYRING_MISSING, KEYRING_UNREADABLE, KEYRING_BUSY, and what `work` throws. */
export async function underLock<T>(path: string, clock: Clock, work: () => Promise<T>): Promise<T> {
  const unlock = await lockFile(path, clock)
  try {
    return await work()
  } finally {
    await unlock()
  }
}

/** Errors: KEYRING_MISSING, KEYRING_UNREADABLE, KEYRING_BUSY. */
async function lockFile(path: string, clock: Clock): Promise<() => Promise<void>> {
  const lock = `${path}.lock`
  for (let waitedMs = 0; ; waitedMs += lockRetryMs) {
    try {
      const handle = await open(lock, 'wx', ownerOnly)
      await handle.close()
      return () => unlink(lock)
    } catch (error) {
      const code = codeOf(error)
      if (code === 'ENOENT' || code === 'ENOTDIR')
        throw new TrunklineError('KEYRING_MISSING', { details: { path }, cause: error })
      if (code !== 'EEXIST') throw unreadableFile(path, code, error)
      if (waitedMs >= lockWaitMs) throw new TrunklineError('KEYRING_BUSY', { details: { lock }, cause: error })
      await sleep(clock, lockRetryMs)
    }
  }
}

/** Reads and parses; makes the file first when it is missing and `create` says so. */
export async function loadOrCreate<T>(
  path: string,
  options: KeyFileOptions,
  parse: (text: string) => T,
  fresh: () => string,
): Promise<T> {
  try {
    return parse(await readKeyFile(path))
  } catch (error) {
    if (!options.create || !(error instanceof TrunklineError) || error.name !== 'KEYRING_MISSING') throw error
  }
  await createKeyFile(path, fresh(), options.random)
  // Read again: when another process was faster, its keys count.
  return parse(await readKeyFile(path))
}

/** Errors: KEYRING_MISSING, KEYRING_UNREADABLE (mode, access, size, not a file). */
export async function readKeyFile(path: string): Promise<string> {
  return (await readOwnFile(path, fileBytesMax)).toString('utf8')
}

/** Errors: as readKeyFile. */
export async function readOwnFile(path: string, bytesMax: number): Promise<Buffer> {
  let handle: FileHandle
  try {
    handle = await open(path, constants.O_RDONLY)
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new TrunklineError('KEYRING_MISSING', { details: { path }, cause: error })
    throw unreadableFile(path, code, error)
  }
  try {
    const stat = await handle.stat()
    if (!stat.isFile()) throw unreadableFile(path, 'not a file')
    if (process.platform !== 'win32' && (stat.mode & otherThanOwner) !== 0) {
      throw unreadableFile(path, `mode ${(stat.mode & 0o777).toString(8)}`)
    }
    if (stat.size > bytesMax) throw unreadableFile(path, 'size')
    return await handle.readFile()
  } catch (error) {
    throw error instanceof TrunklineError ? error : unreadableFile(path, codeOf(error), error)
  } finally {
    await handle.close()
  }
}

/** Leaves a file that is there by now as it is, and answers false. Makes missing folders, 0700. */
export async function createKeyFile(path: string, text: string, random: Random): Promise<boolean> {
  let made = true
  await whileWriting(path, async () => {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    const beside = await writeBeside(path, text, random)
    try {
      await link(beside, path)
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
      made = false
    } finally {
      await unlink(beside)
    }
    await syncFolder(path)
  })
  return made
}

export async function replaceKeyFile(path: string, content: string | Uint8Array, random: Random): Promise<void> {
  await whileWriting(path, async () => {
    const beside = await writeBeside(path, content, random)
    try {
      await rename(beside, path)
    } catch (error) {
      await unlink(beside)
      throw error
    }
    await syncFolder(path)
  })
}

async function writeBeside(path: string, content: string | Uint8Array, random: Random): Promise<string> {
  const beside = `${path}.${Buffer.from(random.bytes(suffixSize)).toString('hex')}.new`
  const handle = await open(beside, 'wx', ownerOnly)
  try {
    await handle.writeFile(content)
    await handle.sync()
  } catch (error) {
    await unlink(beside)
    throw error
  } finally {
    await handle.close()
  }
  return beside
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), constants.O_RDONLY)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

async function whileWriting(path: string, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    throw unreadableFile(path, codeOf(error), error)
  }
}

function unreadableFile(path: string, reason: string, cause?: unknown): TrunklineError {
  return new TrunklineError('KEYRING_UNREADABLE', {
    details: { path, reason },
    ...(cause === undefined ? {} : { cause }),
  })
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown'
}

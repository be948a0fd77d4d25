// Owns: changing a keyring file and the re-wrapped keys beside it (FILE.rewrapped): one writer at a time, each file whole or
// not at all.
// 1. FILE.lock is the lock of both.
// 2. What an edit takes from the re-wrapped keys is gone from them before the keyring says so: a crash between loses what
//    the operator gave up anyway, and the same command goes on.
// Leaves out: which changes there are (keyring-edits.ts, rewrap-edits.ts), how a process notices (key-file-watch.ts).
import { TrunklineError } from '../../protocol/errors.ts'
import { readKeyFile, readOwnFile, replaceKeyFile, underLock } from './key-files.ts'
import { type KeyringContent, keyringText, parseKeyring, wipeKeyring } from './keyring-content.ts'
import type { KeyringEdit, KeySource } from './keyring-edits.ts'
import { type RewrapStep, withdrawn } from './rewrap-edits.ts'
import { type RewrappedKey, RewrappedKeys, rewrappedBytes, rewrappedBytesMax } from './rewrapped-keys.ts'

/** Errors: KEYRING_MISSING, KEYRING_UNREADABLE, KEYRING_WRONG, KEYRING_BUSY, and an edit's KeyEditRefused. */
export function changeKeyring<T>(path: string, source: KeySource, edit: KeyringEdit<T>): Promise<T> {
  return underLock(path, source.clock, async () => {
    const before = parseKeyring(await readKeyFile(path))
    let after: KeyringContent | undefined
    try {
      // Read before the edit, which wipes what seals it. That it is broken must not keep an edit from what needs it not.
      const rewrapped = await readRewrapped(path, () => before).catch((thrown: unknown) => TrunklineError.from(thrown))
      const { content, value } = edit(before)
      const left = withdrawn(before, content, rewrapped)
      after = { ...content, rewrappedMin: left?.revision ?? content.rewrappedMin }
      if (left?.entries !== undefined) await replaceRewrapped(path, source, after, left.revision, left.entries)
      await replaceKeyFile(path, keyringText(after), source.random)
      return value
    } finally {
      wipeKeyring(before)
      if (after !== undefined) wipeKeyring(after)
    }
  })
}

/** One change of the re-wrapped keys, under the ring as it is now. Errors: KEYRING_…. */
export function changeRewrapped(
  path: string,
  source: KeySource,
  change: (ring: KeyringContent, rewrapped: RewrappedKeys) => Promise<RewrapStep>,
): Promise<RewrapStep> {
  return underLock(path, source.clock, async () => {
    const ring = parseKeyring(await readKeyFile(path))
    try {
      const rewrapped = await readRewrapped(path, () => ring)
      const step = await change(ring, rewrapped)
      if (step.entries !== undefined) await replaceRewrapped(path, source, ring, rewrapped.revision + 1, step.entries)
      return step
    } finally {
      wipeKeyring(ring)
    }
  })
}

export function rewrappedPathOf(keyringPath: string): string {
  return `${keyringPath}.rewrapped`
}

/**
 * None when there is no file and the ring needs none. `ring` is asked when the file has been read: the ring may have been
 * replaced meanwhile. Errors: KEYRING_MISSING, KEYRING_UNREADABLE, KEYRING_WRONG.
 */
export async function readRewrapped(keyringPath: string, ring: () => KeyringContent): Promise<RewrappedKeys> {
  const path = rewrappedPathOf(keyringPath)
  try {
    const bytes = await readOwnFile(path, rewrappedBytesMax)
    const rewrapped = RewrappedKeys.parse(bytes, ring())
    if (rewrapped.revision < ring().rewrappedMin)
      throw new TrunklineError('KEYRING_WRONG', { details: { reason: 'older than the keyring allows' } })
    return rewrapped
  } catch (thrown) {
    const error = TrunklineError.from(thrown)
    const { rewrappedMin, ringId } = ring()
    if (error.name === 'KEYRING_MISSING' && rewrappedMin === 0) return RewrappedKeys.none(ringId)
    throw new TrunklineError(error.name, {
      details: { reason: 'the keyring needs it', ...error.details, path },
      cause: error,
    })
  }
}

async function replaceRewrapped(
  keyringPath: string,
  { random }: KeySource,
  ring: KeyringContent,
  revision: number,
  entries: Iterable<RewrappedKey>,
): Promise<void> {
  await replaceKeyFile(rewrappedPathOf(keyringPath), rewrappedBytes(ring, revision, entries), random)
}

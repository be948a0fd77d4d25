// Owns: what becomes of re-wrapped keys when the ring changes, and adding the wrapped keys that a log holds.
// 1. What is shredded takes its re-wrapped keys along: those of a destroyed KEK leave, and those of a shredded topic stay as
//    marks, so that a KEK that is still there does not open them instead. A topic is shredded with its last KEK.
// 2. Adding changes nothing that is there, and moving on only what lies under a KEK that is not current. So a run that was
//    ended anywhere is repeated, and a run too many does nothing.
// 3. A mark is for good.
// Leaves out: files and locks (keyring-file.ts), where wrapped keys are found (main).

import type { KeyContext, KeyProvider } from '../../ports/key-provider.ts'
import { type ErrorName, TrunklineError } from '../../protocol/errors.ts'
import type { TopicId } from '../../protocol/ids.ts'
import type { KekState, KeyringContent } from './keyring-content.ts'
import { KeyEditRefused } from './keyring-edits.ts'
import {
  fingerprintOf,
  type RewrappedKey,
  type RewrappedKeys,
  rewrappedMax,
  rewrappedTopicsMax,
} from './rewrapped-keys.ts'

/** As a block names it. */
export interface WrappedKey extends KeyContext {
  readonly kekId: string
  readonly wrapped: Uint8Array
}

/** Data keys that stay where they are for one reason. */
export interface LeftKeys {
  readonly count: number
  /** KEY_SHREDDED: nothing is left to read with them. */
  readonly error: ErrorName
}

/** What a change of the re-wrapped keys did. */
export interface RewrapStep {
  /** All of them, when something changed. */
  readonly entries: Iterable<RewrappedKey> | undefined
  readonly done: number
  /** Some were not looked at: moving on stops at `movedMax`, adding where the file is full. */
  readonly more: boolean
  /** By KEK and why. */
  readonly left: ReadonlyMap<string, LeftKeys>
}

type Rewrapper = Pick<KeyProvider, 'isCurrent' | 'rewrap'>

/** Entries that one call moves on: how long the lock is held. */
const movedMax = 10_000

/**
 * What an edit that ends a KEK leaves: the revision that the ring needs from then on, and the entries, when they change.
 * `rewrapped` may be why it could not be read, when the edit ends none. Errors: that one; KeyEditRefused.
 */
export function withdrawn(
  before: KeyringContent,
  after: KeyringContent,
  rewrapped: RewrappedKeys | TrunklineError,
): { readonly revision: number; readonly entries: readonly RewrappedKey[] | undefined } | undefined {
  const turned = (...kinds: readonly KekState['kind'][]): ReadonlySet<string> => {
    const were = new Set(before.keks.filter(({ state }) => kinds.includes(state.kind)).map(({ id }) => id))
    const are = after.keks.filter(({ id, state }) => kinds.includes(state.kind) && !were.has(id))
    return new Set(are.map(({ id }) => id))
  }
  const retired = turned('retired')
  const gone = turned('destroyed', 'replaced')
  const destroyed = turned('destroyed')
  if (retired.size + gone.size + destroyed.size === 0) return undefined
  if (rewrapped instanceof TrunklineError) throw rewrapped
  if (retired.size === 0 && rewrapped.sealedBy === undefined) return undefined
  if (rewrapped.sealedBy === undefined) throw new KeyEditRefused('nothing was re-wrapped yet: run keys rewrap first')
  const shredded = shreddedTopics(after, destroyed)
  let changed = gone.has(rewrapped.sealedBy)
  const entries: RewrappedKey[] = []
  for (const entry of rewrapped.entries()) {
    const { from, now, topicId } = entry
    if (now !== undefined && retired.has(now.kekId))
      throw new KeyEditRefused(`${now.kekId} wraps keys that were re-wrapped before: run keys rewrap first`)
    // Invariant 1.
    if (destroyed.has(from)) changed = true
    else if (now !== undefined && (shredded.has(topicId) || destroyed.has(now.kekId))) {
      changed = true
      entries.push({ ...entry, now: undefined })
    } else entries.push(entry)
  }
  const { revision } = rewrapped
  return changed ? { revision: revision + 1, entries } : { revision, entries: undefined }
}

/** Topics whose last KEK was destroyed now: while one is left, what others wrap of the topic was not given up. */
function shreddedTopics({ keks }: KeyringContent, destroyedNow: ReadonlySet<string>): ReadonlySet<TopicId> {
  const gone = new Set<TopicId>()
  for (const { id, topicId } of keks) if (topicId !== undefined && destroyedNow.has(id)) gone.add(topicId)
  for (const { topicId, state } of keks) if (topicId !== undefined && state.kind !== 'destroyed') gone.delete(topicId)
  return gone
}

/** Entries under a KEK that is not current, under the one that is. `keys` is a provider over the same ring. */
export async function movedOn(keys: Rewrapper, rewrapped: RewrappedKeys): Promise<RewrapStep> {
  const entries: RewrappedKey[] = []
  const left = new Map<string, LeftKeys>()
  let done = 0
  let more = false
  for (const entry of rewrapped.entries()) {
    const { now } = entry
    if (now === undefined || keys.isCurrent(now.kekId, entry)) {
      entries.push(entry)
      continue
    }
    more ||= done >= movedMax
    const next = more ? now : await rewrapOne(keys, { ...entry, ...now }, left)
    entries.push(next === undefined ? entry : { ...entry, now: next })
    if (!more && next !== undefined) done += 1
  }
  // A first run that finds nothing leaves a file too: it was looked.
  return { entries: done > 0 || rewrapped.sealedBy === undefined ? entries : undefined, done, more, left }
}

/** Entries for wrapped keys that have none and are not under the current KEK. `keys` as above. */
export async function added(
  keys: Rewrapper,
  rewrapped: RewrappedKeys,
  found: readonly WrappedKey[],
  entriesMax = rewrappedMax,
): Promise<RewrapStep> {
  const entries = new Map([...rewrapped.entries()].map((entry) => [entry.fingerprint, entry]))
  const contexts = new Set([...entries.values()].map(contextName))
  const left = new Map<string, LeftKeys>()
  let done = 0
  let more = false
  for (const key of found) {
    const { kekId: from, topicId, tenant } = key
    const fingerprint = Buffer.from(fingerprintOf(from, key.wrapped, key)).toString('hex')
    if (keys.isCurrent(from, key) || entries.has(fingerprint)) continue
    contexts.add(contextName(key))
    more = entries.size >= entriesMax || contexts.size > rewrappedTopicsMax
    if (more) break
    const now = await rewrapOne(keys, key, left)
    if (now === undefined) continue
    entries.set(fingerprint, { fingerprint, topicId, tenant, from, now })
    done += 1
  }
  return { entries: done > 0 ? entries.values() : undefined, done, more, left }
}

function contextName({ topicId, tenant }: KeyContext): string {
  return topicId + tenant
}

/** Undefined, and counted, when it stays. */
async function rewrapOne(
  keys: Rewrapper,
  { kekId, wrapped, topicId, tenant }: WrappedKey,
  left: Map<string, LeftKeys>,
): Promise<{ readonly kekId: string; readonly wrapped: Uint8Array } | undefined> {
  try {
    return await keys.rewrap(kekId, wrapped, { topicId, tenant })
  } catch (thrown) {
    const { name, details } = TrunklineError.from(thrown, 'KEY_UNAVAILABLE')
    const reason = details['reason']
    const why = `${kekId}: ${name}${typeof reason === 'string' ? `, ${reason}` : ''}`
    left.set(why, { count: (left.get(why)?.count ?? 0) + 1, error: name })
    return undefined
  }
}

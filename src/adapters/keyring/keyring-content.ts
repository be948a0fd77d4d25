// Owns: what a keyring file says (docs/formats.md "Keyring file"): the KEKs, which one is current, which topics have one
// of their own, which are revoked or destroyed.
// 1. A destroyed KEK keeps its id and loses its key: what it wrapped is KEY_SHREDDED, not unknown.
// 2. A topic that was given a KEK of its own is never wrapped by the shared one again: when its KEK is revoked or
//    destroyed it cannot be written to.
// 3. Version 1 (no revision, no topics, nothing revoked) and 2 (nothing retired) are read for ever. Version 3 is written
//    where re-wrapped keys are needed: a gateway that knows no re-wrapped keys must not take such a file. Else 2.
// 4. A retired KEK opens nothing itself; what was re-wrapped from it opens by its new KEK. Replaced: its key is gone too.
// 5. The ring says how old its re-wrapped keys may be: an older copy of those, or none, would give back what was shredded.
// Leaves out: files (key-files.ts), changes (keyring-edits.ts), wrapping (keyring-provider.ts).
import { keySize, nonceSize, tagSize } from '../../crypto/aes-gcm.ts'
import {
  countOf,
  entriesOf,
  type Fields,
  keyFileKind,
  keyOf,
  keyText,
  listOf,
  parseKeyFile,
  textOf,
  timeOf,
  timeText,
  unreadable,
} from '../../crypto/key-file-fields.ts'
import type { Clock } from '../../ports/clock.ts'
import type { Random } from '../../ports/random.ts'
import { parseTopicId, type TopicId } from '../../protocol/ids.ts'

export type KekState =
  | { readonly kind: 'active'; readonly key: Uint8Array }
  /** Neither wraps nor unwraps, and can be restored to what it was. */
  | { readonly kind: 'revoked'; readonly key: Uint8Array; readonly wasRetired: boolean }
  /** Invariant 4; can be restored. */
  | { readonly kind: 'retired'; readonly key: Uint8Array }
  | { readonly kind: 'replaced' }
  | { readonly kind: 'destroyed' }

export interface Kek {
  readonly id: string
  readonly createdAtMs: number
  readonly state: KekState
  /** The only topic that it wraps for; undefined: shared by all without one of their own. */
  readonly topicId: TopicId | undefined
}

export interface TopicKek {
  readonly topicId: TopicId
  /** Its name when it was bound: for people. */
  readonly topic: string
  /** The KEK that wraps its new data keys; when it is not active the topic cannot be written to. */
  readonly current: string
}

export interface KeyringContent {
  /** Names the ring for good: a data folder remembers the ring it was made with. */
  readonly ringId: string
  /** Grows with every change: an older copy never replaces a newer one in a running process. */
  readonly revision: number
  /** Invariant 5: the lowest revision of the re-wrapped keys; 0: there need not be any. */
  readonly rewrappedMin: number
  /** Shared, and active. */
  readonly current: string
  readonly keks: readonly Kek[]
  readonly topics: readonly TopicKek[]
}

/** What was destroyed counts: its id must stay known. So at most 999 topics can have a KEK of their own. */
export const keksMax = 1_000
/** Of a data key as a KEK of the ring wraps it: version, nonce, key, tag. */
export const wrappedSize = 1 + nonceSize + keySize + tagSize
const ringIdPattern = /^[0-9a-f]{32}$/
export const kekIdPattern = /^[a-zA-Z0-9._-]{1,64}$/
const statePattern = /^(active|revoked|retired|replaced|destroyed)$/
const topicIdPattern = /^[0-9a-f]{32}$/
const topicNamePattern = /^[a-zA-Z0-9._-]{1,249}$/
const ringIdSize = 16
const kekIdSize = 8
const versionNow = 3
const versionBeforeRewrapped = 2

export function freshKeyring(random: Random, clock: Clock): KeyringContent {
  const kek = freshKek(random, clock, undefined)
  const ringId = hexOf(random.bytes(ringIdSize))
  return { ringId, revision: 1, rewrappedMin: 0, current: kek.id, keks: [kek], topics: [] }
}

/** Errors: KEYRING_UNREADABLE; KEYRING_WRONG for a key file of another kind. */
export function parseKeyring(text: string): KeyringContent {
  const fields = parseKeyFile(text, keyFileKind.keyring, versionNow)
  const keks = listOf(fields, 'keks', keksMax).map((entry): Kek => {
    const bound = entry.has('topicId') ? parseTopicId(textOf(entry, 'topicId', topicIdPattern)) : undefined
    return {
      id: textOf(entry, 'id', kekIdPattern),
      createdAtMs: timeOf(entry, 'createdAt'),
      state: stateOf(entry),
      topicId: bound,
    }
  })
  if (new Set(keks.map((kek) => kek.id)).size !== keks.length) throw unreadable('keks')
  const current = textOf(fields, 'current', kekIdPattern)
  const currentKek = keks.find((kek) => kek.id === current)
  if (currentKek?.state.kind !== 'active' || currentKek.topicId !== undefined) throw unreadable('current')
  const topics = entriesOf(fields, 'topics', keksMax).map((entry): TopicKek => {
    const topicId = parseTopicId(textOf(entry, 'topicId', topicIdPattern))
    const own = textOf(entry, 'current', kekIdPattern)
    if (keks.find((kek) => kek.id === own)?.topicId !== topicId) throw unreadable('topics')
    return { topicId, topic: textOf(entry, 'topic', topicNamePattern), current: own }
  })
  if (new Set(topics.map(({ topicId }) => topicId)).size !== topics.length) throw unreadable('topics')
  // Invariant 2: a KEK of a topic without its entry would leave the topic to the shared one.
  const bound = new Set(topics.map(({ topicId }) => topicId))
  if (keks.some(({ topicId }) => topicId !== undefined && !bound.has(topicId))) throw unreadable('topics')
  const ringId = textOf(fields, 'ringId', ringIdPattern)
  const rewrappedMin = countOf(fields, 'rewrappedMin')
  if (rewrappedMin === 0 && keks.some(({ state }) => needsRewrapped(state))) throw unreadable('rewrappedMin')
  return { ringId, revision: countOf(fields, 'revision'), rewrappedMin, current, keks, topics }
}

export function keyringText(content: KeyringContent): string {
  const keks = content.keks.map((kek) => ({
    id: kek.id,
    ...('key' in kek.state ? { key: keyText(kek.state.key) } : {}),
    createdAt: timeText(kek.createdAtMs),
    state: kek.state.kind,
    ...(kek.state.kind === 'revoked' && kek.state.wasRetired ? { retired: true } : {}),
    ...(kek.topicId === undefined ? {} : { topicId: kek.topicId }),
  }))
  const { ringId, revision, rewrappedMin, current, topics } = content
  const kind = keyFileKind.keyring
  const version = rewrappedMin > 0 ? versionNow : versionBeforeRewrapped
  const needs = rewrappedMin > 0 ? { rewrappedMin } : {}
  return `${JSON.stringify({ kind, version, ringId, revision, ...needs, current, keks, topics }, null, 2)}\n`
}

export function wipeKeyring(content: KeyringContent): void {
  for (const kek of content.keks) if ('key' in kek.state) kek.state.key.fill(0)
}

export function freshKek(random: Random, clock: Clock, topicId: TopicId | undefined): Kek {
  return {
    id: `kek-${hexOf(random.bytes(kekIdSize))}`,
    createdAtMs: clock.nowMs(),
    state: { kind: 'active', key: random.bytes(keySize) },
    topicId,
  }
}

/** Versions 1 and 2 know none of these. */
function needsRewrapped(state: KekState): boolean {
  return state.kind === 'retired' || state.kind === 'replaced' || (state.kind === 'revoked' && state.wasRetired)
}

function stateOf(entry: Fields): KekState {
  switch (textOf(entry, 'state', statePattern)) {
    case 'destroyed':
      if (entry.has('key')) throw unreadable('key')
      return { kind: 'destroyed' }
    case 'replaced':
      if (entry.has('key')) throw unreadable('key')
      return { kind: 'replaced' }
    case 'revoked':
      if (entry.has('retired') && entry.get('retired') !== true) throw unreadable('retired')
      return { kind: 'revoked', key: keyOf(entry, 'key'), wasRetired: entry.has('retired') }
    case 'retired':
      return { kind: 'retired', key: keyOf(entry, 'key') }
    default:
      return { kind: 'active', key: keyOf(entry, 'key') }
  }
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

// Owns: what a keyring file says (docs/formats.md "Keyring file"): the KEKs, which one is current, which are destroyed.
// 1. A destroyed KEK keeps its id and loses its key: what it wrapped is KEY_SHREDDED, not unknown.
// Leaves out: files (key-files.ts), wrapping (keyring-provider.ts).
import { keySize } from '../../crypto/aes-gcm.ts'
import {
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

export interface Kek {
  readonly id: string
  readonly createdAtMs: number
  readonly state: { readonly kind: 'active'; readonly key: Uint8Array } | { readonly kind: 'destroyed' }
}

export interface KeyringContent {
  /** Names the ring for good: a data folder remembers the ring it was made with. */
  readonly ringId: string
  readonly current: string
  readonly keks: readonly Kek[]
}

const keksMax = 1_000
const ringIdPattern = /^[0-9a-f]{32}$/
const kekIdPattern = /^[a-zA-Z0-9._-]{1,64}$/
const statePattern = /^(active|destroyed)$/
const ringIdSize = 16
const kekIdSize = 8

export function freshKeyring(random: Random, clock: Clock): KeyringContent {
  const kek = freshKek(random, clock)
  return { ringId: hexOf(random.bytes(ringIdSize)), current: kek.id, keks: [kek] }
}

/** A fresh current KEK; the others still unwrap. An Error at 1,000 KEKs. */
export function withFreshKek(content: KeyringContent, random: Random, clock: Clock): KeyringContent {
  if (content.keks.length >= keksMax) throw new Error('the keyring is full')
  const kek = freshKek(random, clock)
  return { ...content, current: kek.id, keks: [...content.keks, kek] }
}

/** For good. An Error for an unknown or the current KEK. */
export function withDestroyedKek(content: KeyringContent, kekId: string): KeyringContent {
  if (kekId === content.current || !content.keks.some((kek) => kek.id === kekId)) {
    throw new Error('only a known KEK that is not current can be destroyed')
  }
  const keks = content.keks.map((kek) => (kek.id === kekId ? { ...kek, state: { kind: 'destroyed' } as const } : kek))
  return { ...content, keks }
}

/** Errors: KEYRING_UNREADABLE; KEYRING_WRONG for a key file of another kind. */
export function parseKeyring(text: string): KeyringContent {
  const fields = parseKeyFile(text, keyFileKind.keyring)
  const keks = listOf(fields, 'keks', keksMax).map((entry): Kek => {
    const destroyed = textOf(entry, 'state', statePattern) === 'destroyed'
    return {
      id: textOf(entry, 'id', kekIdPattern),
      createdAtMs: timeOf(entry, 'createdAt'),
      state: destroyed ? { kind: 'destroyed' } : { kind: 'active', key: keyOf(entry, 'key') },
    }
  })
  if (new Set(keks.map((kek) => kek.id)).size !== keks.length) throw unreadable('keks')
  const current = textOf(fields, 'current', kekIdPattern)
  if (keks.find((kek) => kek.id === current)?.state.kind !== 'active') throw unreadable('current')
  return { ringId: textOf(fields, 'ringId', ringIdPattern), current, keks }
}

export function keyringText(content: KeyringContent): string {
  const keks = content.keks.map((kek) => ({
    id: kek.id,
    ...(kek.state.kind === 'active' ? { key: keyText(kek.state.key) } : {}),
    createdAt: timeText(kek.createdAtMs),
    state: kek.state.kind,
  }))
  const { ringId, current } = content
  return `${JSON.stringify({ kind: keyFileKind.keyring, version: 1, ringId, current, keks }, null, 2)}\n`
}

export function wipeKeyring(content: KeyringContent): void {
  for (const kek of content.keks) if (kek.state.kind === 'active') kek.state.key.fill(0)
}

function freshKek(random: Random, clock: Clock): Kek {
  return {
    id: `kek-${hexOf(random.bytes(kekIdSize))}`,
    createdAtMs: clock.nowMs(),
    state: { kind: 'active', key: random.bytes(keySize) },
  }
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

// Owns: what an event of a walk carries: its name in the history, and bytes that must come back unchanged.
import { createHash } from 'node:crypto'
import type { ReceivedEvent } from '../../../sdk/typescript/src/events.ts'
import type { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import type { Delivered } from '../history/history.ts'

export function payloadOf(value: string, random: SeededRandom, bytesMax: number): Uint8Array {
  const padding = Buffer.from(random.bytes(random.below(bytesMax + 1))).toString('base64')
  return new TextEncoder().encode(`${value}|${padding}`)
}

export function hashOf(payload: Uint8Array): string {
  return createHash('sha256').update(payload).digest('base64url').slice(0, 16)
}

export function valueIn(payload: Uint8Array): string {
  return new TextDecoder().decode(payload).split('|', 1)[0] ?? ''
}

export function deliveredOf({ position, payload }: ReceivedEvent): Delivered {
  const { partition, offset, index } = position
  return { place: { partition, offset, index }, value: valueIn(payload), payloadHash: hashOf(payload) }
}

// Owns: what the tests of sealing share: a provider without files, fixed randomness, blocks and places, bit flips.
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { freshKeyring } from '../../../src/adapters/keyring/keyring-content.ts'
import { KeyringProvider } from '../../../src/adapters/keyring/keyring-provider.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import type { BlockPlace } from '../../../src/crypto/block-sealer.ts'
import type { Random } from '../../../src/ports/random.ts'
import { type ErrorName, TrunklineError } from '../../../src/protocol/errors.ts'
import { parseProducerId, parseTopicId } from '../../../src/protocol/ids.ts'
import type { Block } from '../../../src/protocol/messages.ts'
import { FaultyKeyProvider } from '../../conformance/key-provider-faulty.ts'

export const topicA = parseTopicId('00112233445566778899aabbccddeeff')
export const topicB = parseTopicId('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')
export const producerA = parseProducerId('ffeeddccbbaa99887766554433221100')
export const producerB = parseProducerId('bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb')
export const place: BlockPlace = { topicId: topicA, partition: 3, producerId: producerA, n: 7, part: 1 }

export function blockOf(text: string, partition = place.partition): Block {
  const data = new TextEncoder().encode(text)
  return { partition, packing: 1, count: 2, encoding: 0, rawSize: data.length, data }
}

export interface CryptoWorld {
  readonly clock: SimulatedClock
  readonly random: SeededRandom
  readonly keys: FaultyKeyProvider
}

export function cryptoWorld(seed: string): CryptoWorld {
  const clock = new SimulatedClock()
  const random = new SeededRandom(seed)
  const keyring = new KeyringProvider('unused', freshKeyring(random, clock), random)
  return { clock, random, keys: new FaultyKeyProvider(keyring) }
}

/** Answers the given bytes, in order; drawing others than expected is an Error. */
export class FixedRandom implements Random {
  readonly #answers: Uint8Array[]

  constructor(...answers: readonly Uint8Array[]) {
    this.#answers = [...answers]
  }

  bytes(count: number): Uint8Array {
    const answer = this.#answers.shift()
    if (answer?.length !== count) throw new Error(`nobody expected ${count} random bytes`)
    return Uint8Array.from(answer)
  }

  fraction(): number {
    throw new Error('no fraction is expected')
  }
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

export function unhex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'))
}

export function* everyBitFlip(bytes: Uint8Array): Generator<{ readonly bit: number; readonly flipped: Uint8Array }> {
  for (let bit = 0; bit < bytes.length * 8; bit += 1) {
    const flipped = Uint8Array.from(bytes)
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    yield { bit, flipped }
  }
}

/** The name of the TrunklineError that `call` throws or rejects with; 'none' when it does neither. */
export async function errorOf(call: () => unknown): Promise<ErrorName | 'none'> {
  try {
    await call()
  } catch (error) {
    if (error instanceof TrunklineError) return error.name
    throw error
  }
  return 'none'
}

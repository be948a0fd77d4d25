// Owns: sealing blocks with one data key (DEK) per topic and node incarnation, and when that key is replaced.
// 1. A data key is used by this instance alone, its nonces count from 0 and are never written twice.
// 2. A key is replaced at the soft limits (1 h, 2^24 blocks, 64 GiB); the next one is asked for at 9/10 of them.
// 3. When the provider is away at a soft limit the old key goes on to twice the limits and never further, and never
//    above 2^32 blocks: then KEY_UNAVAILABLE.
// 4. Nothing is ever passed through unsealed.
// 5. Keys that are not used any more are wiped.
// 6. When another KEK becomes current (`recheck`), every topic takes a new data key before its next block; a provider that
//    fails then leaves the old key in use as in 3. A data key whose KEK is refused is wiped at once: nothing is sealed that
//    nobody may open.
// Leaves out: the place of a block (the tiers), wrapping (the KeyProvider).
import type { Clock } from '../ports/clock.ts'
import type { DataKey, KeyProvider } from '../ports/key-provider.ts'
import type { Random } from '../ports/random.ts'
import { TrunklineError } from '../protocol/errors.ts'
import type { TopicId } from '../protocol/ids.ts'
import { sealedBlockBytesMax } from '../protocol/limits.ts'
import type { Block } from '../protocol/messages.ts'
import { encryptInto, keySize, nonceSize, tagSize } from './aes-gcm.ts'
import {
  type BlockPlace,
  encodeAad,
  encodeKeyReference,
  headerSizeOf,
  newSealedBlock,
  type OwnedPlace,
} from './block-format.ts'
import { LruMap } from './lru-map.ts'
import { keyAnswer } from './wait-bound.ts'

export type { BlockPlace, OwnedPlace }

/** Soft limits of one data key; the hard ones are twice as high. */
export interface DataKeyLimits {
  readonly ageMsMax: number
  readonly blocksMax: number
  readonly bytesMax: number
}

export const defaultDataKeyLimits: DataKeyLimits = { ageMsMax: 3_600_000, blocksMax: 2 ** 24, bytesMax: 64 * 2 ** 30 }

export interface BlockSealerOptions {
  readonly keys: KeyProvider
  readonly clock: Clock
  readonly random: Random
  /** Of topics whose place names none. */
  readonly tenant: string
  readonly limits?: Partial<DataKeyLimits> | undefined
  /** Topics with a key at hand; the one sealed for longest ago loses its key. Default 10,000. */
  readonly topicsMax?: number | undefined
}

const blocksHardMax = 2 ** 32
const prefetchShare = 0.9
const hardFactor = 2
/** The provider is not asked again for a topic before this after a failure. */
const retryAfterFailureMs = 1_000
const topicsMaxDefault = 10_000
const laneSize = 4

interface SealingKey {
  /** Undefined once wiped: a block sealed with a wiped key would be as good as plain. */
  secret: Uint8Array | undefined
  readonly reference: Uint8Array
  readonly kekId: string
  /** Another KEK is current by now. */
  superseded: boolean
  readonly lane: Uint8Array
  readonly bornAtMs: number
  blocks: number
  bytes: number
}

interface TopicKeys {
  readonly topicId: TopicId
  readonly tenant: string
  active: SealingKey | undefined
  next: SealingKey | undefined
  /** Settles, never rejects, when the provider answered or was given up. */
  pending: Promise<void> | undefined
  failure: { readonly error: TrunklineError; readonly atMs: number } | undefined
  dropped: boolean
}

/** One per incarnation. `close` wipes all keys. */
export class BlockSealer {
  readonly #keys: KeyProvider
  readonly #clock: Clock
  readonly #random: Random
  readonly #tenant: string
  readonly #limits: DataKeyLimits
  readonly #topics: LruMap<TopicKeys>
  #rechecks = 0
  #closed = false

  constructor(options: BlockSealerOptions) {
    this.#keys = options.keys
    this.#clock = options.clock
    this.#random = options.random
    this.#tenant = options.tenant
    this.#limits = { ...defaultDataKeyLimits, ...options.limits }
    this.#topics = new LruMap(options.topicsMax ?? topicsMaxDefault, dropTopic)
  }

  /** Resolves when a key is at hand. Errors: KEY_UNAVAILABLE. */
  async prepare(topicId: TopicId, tenant?: string): Promise<void> {
    const topic = this.#topic(topicId, tenant)
    if (this.#keyAtHand(topic) === undefined) await this.#whenAnswered(topic, () => undefined)
  }

  /**
   * Seals a block; synchronous while the topic's key is fresh, else after the provider's answer. Results of one caller
   * may therefore come out of order: await each before the next when order matters.
   * Errors, thrown or rejected: KEY_UNAVAILABLE, BLOCK_TOO_LARGE.
   */
  seal(block: Block, place: OwnedPlace): Uint8Array | Promise<Uint8Array> {
    if (block.partition !== place.partition) throw new Error('a block is sealed for its own partition')
    const topic = this.#topic(place.topicId, place.tenant)
    const key = this.#keyAtHand(topic)
    if (key !== undefined) return sealWith(key, block, place)
    return this.#whenAnswered(topic, (later) => sealWith(later, block, place))
  }

  /** Invariant 6; called after each change at the provider. */
  recheck(): void {
    this.#rechecks += 1
    for (const topic of this.#topics.values()) {
      const { active, next } = topic
      if (active !== undefined && this.#keys.refusalOf(active.kekId) !== undefined) {
        wipe(active)
        topic.active = undefined
      } else if (active !== undefined && !this.#isCurrent(active, topic.topicId)) active.superseded = true
      if (next !== undefined && !this.#isCurrent(next, topic.topicId)) {
        wipe(next)
        topic.next = undefined
      }
    }
  }

  #isCurrent({ kekId }: Pick<SealingKey, 'kekId'>, topicId: TopicId): boolean {
    return this.#keys.isCurrent(kekId, { topicId, tenant: this.#tenant })
  }

  /** Wipes all keys; later calls fail with KEY_UNAVAILABLE. Idempotent. */
  close(): void {
    this.#closed = true
    this.#topics.clear()
  }

  #topic(topicId: TopicId, tenant = this.#tenant): TopicKeys {
    if (this.#closed) throw new TrunklineError('KEY_UNAVAILABLE', { details: { reason: 'closed' } })
    const known = this.#topics.get(topicId)
    if (known !== undefined) return known
    const topic: TopicKeys = {
      topicId,
      tenant,
      active: undefined,
      next: undefined,
      pending: undefined,
      failure: undefined,
      dropped: false,
    }
    this.#topics.set(topicId, topic)
    return topic
  }

  #keyAtHand(topic: TopicKeys): SealingKey | undefined {
    const nowMs = this.#clock.monotonicMs()
    const { active } = topic
    if (active !== undefined && !active.superseded && !this.#reached(active, 1, nowMs)) {
      if (topic.next === undefined && this.#reached(active, prefetchShare, nowMs)) this.#fetch(topic, nowMs)
      return active
    }
    const { next } = topic
    if (next !== undefined) {
      topic.next = undefined
      if (!this.#reached(next, 1, nowMs)) {
        wipe(active)
        topic.active = next
        return next
      }
      wipe(next)
    }
    this.#fetch(topic, nowMs)
    // Invariant 3: only a provider that failed lets the old key go on; otherwise its answer is waited for.
    return topic.failure === undefined ? undefined : this.#oldKey(topic, nowMs)
  }

  #oldKey(topic: TopicKeys, nowMs: number): SealingKey | undefined {
    const { active } = topic
    return active === undefined || this.#reached(active, hardFactor, nowMs) ? undefined : active
  }

  /** `use` runs in the turn in which the key was found: nothing can wipe it in between. */
  async #whenAnswered<T>(topic: TopicKeys, use: (key: SealingKey) => T): Promise<T> {
    for (;;) {
      await topic.pending
      if (topic.dropped) throw new TrunklineError('KEY_UNAVAILABLE', { details: { reason: 'dropped' } })
      const key = this.#keyAtHand(topic)
      if (key !== undefined) return use(key)
      // Going on only when those before us used the new key up: every round seals, and a failure ends the waiting.
      if (topic.pending === undefined || topic.failure !== undefined)
        throw topic.failure?.error ?? new TrunklineError('KEY_UNAVAILABLE')
    }
  }

  #fetch(topic: TopicKeys, nowMs: number): void {
    if (topic.pending !== undefined) return
    if (topic.failure !== undefined && nowMs - topic.failure.atMs < retryAfterFailureMs) return
    const answer = this.#generate(topic)
    topic.pending = keyAnswer(this.#clock, answer).then(
      () => {
        topic.pending = undefined
      },
      (error: unknown) => {
        topic.pending = undefined
        topic.failure = { error: TrunklineError.from(error, 'KEY_UNAVAILABLE'), atMs: this.#clock.monotonicMs() }
      },
    )
  }

  /** Adopts the key whenever it comes, also after it was given up: asking again would cost one more. */
  async #generate(topic: TopicKeys): Promise<void> {
    const rechecks = this.#rechecks
    const key = await this.#keys.generate({ topicId: topic.topicId, tenant: topic.tenant })
    try {
      // Asked for before a change that it does not know of: the caller asks once more, as often as there are changes.
      if (rechecks !== this.#rechecks && !this.#isCurrent(key, topic.topicId)) return
      if (topic.dropped || topic.next !== undefined) return
      topic.next = this.#sealingKey(key, topic.topicId)
      topic.failure = undefined
    } finally {
      key.plaintext.fill(0)
    }
  }

  #sealingKey(key: DataKey, topicId: TopicId): SealingKey {
    if (key.plaintext.length !== keySize) throw new Error('a data key has 32 bytes')
    return {
      secret: key.plaintext.slice(),
      reference: encodeKeyReference(key, topicId),
      kekId: key.kekId,
      superseded: false,
      lane: this.#random.bytes(laneSize),
      bornAtMs: this.#clock.monotonicMs(),
      blocks: 0,
      bytes: 0,
    }
  }

  #reached(key: SealingKey, share: number, nowMs: number): boolean {
    const { ageMsMax, blocksMax, bytesMax } = this.#limits
    return (
      key.blocks >= Math.min(blocksMax * share, blocksHardMax) ||
      key.bytes >= bytesMax * share ||
      nowMs - key.bornAtMs >= ageMsMax * share
    )
  }
}

function sealWith(key: SealingKey, block: Block, place: BlockPlace): Uint8Array {
  if (key.secret === undefined) throw new Error('sealing with a wiped key')
  if (!(block.count >= 1)) throw new Error('a sealed block holds at least one event')
  const headerSize = headerSizeOf(key.reference)
  const size = headerSize + block.data.length + tagSize
  if (size > sealedBlockBytesMax) {
    throw new TrunklineError('BLOCK_TOO_LARGE', { details: { bytes: String(size), max: String(sealedBlockBytesMax) } })
  }
  const nonce = nextNonce(key)
  const aad = encodeAad(key.reference, block, nonce, place)
  const sealed = newSealedBlock(headerSize, block.data.length)
  sealed.set(aad.subarray(0, headerSize))
  encryptInto(sealed, headerSize, key.secret, nonce, aad, block.data)
  key.bytes += block.data.length
  return sealed
}

/** Lane 4 │ counter u64. Taken before sealing, so that a failure in between cannot use it again. */
function nextNonce(key: SealingKey): Uint8Array {
  if (key.blocks >= blocksHardMax) throw new Error('the nonces of a data key are used up')
  const nonce = Buffer.alloc(nonceSize)
  nonce.set(key.lane)
  nonce.writeBigUInt64BE(BigInt(key.blocks), laneSize)
  key.blocks += 1
  return nonce
}

function dropTopic(topic: TopicKeys): void {
  topic.dropped = true
  wipe(topic.active)
  wipe(topic.next)
}

function wipe(key: SealingKey | undefined): void {
  if (key === undefined) return
  key.secret?.fill(0)
  key.secret = undefined
}

// Owns: opening sealed blocks, and the cache of unwrapped data keys.
// 1. Whatever is wrong with the bytes or their place is one error, BLOCK_DAMAGED; nothing is served unchecked.
// 2. One unwrap is in flight per wrapped key, however many blocks wait for it.
// 3. A cached key is asked for again (in the background) after 1 h and is not used after 2 h; KEY_SHREDDED drops it
//    at once. At most `dataKeysMax` are kept; keys that leave are wiped.
// 4. When the provider says that access changed, keys that it refuses are dropped at once, also those whose unwrap was
//    out meanwhile.
// 5. At most `unwrapsMax` unwraps are out: a reader that catches up meets many keys at once, and asks for all of a fetch
//    ahead of their turn. The others wait in line for keyWaitMs at most, and then have keyWaitMs for their own.
// Leaves out: caching opened blocks, going on behind one that does not open (stream-tier).
import type { Clock } from '../ports/clock.ts'
import type { KeyProvider } from '../ports/key-provider.ts'
import { isErrorNamed, TrunklineError } from '../protocol/errors.ts'
import { type TopicId, topicIdFromBytes } from '../protocol/ids.ts'
import { asBuffer, decrypt, keySize } from './aes-gcm.ts'
import {
  aadOfSealed,
  type BlockPlace,
  type BlockShape,
  commitmentOf,
  copyOf,
  frameOf,
  kekIdOf,
  type OwnedPlace,
  readSealedHeader,
  type SealedFrame,
  type SealedHeader,
  shapeOf,
} from './block-format.ts'
import { LruMap } from './lru-map.ts'
import { keyAnswer } from './wait-bound.ts'

export type { OwnedPlace, SealedHeader }
export { readSealedHeader }

export interface OpenedBlock extends BlockShape {
  readonly partition: number
  /** Packed, perhaps compressed; the caller owns it. */
  readonly data: Uint8Array
}

export interface BlockOpenerOptions {
  readonly keys: KeyProvider
  /** Of topics whose place names none. */
  readonly tenant: string
  readonly clock: Clock
  /** Default 1,000. */
  readonly dataKeysMax?: number | undefined
  /** Default 16. */
  readonly unwrapsMax?: number | undefined
}

const dataKeysMaxDefault = 1_000
const unwrapsMaxDefault = 16
const refreshAfterMs = 3_600_000
const expireAfterMs = 7_200_000
/** After a refresh that found the provider away. */
const refreshRetryMs = 60_000

interface CachedKey {
  readonly secret: Uint8Array
  readonly commitment: Uint8Array
  readonly from: WrappedKey
  readonly expiresAtMs: number
  refreshAtMs: number
}

type Unwrapped =
  | { readonly kind: 'key'; readonly key: CachedKey }
  | { readonly kind: 'failed'; readonly error: TrunklineError }

/** What one unwrap is for; every block of the same wrapped key has the same. */
interface WrappedKey {
  readonly name: string
  readonly kekId: string
  readonly wrapped: Uint8Array
  readonly topicId: TopicId
  readonly tenant: string
}

/** One per node. `close` wipes all keys. */
export class BlockOpener {
  readonly #keys: KeyProvider
  readonly #tenant: string
  readonly #clock: Clock
  readonly #cached: LruMap<CachedKey>
  readonly #waiting = new Map<string, ((unwrapped: Unwrapped) => void)[]>()
  readonly #refreshing = new Set<string>()
  readonly #unwrapsMax: number
  /** Unwraps that wait for a place; at most one per key that a reader waits for (invariant 2). */
  readonly #line: (() => void)[] = []
  #unwraps = 0
  #closed = false

  constructor(options: BlockOpenerOptions) {
    this.#keys = options.keys
    this.#tenant = options.tenant
    this.#clock = options.clock
    this.#unwrapsMax = options.unwrapsMax ?? unwrapsMaxDefault
    this.#cached = new LruMap(options.dataKeysMax ?? dataKeysMaxDefault, (key) => key.secret.fill(0))
  }

  /**
   * Synchronous when the block's key is cached. `sealed` is not kept longer than the call or its promise.
   * Errors, thrown or rejected: BLOCK_DAMAGED, KEY_UNAVAILABLE, KEY_SHREDDED.
   */
  open(place: OwnedPlace, sealed: Uint8Array): OpenedBlock | Promise<OpenedBlock> {
    if (this.#closed) throw new TrunklineError('KEY_UNAVAILABLE', { details: { reason: 'closed' } })
    const frame = frameOf(sealed)
    if (frame === undefined) throw damaged()
    const name = nameOf(sealed, frame)
    const cached = this.#cached.get(name)
    const nowMs = this.#clock.monotonicMs()
    const { tenant = this.#tenant } = place
    if (cached !== undefined && nowMs < cached.expiresAtMs) {
      if (nowMs >= cached.refreshAtMs) this.#refresh(cached)
      return openWith(cached, place, sealed, frame)
    }
    const wrapped = wrappedKeyOf(name, tenant, sealed, frame)
    // Before the provider is asked: a block of another topic is not worth a call.
    if (wrapped.topicId !== place.topicId) throw damaged()
    return new Promise((resolve, reject) => {
      this.#whenUnwrapped(wrapped, (unwrapped) => {
        if (unwrapped.kind === 'failed') return reject(unwrapped.error)
        try {
          resolve(openWith(unwrapped.key, place, sealed, frame))
        } catch (error) {
          reject(TrunklineError.from(error))
        }
      })
    })
  }

  /** Invariant 4: drops the keys that the provider refuses now. */
  recheck(): void {
    this.#cached.deleteWhere(({ from }) => this.#refusalOf(from) !== undefined)
  }

  /** Wipes all keys; blocks that wait fail with KEY_UNAVAILABLE. Idempotent. */
  close(): void {
    this.#closed = true
    this.#cached.clear()
    for (const go of this.#line.splice(0)) go()
    for (const name of [...this.#waiting.keys()])
      this.#settle(name, { kind: 'failed', error: new TrunklineError('KEY_UNAVAILABLE') })
  }

  /** `use` runs in the turn in which the key comes: no eviction can wipe it in between. */
  #whenUnwrapped(wrapped: WrappedKey, use: (unwrapped: Unwrapped) => void): void {
    const waiting = this.#waiting.get(wrapped.name)
    if (waiting !== undefined) {
      waiting.push(use)
      return
    }
    this.#waiting.set(wrapped.name, [use])
    this.#unwrap(wrapped).then(
      (key) => this.#adopt(wrapped.name, key),
      (error: unknown) => {
        this.#cached.delete(wrapped.name)
        this.#settle(wrapped.name, { kind: 'failed', error: TrunklineError.from(error, 'KEY_UNAVAILABLE') })
      },
    )
  }

  #adopt(name: string, key: CachedKey): void {
    if (this.#closed) {
      key.secret.fill(0)
      return
    }
    const refusal = this.#refusalOf(key.from)
    if (refusal !== undefined) {
      key.secret.fill(0)
      this.#cached.delete(name)
      this.#settle(name, { kind: 'failed', error: new TrunklineError(refusal) })
      return
    }
    this.#cached.set(name, key)
    this.#settle(name, { kind: 'key', key })
  }

  #settle(name: string, unwrapped: Unwrapped): void {
    const waiting = this.#waiting.get(name) ?? []
    this.#waiting.delete(name)
    for (const use of waiting) use(unwrapped)
  }

  #refusalOf({ kekId, wrapped, topicId, tenant }: WrappedKey): 'KEY_UNAVAILABLE' | 'KEY_SHREDDED' | undefined {
    return this.#keys.refusalOf(kekId, { wrapped, context: { topicId, tenant } })
  }

  #refresh(cached: CachedKey): void {
    const wrapped = cached.from
    if (this.#refreshing.has(wrapped.name)) return
    this.#refreshing.add(wrapped.name)
    this.#unwrap(wrapped).then(
      (key) => {
        this.#refreshing.delete(wrapped.name)
        this.#adopt(wrapped.name, key)
      },
      (error: unknown) => {
        this.#refreshing.delete(wrapped.name)
        if (isErrorNamed(error, 'KEY_SHREDDED')) this.#cached.delete(wrapped.name)
        // Away: the key that is there serves until it expires.
        else cached.refreshAtMs = this.#clock.monotonicMs() + refreshRetryMs
      },
    )
  }

  /** Invariant 5. */
  async #unwrap(wanted: WrappedKey): Promise<CachedKey> {
    if (this.#unwraps < this.#unwrapsMax) this.#unwraps += 1
    else await this.#turn()
    try {
      if (this.#closed) throw new TrunklineError('KEY_UNAVAILABLE', { details: { reason: 'closed' } })
      return await this.#unwrapNow(wanted)
    } finally {
      this.#passOn()
    }
  }

  /** Resolves with a place. A provider that keeps the whole line waiting for keyWaitMs is away. */
  #turn(): Promise<void> {
    let go = (): void => {}
    const turn = new Promise<void>((resolve) => {
      go = resolve
      this.#line.push(go)
    })
    return keyAnswer(this.#clock, turn).catch((error: unknown) => {
      const at = this.#line.indexOf(go)
      if (at >= 0) this.#line.splice(at, 1)
      // The place came in the same moment.
      else this.#passOn()
      throw error
    })
  }

  #passOn(): void {
    const next = this.#line.shift()
    if (next === undefined) this.#unwraps -= 1
    else next()
  }

  async #unwrapNow(from: WrappedKey): Promise<CachedKey> {
    const { kekId, wrapped, topicId, tenant } = from
    const answer = this.#keys.unwrap(kekId, wrapped, { topicId, tenant })
    const plaintext = await keyAnswer(this.#clock, answer)
    try {
      if (plaintext.length !== keySize) throw damaged()
      const nowMs = this.#clock.monotonicMs()
      return {
        secret: plaintext.slice(),
        commitment: commitmentOf(plaintext),
        from,
        expiresAtMs: nowMs + expireAfterMs,
        refreshAtMs: nowMs + refreshAfterMs,
      }
    } finally {
      plaintext.fill(0)
    }
  }
}

function openWith(key: CachedKey, place: BlockPlace, sealed: Uint8Array, frame: SealedFrame): OpenedBlock {
  if (key.from.topicId !== place.topicId) throw damaged()
  const commitment = asBuffer(sealed).subarray(frame.commitmentAt, frame.topicIdAt)
  if (!commitment.equals(key.commitment)) throw damaged()
  const nonce = sealed.subarray(frame.nonceAt, frame.dataAt)
  const data = decrypt(key.secret, nonce, aadOfSealed(sealed, frame, place), sealed.subarray(frame.dataAt))
  if (data === undefined) throw damaged()
  return { partition: place.partition, ...shapeOf(sealed, frame), data }
}

/** KEK id, wrapped key and topic id as they stand in the block: what an unwrap depends on. */
function nameOf(sealed: Uint8Array, frame: SealedFrame): string {
  const bytes = asBuffer(sealed)
  return bytes.toString('latin1', 5, frame.commitmentAt) + bytes.toString('latin1', frame.topicIdAt, frame.shapeAt)
}

/** Copies: the provider may take its time, and the block's memory may be used again. */
function wrappedKeyOf(name: string, tenant: string, sealed: Uint8Array, frame: SealedFrame): WrappedKey {
  return {
    name,
    tenant,
    kekId: kekIdOf(sealed, frame),
    wrapped: copyOf(sealed, frame.wrappedAt, frame.commitmentAt),
    topicId: topicIdFromBytes(sealed.subarray(frame.topicIdAt, frame.shapeAt)),
  }
}

function damaged(): TrunklineError {
  return new TrunklineError('BLOCK_DAMAGED')
}

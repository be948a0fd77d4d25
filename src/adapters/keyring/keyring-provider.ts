// Owns: the KeyProvider over a local keyring file.
// 1. A data key is wrapped with AES-256-GCM and a random nonce; its context (topic id, tenant) and the KEK's id are the
//    AAD. A KEK wraps data keys only (a few an hour), so random nonces never wear it out.
// 2. The file is read at the start and by `reload` (main polls it); what cannot be read, is another ring or an older copy
//    leaves the loaded one in use. KEKs stay in memory until they leave the ring, or `close`.
// 3. A topic with a KEK of its own is wrapped by that one or not at all.
// 4. What was re-wrapped is opened by its new KEK alone, also while the old one is there. The old KEK still has the word:
//    revoked or destroyed, it takes what was re-wrapped from it along. Retired or replaced, it opens nothing else.
// 5. Where files are copied the ring may come before the re-wrapped keys that it needs. It is used at once; until those are
//    there what is under a KEK that is not current is unavailable: a mark may be missing that says it was shredded.
// Leaves out: the files' bytes (key-files.ts), content (keyring-content.ts, rewrapped-keys.ts) and changes (keyring-file.ts),
// polling (main).
import { decrypt, encryptInto, keySize, nonceSize } from '../../crypto/aes-gcm.ts'
import type { DataKey, KekInfo, KeyChange, KeyContext, KeyProvider } from '../../ports/key-provider.ts'
import type { Random } from '../../ports/random.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { idToBytes } from '../../protocol/ids.ts'
import { type KeyFileOptions, loadOrCreate, readKeyFile } from './key-files.ts'
import {
  freshKeyring,
  type Kek,
  type KeyringContent,
  keyringText,
  parseKeyring,
  wipeKeyring,
  wrappedSize,
} from './keyring-content.ts'
import { readRewrapped } from './keyring-file.ts'
import { fingerprintOf, RewrappedKeys } from './rewrapped-keys.ts'

export interface KeyringOptions extends KeyFileOptions {
  /** The `ringId` that the data folder was made with; another one is KEYRING_WRONG. */
  readonly expectedRingId?: string | undefined
}

const wrapVersion = 1
const wrapLabel = 'tl1 wrap'
/** Of a ring that changes while it is opened. */
const readingsMax = 3

/** Errors: KEYRING_MISSING, KEYRING_UNREADABLE, KEYRING_WRONG. The caller closes the provider. */
export async function openKeyring(path: string, options: KeyringOptions): Promise<KeyringProvider> {
  const fresh = (): string => keyringText(freshKeyring(options.random, options.clock))
  const first = await loadOrCreate(path, options, parseKeyring, fresh)
  for (let content = first, readings = 1; ; readings += 1) {
    const ring = content
    try {
      if (options.expectedRingId !== undefined && options.expectedRingId !== ring.ringId)
        throw new TrunklineError('KEYRING_WRONG', { details: { path } })
      return new KeyringProvider(path, ring, options.random, await readRewrapped(path, () => ring))
    } catch (thrown) {
      wipeKeyring(ring)
      if (readings >= readingsMax) throw thrown
      // The re-wrapped keys may be sealed by a KEK that the ring got behind our reading.
      content = parseKeyring(await readKeyFile(path))
      if (content.revision !== ring.revision) continue
      wipeKeyring(content)
      throw thrown
    }
  }
}

interface Ring {
  readonly content: KeyringContent
  readonly keks: ReadonlyMap<string, Kek>
  /** By topic id: the KEK of topics that have their own. */
  readonly ownKeks: ReadonlyMap<string, string>
}

export class KeyringProvider implements KeyProvider {
  readonly #path: string
  readonly #random: Random
  readonly #listeners = new Set<(change: KeyChange) => void>()
  #ring: Ring | undefined
  #rewrapped: RewrappedKeys

  /** Takes the content over and wipes it at `close`. */
  constructor(path: string, content: KeyringContent, random: Random, rewrapped = RewrappedKeys.none(content.ringId)) {
    this.#path = path
    this.#ring = ringOf(content)
    this.#random = random
    this.#rewrapped = rewrapped
  }

  /** 32 hex digits; stays through rotation. */
  get ringId(): string {
    return this.#open().content.ringId
  }

  /** Of the file as it was loaded; 0 when closed. */
  get revision(): number {
    return this.#ring?.content.revision ?? 0
  }

  /** Of the re-wrapped keys as they were loaded; 0 when there are none. */
  get rewrappedRevision(): number {
    return this.#rewrapped.revision
  }

  async generate(context: KeyContext): Promise<DataKey> {
    const ring = this.#open()
    const kekId = currentOf(ring, context)
    const plaintext = this.#random.bytes(keySize)
    return { kekId, plaintext, wrapped: this.#wrap(wrappingKeyOf(ring, kekId), kekId, plaintext, context) }
  }

  async unwrap(kekId: string, wrapped: Uint8Array, context: KeyContext): Promise<Uint8Array> {
    const way = this.#wayOf(this.#open(), kekId, wrapped, context)
    if (way.kind === 'refused') throw refused(way)
    const plaintext = unwrapWith(way.key, way.kekId, way.wrapped, context)
    if (plaintext !== undefined) return plaintext
    // What the seal of the re-wrapped keys holds is no block's fault.
    throw new TrunklineError(way.kekId === kekId ? 'BLOCK_DAMAGED' : 'KEY_UNAVAILABLE')
  }

  /**
   * By this very KEK, whatever was re-wrapped from it; also by a retired one. KEY_SHREDDED comes before what is wrong with
   * the current KEK, and is said of a shredded topic as well where the old KEK opens nothing itself.
   */
  async rewrap(
    kekId: string,
    wrapped: Uint8Array,
    context: KeyContext,
  ): Promise<{ kekId: string; wrapped: Uint8Array }> {
    const ring = this.#open()
    const current = currentOf(ring, context)
    const old = ring.keks.get(kekId)
    const isShredded = ring.keks.get(current)?.state.kind === 'destroyed'
    if (isShredded && (old?.state.kind === 'retired' || old?.state.kind === 'replaced'))
      throw new TrunklineError('KEY_SHREDDED')
    const oldKey = ownKeyOf(old)
    const key = wrappingKeyOf(ring, current)
    const plaintext = unwrapWith(oldKey, kekId, wrapped, context)
    if (plaintext === undefined) throw new TrunklineError('BLOCK_DAMAGED')
    try {
      return { kekId: current, wrapped: this.#wrap(key, current, plaintext, context) }
    } finally {
      plaintext.fill(0)
    }
  }

  /** Revoked and destroyed KEKs are not listed. */
  async describe(): Promise<readonly KekInfo[]> {
    const { current, keks } = this.#open().content
    return keks
      .filter((kek) => kek.state.kind === 'active')
      .map((kek) => ({ kekId: kek.id, createdAtMs: kek.createdAtMs, current: kek.id === current }))
  }

  isCurrent(kekId: string, context: KeyContext): boolean {
    return this.#ring !== undefined && currentOf(this.#ring, context) === kekId
  }

  /** The ring is all there is: a KEK that is not in it opens nothing. */
  refusalOf(
    kekId: string,
    key?: { readonly wrapped: Uint8Array; readonly context: KeyContext },
  ): 'KEY_UNAVAILABLE' | 'KEY_SHREDDED' | undefined {
    if (this.#ring === undefined) return 'KEY_UNAVAILABLE'
    const way =
      key === undefined
        ? ownWayOf(this.#ring, kekId, noWrapped)
        : this.#wayOf(this.#ring, kekId, key.wrapped, key.context)
    return way.kind === 'refused' ? way.error : undefined
  }

  onChange(listener: (change: KeyChange) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Reads the file again; its users are told what changed. On an error what was read before stays in use, but for
   * re-wrapped keys that are not as new as the ring needs: the ring is used then (invariant 5).
   * Errors: KEYRING_MISSING, KEYRING_UNREADABLE, KEYRING_WRONG (another ring, or an older copy: a backup would bring
   * back what was revoked).
   */
  async reload(): Promise<void> {
    const content = parseKeyring(await readKeyFile(this.#path))
    // Both are taken over together: on one machine nobody sees the ring without what it needs.
    const needed =
      content.rewrappedMin > this.#rewrapped.revision
        ? await readRewrapped(this.#path, () => content).catch((thrown: unknown) => TrunklineError.from(thrown))
        : undefined
    // Looked at after the reads: a close in between wins.
    const former = this.#ring
    if (former === undefined) return wipeKeyring(content)
    if (former.content.ringId !== content.ringId || content.revision < former.content.revision) {
      wipeKeyring(content)
      const reason = former.content.ringId === content.ringId ? 'an older copy' : 'another ring'
      throw new TrunklineError('KEYRING_WRONG', { details: { path: this.#path, reason } })
    }
    const ring = ringOf(content)
    const before = { revision: this.#rewrapped.revision, lag: this.#lags(former) }
    this.#ring = ring
    if (needed instanceof RewrappedKeys && needed.revision > before.revision) this.#rewrapped = needed
    wipeKeyring(former.content)
    if (
      content.keks.some(({ id, state }) => state.kind !== former.keks.get(id)?.state.kind) ||
      lost(former, ring) ||
      this.#rewrapped.revision !== before.revision ||
      this.#lags(ring) !== before.lag
    )
      this.#tell('access')
    if (content.current !== former.content.current || differ(former.ownKeks, ring.ownKeks)) this.#tell('current')
    if (needed instanceof TrunklineError && this.#lags(ring)) throw needed
  }

  /** The same for the re-wrapped keys. Errors: as reload. */
  async reloadRewrapped(): Promise<void> {
    if (this.#ring === undefined) return
    const rewrapped = await readRewrapped(this.#path, () => this.#open().content)
    const { revision } = this.#rewrapped
    if (rewrapped.revision < revision)
      throw new TrunklineError('KEYRING_WRONG', { details: { path: this.#path, reason: 'an older copy' } })
    this.#rewrapped = rewrapped
    if (rewrapped.revision !== revision) this.#tell('access')
  }

  async close(): Promise<void> {
    if (this.#ring !== undefined) wipeKeyring(this.#ring.content)
    this.#ring = undefined
    this.#listeners.clear()
  }

  #tell(change: KeyChange): void {
    for (const listener of [...this.#listeners]) listener(change)
  }

  #open(): Ring {
    if (this.#ring === undefined) throw new TrunklineError('KEY_UNAVAILABLE', { details: { reason: 'closed' } })
    return this.#ring
  }

  /** Invariant 5. */
  #lags({ content }: Ring): boolean {
    return this.#rewrapped.revision < content.rewrappedMin
  }

  /** Invariants 4 and 5. */
  #wayOf(ring: Ring, kekId: string, wrapped: Uint8Array, context: KeyContext): Way {
    const own = ownWayOf(ring, kekId, wrapped)
    if (own.kind === 'refused' && own.isFinal) return own
    if (this.#lags(ring) && currentOf(ring, context) !== kekId)
      return { kind: 'refused', error: 'KEY_UNAVAILABLE', reason: 'the re-wrapped keys are missing', isFinal: true }
    const entry = this.#rewrapped.count === 0 ? undefined : this.#rewrapped.find(fingerprintOf(kekId, wrapped, context))
    if (entry === undefined) return own
    if (entry.now === undefined) return { kind: 'refused', error: 'KEY_SHREDDED', isFinal: true }
    return ownWayOf(ring, entry.now.kekId, entry.now.wrapped)
  }

  #wrap(key: Uint8Array, kekId: string, plaintext: Uint8Array, context: KeyContext): Uint8Array {
    const nonce = this.#random.bytes(nonceSize)
    const wrapped = new Uint8Array(wrappedSize)
    wrapped[0] = wrapVersion
    wrapped.set(nonce, 1)
    encryptInto(wrapped, 1 + nonceSize, key, nonce, aadOf(kekId, context), plaintext)
    return wrapped
  }
}

function ringOf(content: KeyringContent): Ring {
  return {
    content,
    keks: new Map(content.keks.map((kek) => [kek.id, kek])),
    ownKeks: new Map(content.topics.map(({ topicId, current }) => [topicId, current])),
  }
}

/** Invariant 3. */
function currentOf({ content, ownKeks }: Ring, { topicId }: KeyContext): string {
  return ownKeks.get(topicId) ?? content.current
}

function lost(former: Ring, { keks }: Ring): boolean {
  return former.content.keks.some(({ id }) => !keks.has(id))
}

function differ(former: ReadonlyMap<string, string>, now: ReadonlyMap<string, string>): boolean {
  return former.size !== now.size || [...now].some(([topicId, kekId]) => former.get(topicId) !== kekId)
}

/** A topic whose KEK is gone is not written to: that it was destroyed is the reader's news, not the writer's. */
function wrappingKeyOf(ring: Ring, kekId: string): Uint8Array {
  const state = ring.keks.get(kekId)?.state
  if (state?.kind === 'active') return state.key
  throw new TrunklineError('KEY_UNAVAILABLE', { details: { reason: `the current KEK is ${state?.kind ?? 'unknown'}` } })
}

/** How a wrapped key is opened, or why it is not. */
type Way =
  | { readonly kind: 'open'; readonly key: Uint8Array; readonly kekId: string; readonly wrapped: Uint8Array }
  | {
      readonly kind: 'refused'
      readonly error: 'KEY_UNAVAILABLE' | 'KEY_SHREDDED'
      readonly reason?: string
      /** It is not worth looking whether it was re-wrapped. */
      readonly isFinal: boolean
    }

const noWrapped = new Uint8Array(0)

/** By the KEK itself. */
function ownWayOf({ keks }: Ring, kekId: string, wrapped: Uint8Array): Way {
  const state = keks.get(kekId)?.state
  if (state === undefined) return { kind: 'refused', error: 'KEY_UNAVAILABLE', reason: 'unknown KEK', isFinal: true }
  switch (state.kind) {
    case 'active':
      return { kind: 'open', key: state.key, kekId, wrapped }
    case 'revoked':
      return { kind: 'refused', error: 'KEY_UNAVAILABLE', reason: 'revoked KEK', isFinal: true }
    case 'retired':
    case 'replaced':
      // Not shredded: where files are copied the re-wrapped keys may come later.
      return { kind: 'refused', error: 'KEY_UNAVAILABLE', reason: `${state.kind} KEK, not re-wrapped`, isFinal: false }
    case 'destroyed':
      return { kind: 'refused', error: 'KEY_SHREDDED', isFinal: true }
  }
}

function refused({ error, reason }: Extract<Way, { kind: 'refused' }>): TrunklineError {
  return new TrunklineError(error, reason === undefined ? {} : { details: { reason } })
}

/** For re-wrapping: a retired KEK serves as well. */
function ownKeyOf(kek: Kek | undefined): Uint8Array {
  switch (kek?.state.kind) {
    case 'active':
    case 'retired':
      return kek.state.key
    case 'destroyed':
      throw new TrunklineError('KEY_SHREDDED')
    case 'revoked':
    case 'replaced':
    case undefined:
      throw new TrunklineError('KEY_UNAVAILABLE', { details: { reason: `${kek?.state.kind ?? 'unknown'} KEK` } })
  }
}

/** Undefined when it is damaged, or of another context. */
function unwrapWith(key: Uint8Array, kekId: string, wrapped: Uint8Array, context: KeyContext): Uint8Array | undefined {
  if (wrapped.length !== wrappedSize || wrapped[0] !== wrapVersion) return undefined
  const nonce = wrapped.subarray(1, 1 + nonceSize)
  return decrypt(key, nonce, aadOf(kekId, context), wrapped.subarray(1 + nonceSize))
}

/** "tl1 wrap" │ KEK id size u8 and ASCII │ topic id 16 │ tenant in UTF-8. */
function aadOf(kekId: string, context: KeyContext): Uint8Array {
  return Buffer.concat([
    Buffer.from(wrapLabel, 'latin1'),
    Uint8Array.of(kekId.length),
    Buffer.from(kekId, 'latin1'),
    idToBytes(context.topicId),
    Buffer.from(context.tenant, 'utf8'),
  ])
}

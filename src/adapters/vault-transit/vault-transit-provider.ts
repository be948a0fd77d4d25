// Owns: the KeyProvider over a key of Vault's transit engine: data keys are made and opened there.
// 1. A KEK is a version of the one configured key: `vault:<key>:v<version>`. `vault write -f transit/keys/KEY/rotate` is a rotation.
// 2. The key must be a derived one: topic and tenant are its derivation context, and another context does not open.
// 3. A version below min_decryption_version is KEY_UNAVAILABLE (and comes back when that is lowered); one below
//    min_available_version was trimmed: KEY_SHREDDED, for good.
// 4. The versions are asked for every `statesMs`: that is how old isCurrent and refusalOf may be.
// Leaves out: a KEK per topic, caching (crypto), HTTP (transit-calls.ts).
import { KekStates } from '../../crypto/kek-states.ts'
import { decodeServiceWrap, encodeServiceWrap } from '../../crypto/service-wrap.ts'
import { type Clock, sleep } from '../../ports/clock.ts'
import type { DataKey, KekInfo, KeyChange, KeyContext, KeyProvider } from '../../ports/key-provider.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { idToBytes } from '../../protocol/ids.ts'
import { type Sealed, type TransitCalls, TransitError, type TransitKey } from './transit-calls.ts'

export interface VaultTransitOptions {
  readonly calls: TransitCalls
  /** Name of the transit key: 1 to 40 letters, digits, dots, hyphens, underscores. */
  readonly key: string
  readonly clock: Clock
  /** The versions could not be asked for; told at each try. */
  readonly onProblem?: ((problem: unknown) => void) | undefined
}

const statesMs = 15_000

export class VaultTransitProvider implements KeyProvider {
  readonly #calls: TransitCalls
  readonly #prefix: string
  readonly #states = new KekStates()
  readonly #stop = new AbortController()
  readonly #ended: Promise<void>
  #isDerived = false

  constructor({ calls, key, clock, onProblem }: VaultTransitOptions) {
    this.#calls = calls
    this.#prefix = `vault:${key}:v`
    this.#ended = this.#watch(clock, onProblem)
  }

  async generate(context: KeyContext): Promise<DataKey> {
    await this.#mustBeDerived()
    const { plaintext, ...sealed } = await this.#asked(() => this.#calls.generate(derivationOf(context)))
    const kekId = this.#kekIdOf(sealed.version)
    // A version that was made a moment ago. That it cannot be looked at now fails nothing.
    if (!this.#states.knows(kekId))
      await this.refresh().catch(() => this.#states.note(kekId, { state: 'usable', createdAtMs: 0 }))
    return { kekId, plaintext, wrapped: encodeServiceWrap(kekId, sealed.cipherText, context) }
  }

  async unwrap(kekId: string, wrapped: Uint8Array, context: KeyContext): Promise<Uint8Array> {
    const sealed = this.#opened(kekId, wrapped, context)
    return await this.#asked(() => this.#calls.decrypt(sealed, derivationOf(context)), kekId)
  }

  async rewrap(
    kekId: string,
    wrapped: Uint8Array,
    context: KeyContext,
  ): Promise<{ kekId: string; wrapped: Uint8Array }> {
    const sealed = this.#opened(kekId, wrapped, context)
    const again = await this.#asked(() => this.#calls.rewrap(sealed, derivationOf(context)), kekId)
    const current = this.#kekIdOf(again.version)
    return { kekId: current, wrapped: encodeServiceWrap(current, again.cipherText, context) }
  }

  async describe(): Promise<readonly KekInfo[]> {
    this.#mustBeOpen()
    return this.#states.describe()
  }

  isCurrent(kekId: string): boolean {
    return !this.#stop.signal.aborted && this.#states.isCurrent(kekId)
  }

  refusalOf(kekId: string): 'KEY_UNAVAILABLE' | 'KEY_SHREDDED' | undefined {
    return this.#stop.signal.aborted ? 'KEY_UNAVAILABLE' : this.#states.refusalOf(kekId)
  }

  onChange(listener: (change: KeyChange) => void): () => void {
    return this.#states.onChange(listener)
  }

  /** Asks Vault for the versions of the key. Errors: KEY_UNAVAILABLE. */
  async refresh(): Promise<void> {
    this.#take(await this.#asked(() => this.#calls.describe()))
  }

  async close(): Promise<void> {
    if (this.#stop.signal.aborted) return
    this.#stop.abort()
    this.#states.close()
    await this.#ended
  }

  async #watch(clock: Clock, onProblem: ((problem: unknown) => void) | undefined): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      await this.refresh().catch((problem: unknown) => {
        if (!signal.aborted) onProblem?.(problem)
      })
      await sleep(clock, statesMs, signal)
    }
  }

  #take({ derived, latest, decryptsFrom, availableFrom, createdAtMs }: TransitKey): void {
    this.#isDerived = derived
    // A trimmed version is not listed any more: its number says so.
    for (let version = 1; version < availableFrom; version += 1)
      if (this.#states.knows(this.#kekIdOf(version)))
        this.#states.note(this.#kekIdOf(version), { state: 'destroyed', createdAtMs: 0 })
    for (const [version, at] of createdAtMs) {
      const state = version < availableFrom ? 'destroyed' : version < decryptsFrom ? 'revoked' : 'usable'
      this.#states.note(this.#kekIdOf(version), { state, createdAtMs: at })
    }
    this.#states.noteCurrent(this.#kekIdOf(latest))
  }

  #opened(kekId: string, wrapped: Uint8Array, context: KeyContext): Sealed {
    this.#mustBeOpen()
    const version = kekId.startsWith(this.#prefix) ? kekId.slice(this.#prefix.length) : ''
    if (!/^[1-9]\d{0,8}$/.test(version)) throw unavailable('unknown KEK')
    const refusal = this.#states.refusalOf(kekId)
    if (refusal !== undefined) throw new TrunklineError(refusal)
    return { version: Number(version), cipherText: decodeServiceWrap(kekId, wrapped, context) }
  }

  /** Invariant 2. */
  async #mustBeDerived(): Promise<void> {
    this.#mustBeOpen()
    if (!this.#isDerived) await this.refresh()
    if (!this.#isDerived) throw unavailable('the transit key is not a derived one: it would bind no topic')
  }

  /** Invariant 3: Vault answers a version that it may not use like one that does not open; the versions tell. */
  async #asked<T>(call: () => Promise<T>, kekId?: string): Promise<T> {
    this.#mustBeOpen()
    try {
      return await call()
    } catch (thrown) {
      if (!(thrown instanceof TransitError)) throw thrown
      if (thrown.fault === 'away') throw unavailable('Vault does not answer', thrown)
      if (kekId === undefined) throw unavailable('Vault refuses the key', thrown)
      const refusal = await this.#refusalNow(kekId)
      if (refusal !== undefined) throw new TrunklineError(refusal, { cause: thrown })
      throw thrown.fault === 'damaged'
        ? new TrunklineError('BLOCK_DAMAGED', { cause: thrown })
        : unavailable('Vault refuses the key', thrown)
    }
  }

  /** Also of a version that this process never met while it could be used. */
  async #refusalNow(kekId: string): Promise<'KEY_UNAVAILABLE' | 'KEY_SHREDDED' | undefined> {
    let key: TransitKey
    try {
      key = await this.#calls.describe()
    } catch {
      // Whether it is damaged cannot be told now: it is asked for again.
      return 'KEY_UNAVAILABLE'
    }
    this.#take(key)
    const version = Number(kekId.slice(this.#prefix.length))
    if (version < key.availableFrom) return 'KEY_SHREDDED'
    return version < key.decryptsFrom || version > key.latest ? 'KEY_UNAVAILABLE' : undefined
  }

  #kekIdOf(version: number): string {
    return `${this.#prefix}${version}`
  }

  #mustBeOpen(): void {
    if (this.#stop.signal.aborted) throw unavailable('closed')
  }
}

/** Topic id 16 │ tenant in UTF-8. */
function derivationOf({ topicId, tenant }: KeyContext): Uint8Array {
  return Buffer.concat([idToBytes(topicId), Buffer.from(tenant, 'utf8')])
}

function unavailable(reason: string, cause?: unknown): TrunklineError {
  return new TrunklineError('KEY_UNAVAILABLE', { details: { reason }, ...(cause === undefined ? {} : { cause }) })
}

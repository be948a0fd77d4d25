// Owns: a KeyProvider that fails on command, around a real one.
import type { DataKey, KekInfo, KeyChange, KeyContext, KeyProvider } from '../../src/ports/key-provider.ts'
import { TrunklineError } from '../../src/protocol/errors.ts'

export type KeyFault =
  | 'none'
  | 'unavailable'
  /** Answers when `release` is called. */
  | 'slow'
  /** Unwrapping finds the KEK destroyed. */
  | 'shredded'
  /** Breaks with an error that is not ours, whose text must not travel. */
  | 'broken'

export class FaultyKeyProvider implements KeyProvider {
  fault: KeyFault = 'none'
  generated = 0
  unwrapped = 0
  /** Every plain data key handed out, to see whether its user wipes it. */
  readonly plaintexts: Uint8Array[] = []
  readonly #inner: KeyProvider
  #held: (() => void)[] = []

  constructor(inner: KeyProvider) {
    this.#inner = inner
  }

  get held(): number {
    return this.#held.length
  }

  /** Lets all held calls go on. */
  release(): void {
    const held = this.#held
    this.#held = []
    for (const go of held) go()
  }

  async generate(context: KeyContext): Promise<DataKey> {
    this.generated += 1
    await this.#suffer()
    const key = await this.#inner.generate(context)
    this.plaintexts.push(key.plaintext)
    return key
  }

  async unwrap(kekId: string, wrapped: Uint8Array, context: KeyContext): Promise<Uint8Array> {
    this.unwrapped += 1
    await this.#suffer(true)
    const plaintext = await this.#inner.unwrap(kekId, wrapped, context)
    this.plaintexts.push(plaintext)
    return plaintext
  }

  async rewrap(
    kekId: string,
    wrapped: Uint8Array,
    context: KeyContext,
  ): Promise<{ kekId: string; wrapped: Uint8Array }> {
    await this.#suffer(true)
    return this.#inner.rewrap(kekId, wrapped, context)
  }

  async describe(): Promise<readonly KekInfo[]> {
    await this.#suffer()
    return this.#inner.describe()
  }

  isCurrent(kekId: string, context: KeyContext): boolean {
    return this.#inner.isCurrent(kekId, context)
  }

  refusalOf(...asked: Parameters<KeyProvider['refusalOf']>): ReturnType<KeyProvider['refusalOf']> {
    return this.#inner.refusalOf(...asked)
  }

  onChange(listener: (change: KeyChange) => void): () => void {
    return this.#inner.onChange(listener)
  }

  close(): Promise<void> {
    return this.#inner.close()
  }

  async #suffer(unwrapping = false): Promise<void> {
    switch (this.fault) {
      case 'none':
        return
      case 'unavailable':
        throw new TrunklineError('KEY_UNAVAILABLE')
      case 'slow':
        return new Promise((resolve) => this.#held.push(resolve))
      case 'shredded':
        if (unwrapping) throw new TrunklineError('KEY_SHREDDED')
        return
      case 'broken':
        throw new Error('connect ECONNREFUSED kms.internal:8200')
    }
  }
}

// Owns: the KeyProvider over AWS KMS: data keys are made and opened there, bound to topic and tenant by its encryption context.
// 1. A KEK is a KMS key: `aws:<key id>`, without the ARN, which would not fit. Its region and account are those of the
//    configured key. Only ids of that form are ever asked for: a block cannot name a key elsewhere.
// 2. The configured key may be an alias: pointing it to another key is a rotation. KMS's own yearly rotation needs nothing.
// 3. Disabled is KEY_UNAVAILABLE. Waiting for deletion is KEY_SHREDDED, and is undone when the deletion is cancelled. A key that
//    is deleted for good is unknown to KMS: KEY_UNAVAILABLE again.
// 4. The states of the KEKs in use are asked for every `statesMs`: that is how old isCurrent and refusalOf may be. Between,
//    a refusal of KMS itself counts at once for whoever asked.
// Leaves out: a KEK per topic, caching (crypto), the SDK (kms-calls.ts).
import { KekStates } from '../../crypto/kek-states.ts'
import { decodeServiceWrap, encodeServiceWrap } from '../../crypto/service-wrap.ts'
import { type Clock, sleep } from '../../ports/clock.ts'
import type { DataKey, KekInfo, KeyChange, KeyContext, KeyProvider } from '../../ports/key-provider.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { type EncryptionContext, type KmsCalls, KmsError } from './kms-calls.ts'

export interface AwsKmsOptions {
  readonly calls: KmsCalls
  /** Key id, alias (`alias/…`), or the ARN of either. */
  readonly keyId: string
  readonly clock: Clock
  /** The states could not be asked for; told at each try. */
  readonly onProblem?: ((problem: unknown) => void) | undefined
}

const prefix = 'aws:'
const kekIdPattern = /^aws:(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/
const statesMs = 15_000

export class AwsKmsProvider implements KeyProvider {
  readonly #calls: KmsCalls
  readonly #keyId: string
  readonly #states = new KekStates()
  readonly #stop = new AbortController()
  readonly #ended: Promise<void>

  constructor({ calls, keyId, clock, onProblem }: AwsKmsOptions) {
    this.#calls = calls
    this.#keyId = keyId
    this.#ended = this.#watch(clock, onProblem)
  }

  async generate(context: KeyContext): Promise<DataKey> {
    const { arn, plaintext, cipherText } = await this.#asked(() =>
      this.#calls.generate(this.#keyId, encryptionContextOf(context)),
    )
    const kekId = kekIdOf(arn)
    await this.#meet(kekId, arn)
    this.#states.noteCurrent(kekId)
    return { kekId, plaintext, wrapped: encodeServiceWrap(kekId, cipherText, context) }
  }

  async unwrap(kekId: string, wrapped: Uint8Array, context: KeyContext): Promise<Uint8Array> {
    const { keyId, cipherText } = this.#opened(kekId, wrapped, context)
    const plaintext = await this.#asked(
      () => this.#calls.decrypt(keyId, cipherText, encryptionContextOf(context)),
      keyId,
    )
    await this.#meet(kekId, keyId)
    return plaintext
  }

  async rewrap(
    kekId: string,
    wrapped: Uint8Array,
    context: KeyContext,
  ): Promise<{ kekId: string; wrapped: Uint8Array }> {
    const { keyId, cipherText } = this.#opened(kekId, wrapped, context)
    const again = await this.#asked(
      () => this.#calls.reEncrypt(keyId, this.#keyId, cipherText, encryptionContextOf(context)),
      keyId,
    )
    const current = kekIdOf(again.arn)
    return { kekId: current, wrapped: encodeServiceWrap(current, again.cipherText, context) }
  }

  /** Of the KEKs that this process has used: KMS does not list what is ours. */
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

  /** Asks KMS for the current KEK and the state of all that are in use. Errors: KEY_UNAVAILABLE. */
  async refresh(): Promise<void> {
    const current = await this.#asked(() => this.#look(this.#keyId))
    this.#states.noteCurrent(current)
    for (const kekId of this.#states.ids) if (kekId !== current) await this.#asked(() => this.#lookAgain(kekId))
  }

  async close(): Promise<void> {
    if (this.#stop.signal.aborted) return
    this.#stop.abort()
    this.#states.close()
    await this.#ended
    this.#calls.close()
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

  #opened(kekId: string, wrapped: Uint8Array, context: KeyContext): { keyId: string; cipherText: Uint8Array } {
    this.#mustBeOpen()
    if (!kekIdPattern.test(kekId)) throw unavailable('unknown KEK')
    const refusal = this.#states.refusalOf(kekId)
    if (refusal !== undefined) throw new TrunklineError(refusal)
    return { keyId: this.#qualified(keyIdOf(kekId)), cipherText: decodeServiceWrap(kekId, wrapped, context) }
  }

  /** A KEK that proved to be ours is looked at once, then with the others. That this cannot be now fails nothing. */
  async #meet(kekId: string, keyId: string): Promise<void> {
    if (this.#states.knows(kekId)) return
    await this.#look(keyId).catch(() => this.#states.note(kekId, { state: 'usable', createdAtMs: 0 }))
  }

  /** One that KMS does not know any more, or not for us, stays what it was, and hides nothing of the others. */
  async #lookAgain(kekId: string): Promise<void> {
    await this.#look(keyIdOf(kekId)).catch((thrown: unknown) => {
      if (!(thrown instanceof KmsError) || thrown.fault !== 'refused') throw thrown
    })
  }

  /** Answers the KEK's id. */
  async #look(keyId: string): Promise<string> {
    const { arn, createdAtMs, state } = await this.#calls.describe(this.#qualified(keyId))
    const kekId = kekIdOf(arn)
    this.#states.note(kekId, { state, createdAtMs })
    return kekId
  }

  /** Invariant 1: a key of another account is only reachable by its ARN. */
  #qualified(keyId: string): string {
    const ofOther = /^(arn:[^:]+:kms:[^:]+:[^:]+:)(key|alias)\//.exec(this.#keyId)
    return ofOther === null || keyId.startsWith('arn:') ? keyId : `${ofOther[1]}key/${keyId}`
  }

  /** Invariant 3: `keyId` is asked for its state when KMS refuses to use it. */
  async #asked<T>(call: () => Promise<T>, keyId?: string): Promise<T> {
    this.#mustBeOpen()
    try {
      return await call()
    } catch (thrown) {
      if (!(thrown instanceof KmsError)) throw thrown
      switch (thrown.fault) {
        case 'damaged':
          throw new TrunklineError('BLOCK_DAMAGED', { cause: thrown })
        case 'away':
          throw unavailable('KMS does not answer', thrown)
        case 'refused':
          throw (
            (keyId === undefined ? undefined : await this.#refusalNow(keyId, thrown)) ??
            unavailable('KMS refuses the key', thrown)
          )
      }
    }
  }

  async #refusalNow(keyId: string, cause: unknown): Promise<TrunklineError | undefined> {
    try {
      const { arn, createdAtMs, state } = await this.#calls.describe(this.#qualified(keyId))
      if (this.#states.knows(kekIdOf(arn))) this.#states.note(kekIdOf(arn), { state, createdAtMs })
      return state === 'destroyed' ? new TrunklineError('KEY_SHREDDED', { cause }) : undefined
    } catch {
      // Neither may we look at it: what KMS said first counts.
      return undefined
    }
  }

  #mustBeOpen(): void {
    if (this.#stop.signal.aborted) throw unavailable('closed')
  }
}

function kekIdOf(arn: string): string {
  const kekId = `${prefix}${arn.slice(arn.lastIndexOf('/') + 1)}`
  if (!kekIdPattern.test(kekId)) throw unavailable('KMS names a key that this version does not know')
  return kekId
}

function keyIdOf(kekId: string): string {
  return kekId.slice(prefix.length)
}

/** An empty tenant is left out: KMS takes no empty value. */
function encryptionContextOf({ topicId, tenant }: KeyContext): EncryptionContext {
  return { 'trunkline-topic': topicId, ...(tenant === '' ? {} : { 'trunkline-tenant': tenant }) }
}

function unavailable(reason: string, cause?: unknown): TrunklineError {
  return new TrunklineError('KEY_UNAVAILABLE', { details: { reason }, ...(cause === undefined ? {} : { cause }) })
}

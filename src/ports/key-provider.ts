// Owns: the KeyProvider port: data keys (DEK) wrapped by key-encryption keys (KEK) that never leave their owner.
// Every adapter passes test/conformance/key-provider.
// 1. What may be used changes while a process runs (rotation, revocation, shredding): a provider tells its users, and
//    answers `isCurrent` and `refusalOf` without I/O, from what it knew last. Each adapter states how old that may be.
import type { TopicId } from '../protocol/ids.ts'

/** What a wrapped key is bound to; unwrapping with another context fails. */
export interface KeyContext {
  readonly topicId: TopicId
  readonly tenant: string
}

export interface DataKey {
  /** Names the KEK (and its version) that wrapped the key; ≤ 64 bytes of ASCII; stored in every block. */
  readonly kekId: string
  /** 32 bytes. The caller wipes it when it is done. */
  readonly plaintext: Uint8Array
  /** ≤ 512 bytes. */
  readonly wrapped: Uint8Array
}

export interface KekInfo {
  readonly kekId: string
  readonly createdAtMs: number
  /** The one `generate` uses now, for topics without a KEK of their own. */
  readonly current: boolean
}

/** current: another KEK wraps from now on. access: what may be unwrapped is not what it was. */
export type KeyChange = 'current' | 'access'

export interface KeyProvider {
  /** A fresh data key under the KEK that is current for the topic. Errors: KEY_UNAVAILABLE (retryable). */
  generate(context: KeyContext): Promise<DataKey>
  /** Errors: KEY_UNAVAILABLE (unknown or revoked KEK, service away), KEY_SHREDDED (KEK destroyed), BLOCK_DAMAGED (does not unwrap). */
  unwrap(kekId: string, wrapped: Uint8Array, context: KeyContext): Promise<Uint8Array>
  /** The same data key under the current KEK. Errors: as unwrap. */
  rewrap(kekId: string, wrapped: Uint8Array, context: KeyContext): Promise<{ kekId: string; wrapped: Uint8Array }>
  /** KEKs that can unwrap. */
  describe(): Promise<readonly KekInfo[]>
  /** Whether `generate` would use this KEK now. */
  isCurrent(kekId: string, context: KeyContext): boolean
  /**
   * Why what this KEK wrapped may not be used any more; undefined when it may, or nothing is known of the KEK. With `key`,
   * the same of one wrapped key, which may have been re-wrapped since.
   */
  refusalOf(
    kekId: string,
    key?: { readonly wrapped: Uint8Array; readonly context: KeyContext },
  ): 'KEY_UNAVAILABLE' | 'KEY_SHREDDED' | undefined
  /** Calls back after every change; answers how to stop it. A listener must not throw. */
  onChange(listener: (change: KeyChange) => void): () => void
  close(): Promise<void>
}

// Owns: the KeyProvider port: data keys (DEK) wrapped by key-encryption keys (KEK) that never leave their owner.
// Every adapter passes test/conformance/key-provider.
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
  /** The one `generate` uses now. */
  readonly current: boolean
}

export interface KeyProvider {
  /** A fresh data key under the current KEK. Errors: KEY_UNAVAILABLE (retryable). */
  generate(context: KeyContext): Promise<DataKey>
  /** Errors: KEY_UNAVAILABLE (unknown KEK or service away), KEY_SHREDDED (KEK destroyed), BLOCK_DAMAGED (does not unwrap). */
  unwrap(kekId: string, wrapped: Uint8Array, context: KeyContext): Promise<Uint8Array>
  /** The same data key under the current KEK. Errors: as unwrap. */
  rewrap(kekId: string, wrapped: Uint8Array, context: KeyContext): Promise<{ kekId: string; wrapped: Uint8Array }>
  describe(): Promise<readonly KekInfo[]>
  close(): Promise<void>
}

// Owns: opening session tokens once: a bounded cache of what the sealed bytes say.
// 1. Only a token that opened under our keys is kept; a forged one costs its decryption each time.
// 2. At `tokensMax` the least recently used token is forgotten: it is opened again when it comes back.
// Leaves out: whether the session still lives (its node knows).
import { LRUCache } from 'lru-cache'
import type { GatewayKeys } from '../crypto/gateway-keys.ts'
import { openSessionToken, type SessionTokenContent } from '../crypto/session-token.ts'
import { TrunklineError } from '../protocol/errors.ts'
import { sessionTokenBytesMax } from '../protocol/limits.ts'

export class OpenedTokens {
  readonly #keys: GatewayKeys
  readonly #opened: LRUCache<string, SessionTokenContent>

  constructor(keys: GatewayKeys, tokensMax: number) {
    this.#keys = keys
    this.#opened = new LRUCache({ max: tokensMax })
  }

  /** Errors: BAD_SESSION_TOKEN, uniformly for forged, truncated, foreign and too long ones. */
  open(token: Uint8Array): SessionTokenContent {
    if (token.length === 0 || token.length > sessionTokenBytesMax) throw new TrunklineError('BAD_SESSION_TOKEN')
    const cacheKey = Buffer.from(token.buffer, token.byteOffset, token.byteLength).toString('latin1')
    const known = this.#opened.get(cacheKey)
    if (known !== undefined) return known
    const content = openSessionToken(this.#keys, token)
    this.#opened.set(cacheKey, content)
    return content
  }
}

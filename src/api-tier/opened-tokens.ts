// Owns: opening session tokens once: a bounded cache of what the sealed bytes say, and of the keys of their MACs.
// 1. Only a token that opened under our keys is kept; a forged one costs its decryption each time.
// 2. At `tokensMax` the least recently used token is forgotten, with its keys: both can be had again from the token.
// 3. A token that opens is asked about each time (`check`): what its session may no longer do is forgotten, keys and all.
// 4. When the gateway keys changed everything is forgotten: what a dropped key sealed opens no more.
// Leaves out: whether the session still lives (its node knows).
import { LRUCache } from 'lru-cache'
import type { GatewayKeys } from '../crypto/gateway-keys.ts'
import { openSessionToken, type SessionTokenContent, sessionSecret } from '../crypto/session-token.ts'
import { TrunklineError } from '../protocol/errors.ts'
import { sessionTokenBytesMax } from '../protocol/limits.ts'
import { deriveMacKeys, type MacKeys } from '../protocol/signed-bytes.ts'

interface Opened {
  readonly content: SessionTokenContent
  /** From the first signed request on. */
  macKeys: MacKeys | undefined
}

export class OpenedTokens {
  readonly #keys: GatewayKeys
  readonly #opened: LRUCache<string, Opened>
  readonly #check: (content: SessionTokenContent) => void

  #generation: number

  /** `check` throws when calls of the session are to be refused. */
  constructor(keys: GatewayKeys, tokensMax: number, check: (content: SessionTokenContent) => void) {
    this.#keys = keys
    this.#check = check
    this.#generation = keys.generation
    this.#opened = new LRUCache({ max: tokensMax })
  }

  /**
   * For a call of the session. Errors: BAD_SESSION_TOKEN, uniformly for forged, truncated, foreign and too long ones; those
   * of `check`.
   */
  open(token: Uint8Array): SessionTokenContent {
    return this.#live(token).content
  }

  /** Of a session that may be over, to go on from it. Errors: BAD_SESSION_TOKEN. */
  openEnded(token: Uint8Array): SessionTokenContent {
    return this.#open(token).content
  }

  /** Derived from the session's secret, for the algorithm that the token names. Errors: as `open`. */
  macKeys(token: Uint8Array): MacKeys {
    const opened = this.#live(token)
    const { macAlgorithm: algorithm } = opened.content
    opened.macKeys ??= deriveMacKeys(sessionSecret(this.#keys, token, algorithm), algorithm)
    return opened.macKeys
  }

  #live(token: Uint8Array): Opened {
    const opened = this.#open(token)
    try {
      this.#check(opened.content)
    } catch (thrown) {
      this.#opened.delete(cacheKeyOf(token))
      throw thrown
    }
    return opened
  }

  #open(token: Uint8Array): Opened {
    if (token.length === 0 || token.length > sessionTokenBytesMax) throw new TrunklineError('BAD_SESSION_TOKEN')
    if (this.#generation !== this.#keys.generation) {
      this.#generation = this.#keys.generation
      this.#opened.clear()
    }
    const cacheKey = cacheKeyOf(token)
    const known = this.#opened.get(cacheKey)
    if (known !== undefined) return known
    const opened = { content: openSessionToken(this.#keys, token), macKeys: undefined }
    this.#opened.set(cacheKey, opened)
    return opened
  }
}

function cacheKeyOf(token: Uint8Array): string {
  return Buffer.from(token.buffer, token.byteOffset, token.byteLength).toString('latin1')
}

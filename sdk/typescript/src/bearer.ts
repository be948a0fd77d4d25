// Owns: the access token of a client: got once, cached, renewed before it ends; one request for it at a time.
import type { Clock } from '../../../src/fsm/client/client-ports.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'

export interface AccessToken {
  readonly token: string
  /** Wall clock; undefined: never renewed by time, only when the gateway refuses it. */
  readonly expiresAtMs?: number
}

/** A token is renewed when this share of its life, at most `renewMsMax`, is left. */
const renewShare = 0.2
const renewMsMax = 60_000

export class Bearer {
  readonly #fetch: () => Promise<AccessToken>
  readonly #clock: Clock
  #current: AccessToken | undefined
  #renewAtMs = Number.POSITIVE_INFINITY
  #fetching: Promise<string> | undefined

  constructor(fetch: () => Promise<AccessToken>, clock: Clock) {
    this.#fetch = fetch
    this.#clock = clock
  }

  /** A token that is good for now. Errors: UNAUTHENTICATED, UNAVAILABLE. */
  async get(): Promise<string> {
    if (this.#current !== undefined && this.#clock.nowMs() < this.#renewAtMs) return this.#current.token
    this.#fetching ??= this.#renew().finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }

  /** The gateway refused `token`: the next get brings another. */
  invalidate(token: string): void {
    if (this.#current?.token === token) this.#current = undefined
  }

  async #renew(): Promise<string> {
    const nowMs = this.#clock.nowMs()
    try {
      const fetched = await this.#fetch()
      const lifeMs = fetched.expiresAtMs === undefined ? Number.POSITIVE_INFINITY : fetched.expiresAtMs - nowMs
      this.#current = fetched
      this.#renewAtMs =
        lifeMs === Number.POSITIVE_INFINITY ? lifeMs : nowMs + lifeMs - Math.min(renewMsMax, lifeMs * renewShare)
      return fetched.token
    } catch (thrown) {
      // A token that still lives is better than none; the next call tries again.
      const current = this.#current
      if (current?.expiresAtMs !== undefined && this.#clock.nowMs() < current.expiresAtMs) return current.token
      throw TrunklineError.from(thrown, 'UNAVAILABLE')
    }
  }
}

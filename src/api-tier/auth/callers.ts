// Owns: from the bearer of a call to its caller, within bounds: what a bearer may be, and how often an address may show bad ones.
// 1. A bearer that has been verified here is never slowed: only those that would have to be checked are (failed-logins.ts).
// Leaves out: how a bearer is checked (jwt-verifier.ts).
import { isErrorNamed, TrunklineError } from '../../protocol/errors.ts'
import { bearerBytesMax } from '../../protocol/limits.ts'
import { isTenantName } from '../../protocol/tenant-topics.ts'
import type { BearerVerifier, Caller } from './bearer.ts'
import type { FailedLogins } from './failed-logins.ts'

/** Of its signature: each bearer has an end of its own, and nothing needs to be hashed for it. */
const nameCharacters = 32

export class Callers {
  readonly #tokens: BearerVerifier
  readonly #failedLogins: FailedLogins | undefined

  constructor(tokens: BearerVerifier, failedLogins: FailedLogins | undefined) {
    this.#tokens = tokens
    this.#failedLogins = failedLogins
  }

  /** Errors: UNAUTHENTICATED, TOKEN_EXPIRED, TOO_MANY_REQUESTS, those of a provider that is away. */
  async of(bearer: string | undefined, remote: string | undefined): Promise<Caller> {
    if (bearer === undefined || bearer === '')
      throw new TrunklineError('UNAUTHENTICATED', { details: { why: 'no bearer' } })
    if (bearer.length > bearerBytesMax)
      throw new TrunklineError('UNAUTHENTICATED', { details: { why: 'bearer too long' } })
    const caller = await this.#verified(bearer, remote)
    // A tenant is part of topics' names.
    if (!isTenantName(caller.principal.tenant))
      throw new TrunklineError('UNAUTHENTICATED', { details: { why: 'tenant' } })
    return caller
  }

  async #verified(bearer: string, remote: string | undefined): Promise<Caller> {
    const name = `bearer:${bearer.slice(-nameCharacters)}`
    let isNew = false
    try {
      const caller = await this.#tokens.verify(bearer, () => {
        isNew = true
        this.#failedLogins?.check(remote, name)
      })
      if (isNew) this.#failedLogins?.succeeded(remote, name)
      return caller
    } catch (thrown) {
      // One that has expired was good.
      if (isErrorNamed(thrown, 'UNAUTHENTICATED')) this.#failedLogins?.failed(remote, name)
      throw thrown
    }
  }
}

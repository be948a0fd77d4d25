// Owns: several issuers at once: which of them a bearer is checked by.
// 1. The issuer that a token names, unverified, only picks the verifier; that one alone decides, by its own keys and its
//    own exact issuer. A token of A that names B is judged by the keys of B.
// 2. A token of an issuer that is not configured is UNAUTHENTICATED; nothing is fetched for it.
// 3. A subject of the gateway's own issuer never reads like one of a provider (`name:…`).
import { decodeJwt } from 'jose'
import { TrunklineError } from '../../protocol/errors.ts'
import { bearerBytesMax } from '../../protocol/limits.ts'
import type { BearerVerifier, Caller } from './bearer.ts'

export interface ExternalIssuer {
  readonly issuer: string
  readonly subjectPrefix: string
  readonly verifier: BearerVerifier
}

export class IssuerVerifiers implements BearerVerifier {
  readonly #own: BearerVerifier
  readonly #ownIssuer: string
  readonly #external: ReadonlyMap<string, BearerVerifier>
  readonly #prefixes: readonly string[]

  constructor(
    own: { readonly issuer: string; readonly verifier: BearerVerifier },
    external: readonly ExternalIssuer[],
  ) {
    this.#own = own.verifier
    this.#ownIssuer = own.issuer
    this.#external = new Map(external.map(({ issuer, verifier }) => [issuer, verifier]))
    this.#prefixes = external.map(({ subjectPrefix }) => subjectPrefix)
  }

  async verify(bearer: string, beforeCheck?: () => void): Promise<Caller> {
    if (bearer.length === 0 || bearer.length > bearerBytesMax) throw new TrunklineError('UNAUTHENTICATED')
    const issuer = unverifiedIssuer(bearer)
    if (issuer === this.#ownIssuer) return this.#ownCaller(await this.#own.verify(bearer, beforeCheck))
    const verifier = issuer === undefined ? undefined : this.#external.get(issuer)
    if (verifier !== undefined) return await verifier.verify(bearer, beforeCheck)
    beforeCheck?.()
    throw new TrunklineError('UNAUTHENTICATED')
  }

  #ownCaller(caller: Caller): Caller {
    if (this.#prefixes.some((prefix) => caller.principal.subject.startsWith(prefix)))
      throw new TrunklineError('UNAUTHENTICATED')
    return caller
  }
}

function unverifiedIssuer(bearer: string): string | undefined {
  try {
    return decodeJwt(bearer).iss
  } catch {
    // Not a JWT: it is of no issuer.
    return undefined
  }
}

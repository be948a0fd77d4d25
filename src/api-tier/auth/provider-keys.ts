// Owns: the public keys of one provider: fetched, refreshed, kept over its outages.
// 1. Keys come from the configured URL, or from the one in the metadata of exactly the configured issuer. Nothing that a
//    token says names a place.
// 2. One fetch is in flight at a time; who needs it waits for it.
// 3. The last good keys go on until they are `keysKeptMs` old; a fetch that fails, or brings no usable key, changes
//    nothing. After that, and before the first keys, every answer is UNAVAILABLE: nobody is let in, nobody is told that a
//    token is wrong.
// 4. A key id that is not known brings one fetch, and the next such one not before `askAgainMs`. Until then an id
//    that was not there is refused (`absentMax` are remembered), and any other one is UNAVAILABLE.
// 5. Refreshed every `refreshMs` (a tenth of jitter, so that processes do not ask together); after a failure tried again
//    after 1 s, doubling to a minute.
// Leaves out: HTTP (provider-http.ts), what a token must say (token-profile.ts).
import type { JSONWebKeySet, JWK } from 'jose'
import type { Clock, Timer } from '../../ports/clock.ts'
import type { Random } from '../../ports/random.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { jsonObject, metadataUrls, parseIssuerMetadata, safeUrl } from '../../protocol/oauth-metadata.ts'
import { type KeySet, type KeySource, keySet } from './key-source.ts'
import type { Fetched, FetchFailure, GetDocument } from './provider-http.ts'

export interface ProviderKeysDeps {
  /** Short name of the provider, for errors. */
  readonly name: string
  readonly issuer: string
  /** Undefined: found by discovery, at every fetch. */
  readonly jwksUrl: string | undefined
  /** Whether http to this machine counts. */
  readonly loopbackHttp: boolean
  readonly keysKeptMs: number
  readonly get: GetDocument
  readonly clock: Clock
  readonly random: Random
  readonly onFetched: (outcome: 'ok' | FetchFailure, attempt: number) => void
}

const refreshMs = 10 * 60_000
const askAgainMs = 30_000
const retryMsMin = 1_000
const retryMsMax = 60_000
const absentMax = 100
const keysMax = 100

interface Kept {
  readonly keys: KeySet
  readonly text: string
  readonly fetchedAtMs: number
}

export class ProviderKeys implements KeySource {
  readonly #deps: ProviderKeysDeps
  readonly #closing = new AbortController()
  readonly #absent = new Set<string>()
  #kept: Kept | undefined
  #fetching: Promise<boolean> | undefined
  #timer: Timer | undefined
  #nextAtMs = 0
  #askedAtMs = Number.NEGATIVE_INFINITY
  #failures = 0

  constructor(deps: ProviderKeysDeps) {
    this.#deps = deps
  }

  /** Begins the first fetch; a provider that is away is tried again, and nobody waits for it. */
  start(): void {
    void this.#fetch()
  }

  /** Ms since the last good fetch; undefined before the first. */
  get ageMs(): number | undefined {
    return this.#kept === undefined ? undefined : this.#deps.clock.monotonicMs() - this.#kept.fetchedAtMs
  }

  /** Nothing is fetched any more. Idempotent. */
  close(): void {
    this.#closing.abort()
    this.#timer?.cancel()
  }

  current(): KeySet | Promise<KeySet> {
    return this.#reliable() ?? this.#awaited()
  }

  async newerFor(keyId: string): Promise<KeySet | undefined> {
    const { clock } = this.#deps
    if (this.#fetching === undefined) {
      const pauseMs = this.#askedAtMs + askAgainMs - clock.monotonicMs()
      if (pauseMs > 0 && this.#absent.has(keyId)) return undefined
      // It may be new: nobody is told that it is wrong before the provider was asked.
      if (pauseMs > 0) throw this.#unavailable(pauseMs)
      this.#askedAtMs = clock.monotonicMs()
    }
    if (!(await this.#fetch())) throw this.#unavailable(this.#untilNextMs())
    if (this.#absent.size < absentMax) this.#absent.add(keyId)
    return this.#kept?.keys
  }

  async #awaited(): Promise<KeySet> {
    await this.#fetching
    const keys = this.#reliable()
    if (keys === undefined) throw this.#unavailable(this.#untilNextMs())
    return keys
  }

  #reliable(): KeySet | undefined {
    const { ageMs } = this
    return ageMs !== undefined && ageMs < this.#deps.keysKeptMs ? this.#kept?.keys : undefined
  }

  #untilNextMs(): number {
    return this.#nextAtMs - this.#deps.clock.monotonicMs()
  }

  #unavailable(waitMs: number): TrunklineError {
    return new TrunklineError('UNAVAILABLE', {
      details: { provider: this.#deps.name, why: 'its keys cannot be had now' },
      retryAfterMs: Math.max(retryMsMin, Math.ceil(waitMs)),
    })
  }

  /** Whether there are good keys of now. Never rejects. */
  #fetch(): Promise<boolean> {
    this.#fetching ??= this.#fetchOnce().finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }

  async #fetchOnce(): Promise<boolean> {
    const { clock, random, onFetched } = this.#deps
    this.#timer?.cancel()
    const fetched = await this.#load()
    if (this.#closing.signal.aborted) return false
    const isGood = fetched.kind === 'ok'
    onFetched(fetched.kind, isGood ? 1 : this.#failures + 1)
    this.#failures = isGood ? 0 : this.#failures + 1
    if (isGood) {
      this.#absent.clear()
      this.#keep(fetched.value)
    }
    const spread = 0.9 + random.fraction() * 0.2
    const waitMs = isGood ? refreshMs : Math.min(retryMsMax, retryMsMin * 2 ** (this.#failures - 1))
    this.#nextAtMs = clock.monotonicMs() + waitMs * spread
    this.#timer = clock.after(waitMs * spread, () => void this.#fetch())
    return isGood
  }

  /** The same keys stay the same object: what was verified by them still is. */
  #keep(jwks: JSONWebKeySet): void {
    const text = JSON.stringify(jwks)
    const keys = this.#kept?.text === text ? this.#kept.keys : keySet(jwks)
    this.#kept = { keys, text, fetchedAtMs: this.#deps.clock.monotonicMs() }
  }

  async #load(): Promise<Fetched<JSONWebKeySet>> {
    const url = await this.#jwksUrl()
    if (url.kind !== 'ok') return url
    const answer = await this.#deps.get(url.value, this.#closing.signal)
    return answer.kind === 'ok' ? usableKeys(answer.value) : answer
  }

  async #jwksUrl(): Promise<Fetched<URL>> {
    const { issuer, jwksUrl, get, loopbackHttp } = this.#deps
    if (jwksUrl !== undefined) return { kind: 'ok', value: new URL(jwksUrl) }
    let last: Fetched<URL> = { kind: 'http-status' }
    for (const url of metadataUrls(issuer)) {
      const answer = await get(url, this.#closing.signal)
      if (answer.kind !== 'ok') {
        last = answer
        // Only an answer that there is nothing here leads to the other place.
        if (answer.kind === 'http-status') continue
        return answer
      }
      const metadata = parseIssuerMetadata(answer.value, issuer)
      if (metadata === 'foreign') return { kind: 'other-issuer' }
      const found = metadata?.jwksUri === undefined ? undefined : safeUrl(metadata.jwksUri, { loopbackHttp })
      return found === undefined ? { kind: 'malformed' } : { kind: 'ok', value: found }
    }
    return last
  }
}

/** Public keys for signatures, without what we do not use: no certificate, no private part, no shared secret. */
function usableKeys(text: string): Fetched<JSONWebKeySet> {
  const keys = jsonObject(text)?.['keys']
  if (!Array.isArray(keys) || keys.length > keysMax) return { kind: 'malformed' }
  const usable = keys.flatMap((key: unknown) => publicKeyOf(key) ?? [])
  return usable.length === 0 ? { kind: 'malformed' } : { kind: 'ok', value: { keys: usable } }
}

function publicKeyOf(key: unknown): JWK | undefined {
  if (typeof key !== 'object' || key === null) return undefined
  const { kty, kid, use, alg, crv, x, y, n, e } = key as Readonly<Record<string, unknown>>
  if (use !== undefined && use !== 'sig') return undefined
  const texts = { kid, alg, use, crv, x, y, n, e }
  const given = Object.entries(texts).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  if (kty !== 'RSA' && kty !== 'EC' && kty !== 'OKP') return undefined
  return { kty, ...Object.fromEntries(given) }
}

// Owns: what the tests of providers share: a provider with real keys whose answers are scripted, and a verifier of it.
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { JwtVerifier } from '../../../src/api-tier/auth/jwt-verifier.ts'
import type { Fetched } from '../../../src/api-tier/auth/provider-http.ts'
import { ProviderKeys, type ProviderKeysDeps } from '../../../src/api-tier/auth/provider-keys.ts'
import { type TokenProfile, tokenAlgorithms } from '../../../src/api-tier/auth/token-profile.ts'
import { random } from './support.ts'

export const startMs = 1_700_000_000_000
export const corp = 'https://login.corp.example/realms/main'

export const corpProfile: TokenProfile = {
  issuer: corp,
  audience: 'trunkline',
  algorithms: tokenAlgorithms,
  types: ['at+jwt'],
  subjectPrefix: 'corp:',
  clientIdClaim: 'client_id',
  tenantClaim: undefined,
  tenantMayLack: false,
  rolesClaim: undefined,
}

export interface SigningPair {
  readonly kid: string
  readonly alg: string
  readonly privateKey: Awaited<ReturnType<typeof generateKeyPair>>['privateKey']
  readonly jwk: JWK
}

export async function signingPair(kid: string, alg = 'ES256'): Promise<SigningPair> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return { kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } }
}

export interface Over {
  readonly claims?: Readonly<Record<string, unknown>>
  readonly drop?: string
  readonly header?: Readonly<Record<string, unknown>>
}

export function signed(pair: SigningPair, { claims = {}, drop, header = {} }: Over = {}): Promise<string> {
  const all = {
    iss: corp,
    aud: 'trunkline',
    sub: 'alice',
    client_id: 'app',
    jti: 'one',
    iat: startMs / 1000,
    exp: startMs / 1000 + 3_600,
    ...claims,
  }
  const kept = Object.fromEntries(Object.entries(all).filter(([name]) => name !== drop))
  return new SignJWT(kept)
    .setProtectedHeader({ alg: pair.alg, typ: 'at+jwt', kid: pair.kid, ...header })
    .sign(pair.privateKey, { crit: { x: true } })
}

/** The documents of a provider by URL; what is not there is away. */
export class ScriptedProvider {
  readonly asked: string[] = []
  readonly documents = new Map<string, Fetched<string>>()
  /** Answers wait until it is settled. */
  gate: Promise<void> = Promise.resolve()

  publish(keys: readonly JWK[], jwksUri = `${corp}/keys`): void {
    const metadata = { issuer: corp, jwks_uri: jwksUri }
    this.documents.set(`${corp}/.well-known/openid-configuration`, { kind: 'ok', value: JSON.stringify(metadata) })
    this.documents.set(jwksUri, { kind: 'ok', value: JSON.stringify({ keys }) })
  }

  away(): void {
    this.documents.clear()
  }

  get = async (url: URL): Promise<Fetched<string>> => {
    this.asked.push(url.href)
    await this.gate
    return this.documents.get(url.href) ?? { kind: 'unreachable' }
  }
}

export function providerUnderTest(
  over: { readonly profile?: Partial<TokenProfile>; readonly keys?: Partial<ProviderKeysDeps> } = {},
) {
  const clock = new SimulatedClock(startMs)
  const provider = new ScriptedProvider()
  const outcomes: string[] = []
  const refusals: string[] = []
  const keys = new ProviderKeys({
    name: 'corp',
    issuer: corp,
    jwksUrl: undefined,
    loopbackHttp: false,
    keysKeptMs: 86_400_000,
    get: provider.get,
    clock,
    random,
    onFetched: (outcome) => outcomes.push(outcome),
    ...over.keys,
  })
  const profile = { ...corpProfile, ...over.profile }
  const verifier = new JwtVerifier({ keys, profile, clock, onRefused: (reason) => refusals.push(reason) })
  return { clock, provider, keys, verifier, outcomes, refusals }
}

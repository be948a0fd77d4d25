// Owns: what checks the bearers of a process: the gateway's own issuer, and the providers that are configured.
import type { BearerVerifier } from '../api-tier/auth/bearer.ts'
import { IssuerVerifiers } from '../api-tier/auth/issuer-verifiers.ts'
import { JwtVerifier, type OwnIssuer, ownIssuerVerifier } from '../api-tier/auth/jwt-verifier.ts'
import { providerHttp } from '../api-tier/auth/provider-http.ts'
import { ProviderKeys } from '../api-tier/auth/provider-keys.ts'
import type { ProviderConfig } from '../config/roles.ts'
import { readPemFile } from '../config/secret-file.ts'
import { providerMetrics } from '../observability/tier-metrics.ts'
import type { Parts } from './parts.ts'
import type { Provider } from './providers-file.ts'

export interface Bearers {
  readonly verifier: BearerVerifier
  /** Nothing is fetched any more. */
  close(): void
}

/** Begins to fetch the providers' keys, and does not wait for them: one that is away locks out only its own callers. */
export function startBearers(
  parts: Parts,
  own: OwnIssuer,
  providers: readonly Provider[],
  config: ProviderConfig,
): Bearers {
  const ownVerifier = ownIssuerVerifier(own)
  if (providers.length === 0) return { verifier: ownVerifier, close: () => {} }
  const keysOf = new Map(providers.map((provider) => [provider, startKeys(parts, provider, config.oidcKeysKeptMs)]))
  const external = [...keysOf].map(([{ name, profile }, keys]) => ({
    ...profile,
    verifier: new JwtVerifier({
      keys,
      profile,
      clock: parts.clock,
      onRefused: (reason) => parts.logger.debug({ tier: 'api', provider: name, reason }, 'a token was refused'),
    }),
  }))
  return {
    verifier: new IssuerVerifiers({ issuer: own.issuer, verifier: ownVerifier }, external),
    close: () => {
      for (const keys of keysOf.values()) keys.close()
    },
  }
}

function startKeys({ clock, random, logger, registry }: Parts, provider: Provider, keysKeptMs: number): ProviderKeys {
  const { name, profile, jwksUrl, caFile, loopbackHttp } = provider
  const metrics = providerMetrics(registry.metrics)
  let seen = false
  const keys: ProviderKeys = new ProviderKeys({
    name,
    issuer: profile.issuer,
    jwksUrl,
    loopbackHttp,
    keysKeptMs,
    get: providerHttp({
      clock,
      readCa: () => (caFile === undefined ? undefined : readPemFile('caFile', caFile, 'public')),
    }),
    clock,
    random,
    onFetched: (outcome, attempt) => {
      metrics.fetched(name, outcome)
      if (outcome !== 'ok') {
        logger.warn({ tier: 'api', provider: name, reason: outcome, attempt }, 'the keys of a provider were not had')
        return
      }
      logger.debug({ tier: 'api', provider: name }, 'the keys of a provider are fresh')
      if (!seen) metrics.keysAge(name, () => keys.ageMs ?? 0)
      seen = true
    },
  })
  keys.start()
  return keys
}

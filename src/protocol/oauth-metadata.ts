// Owns: what an issuer publishes about itself (OpenID Connect Discovery 1.0, RFC 8414): where it stands and what of it is
// read. Pure: shared by the gateway, which wants keys, and the SDK, which wants tokens.
// 1. Metadata counts only when it names exactly the issuer that was asked (RFC 8414 §3.3).
// 2. URLs are https; http only to this machine, and only where that was allowed.
// Leaves out: fetching.

export interface IssuerMetadata {
  readonly jwksUri: string | undefined
  readonly tokenEndpoint: string | undefined
  /** Undefined when it says nothing: then it is client_secret_basic. */
  readonly tokenAuthMethods: readonly string[] | undefined
}

const openIdSuffix = '/.well-known/openid-configuration'
const oauthInfix = '/.well-known/oauth-authorization-server'
const urlCharactersMax = 2_048
const loopbackHost = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/

/** In the order in which they are asked. */
export function metadataUrls(issuer: string): readonly URL[] {
  const base = new URL(issuer)
  const path = base.pathname.replace(/\/$/, '')
  return [new URL(`${base.origin}${path}${openIdSuffix}`), new URL(`${base.origin}${oauthInfix}${path}`)]
}

/** Undefined: not JSON, or no object. `foreign`: it speaks for another issuer. */
export function parseIssuerMetadata(text: string, issuer: string): IssuerMetadata | 'foreign' | undefined {
  const fields = jsonObject(text)
  if (fields === undefined) return undefined
  if (fields['issuer'] !== issuer) return 'foreign'
  const methods = fields['token_endpoint_auth_methods_supported']
  return {
    jwksUri: textOf(fields['jwks_uri']),
    tokenEndpoint: textOf(fields['token_endpoint']),
    tokenAuthMethods: Array.isArray(methods)
      ? methods.filter((method): method is string => typeof method === 'string')
      : undefined,
  }
}

/** Invariant 2; also without credentials and fragment. */
export function safeUrl(text: string, allowed: { readonly loopbackHttp: boolean }): URL | undefined {
  if (text.length > urlCharactersMax || !URL.canParse(text)) return undefined
  const url = new URL(text)
  if (url.username !== '' || url.password !== '' || text.includes('#')) return undefined
  if (url.protocol === 'https:') return url
  return url.protocol === 'http:' && allowed.loopbackHttp && isLoopback(url) ? url : undefined
}

export function isLoopback(url: URL): boolean {
  return loopbackHost.test(url.hostname)
}

/** Undefined when it is not the text of a JSON object. */
export function jsonObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const parsed: unknown = JSON.parse(text)
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) ? { ...parsed } : undefined
  } catch {
    // Whoever asks says what it was.
    return undefined
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

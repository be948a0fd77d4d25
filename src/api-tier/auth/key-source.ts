// Owns: the interface by which a verifier gets the public keys of one issuer.
import { createLocalJWKSet, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'

/** Keys that belong together. Another object when they changed: what was verified by the former is verified again. */
export interface KeySet {
  readonly keyOf: JWTVerifyGetKey
}

export interface KeySource {
  /** The keys to use now. Errors: UNAVAILABLE (there are none, or they are too old to be relied on). */
  current(): KeySet | Promise<KeySet>
  /**
   * For a key id that is not in `current`: newer keys when there are any, undefined when the issuer has no such key.
   * Errors: UNAVAILABLE (it cannot be asked now).
   */
  newerFor(keyId: string): Promise<KeySet | undefined>
}

export function keySet(jwks: JSONWebKeySet): KeySet {
  return { keyOf: createLocalJWKSet(jwks) }
}

/** Keys that never change. */
export function fixedKeys(jwks: JSONWebKeySet): KeySource {
  const only = keySet(jwks)
  return { current: () => only, newerFor: () => Promise.resolve(undefined) }
}

// Owns: bearers that are the caller's name, for tests whose subject is not the login.
import type { BearerVerifier, Caller } from '../../src/api-tier/auth/bearer.ts'

export function namedCaller(name: string): Caller {
  return {
    principal: { subject: name, clientId: name, tenant: 'default', expiresAtMs: Number.MAX_SAFE_INTEGER },
    issuer: 'urn:test',
    scopes: [],
    roles: [],
  }
}

export const namedBearers: BearerVerifier = { verify: async (bearer) => namedCaller(bearer) }

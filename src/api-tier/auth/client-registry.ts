// Owns: the static clients that may get a token, and the check of their secrets.
// 1. A secret is compared in constant time; an unknown client costs what a wrong secret costs.
// Secrets are generated (≥ 128 random bits), so one round of SHA-256 keeps them; a password would need a slow hash.
import { createHash, timingSafeEqual } from 'node:crypto'

export interface StaticClient {
  readonly clientId: string
  /** `hashClientSecret` of the secret. */
  readonly secretHash: string
  /** Stable name of the caller inside its tenant. */
  readonly subject: string
  readonly tenant: string
  /** Whether its sessions may be signed with HMAC-MD5, where the gateway allows that at all. Default: no. */
  readonly allowHmacMd5?: boolean | undefined
}

const prefix = 'sha256:'
const nobody = createHash('sha256').update('nobody').digest()

/** `sha256:<base64url>` of a generated secret, for the configuration. */
export function hashClientSecret(secret: string): string {
  return prefix + createHash('sha256').update(secret, 'utf8').digest('base64url')
}

export class ClientRegistry {
  readonly #clients: ReadonlyMap<string, { readonly client: StaticClient; readonly digest: Buffer }>

  /** A client with a malformed hash, or one that is there twice, is an Error: the configuration is wrong. */
  constructor(clients: readonly StaticClient[]) {
    const byId = new Map<string, { client: StaticClient; digest: Buffer }>()
    for (const client of clients) {
      const digest = Buffer.from(client.secretHash.slice(prefix.length), 'base64url')
      if (!client.secretHash.startsWith(prefix) || digest.length !== nobody.length)
        throw new Error('a client needs a secretHash made by hashClientSecret')
      if (byId.has(client.clientId)) throw new Error('a client id is there twice')
      byId.set(client.clientId, { client, digest })
    }
    this.#clients = byId
  }

  /** For logs and counters only: no answer may depend on it. */
  knows(clientId: string): boolean {
    return this.#clients.has(clientId)
  }

  /** Undefined for an unknown client and for a wrong secret alike. */
  authenticate(clientId: string, secret: string): StaticClient | undefined {
    const known = this.#clients.get(clientId)
    const given = createHash('sha256').update(secret, 'utf8').digest()
    const equal = timingSafeEqual(given, known?.digest ?? nobody)
    return equal ? known?.client : undefined
  }
}

// Owns: a real OAuth 2 provider (npm oidc-provider) behind real TLS, which a test can rotate, kill and bring back.
// 1. It keeps its port and issuer over kill() and revive(), and over rotate().
// 2. Its certificate is of the test authority of scripts/stack/certificates.ts.
import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import Provider, { type Configuration } from 'oidc-provider'
import type { CertificateFiles } from '../../../scripts/stack/certificates.ts'

/** What a token may be for, and what `aud` and life it gets. */
export const resources = {
  'https://gateway.test/': { audience: 'trunkline', lifeSeconds: 3_600 },
  'https://elsewhere.test/': { audience: 'elsewhere', lifeSeconds: 3_600 },
  'https://brief.test/': { audience: 'trunkline', lifeSeconds: 8 },
} as const
export type Resource = keyof typeof resources

export interface TestProvider {
  readonly issuer: string
  /** `billing` sends its secret in the body, the others by Basic. */
  readonly clients: Readonly<
    Record<'orders' | 'billing' | 'shop', { readonly clientId: string; readonly clientSecret: string }>
  >
  /** Tokens given out. */
  readonly issuedCount: number
  /** Signs with a new key from now on; the former ones stay published, or not. Answers the new key id. */
  rotate(former: 'kept' | 'gone'): Promise<string>
  /** The private key that signs now: for forgeries. */
  readonly signingKey: JWK
  /** Nothing answers any more: open connections are cut. */
  kill(): Promise<void>
  revive(): Promise<void>
  close(): Promise<void>
}

export async function startTestProvider(files: CertificateFiles): Promise<TestProvider> {
  const clients = {
    orders: { clientId: 'orders', clientSecret: 'a secret: of+some/length %41' },
    billing: { clientId: 'billing', clientSecret: 'another-secret-of-some-length' },
    // For libraries that do not encode what they send by Basic.
    shop: { clientId: 'shop', clientSecret: 'plain-secret-of-some-length' },
  }
  let handle: (request: IncomingMessage, response: ServerResponse) => unknown = () => undefined
  let issuedCount = 0
  const listen = async (port: number): Promise<Server> => {
    const tls = { cert: readFileSync(files.server.certificate), key: readFileSync(files.server.key) }
    const started = createServer(tls, (request, response) => void handle(request, response))
    await new Promise<void>((resolve, reject) => {
      started.once('error', reject)
      started.listen(port, '127.0.0.1', resolve)
    })
    return started
  }
  let server: Server | undefined = await listen(0)
  const { port } = server.address() as AddressInfo
  const issuer = `https://localhost:${port}`
  let keys: JWK[] = []
  const provide = async (former: 'kept' | 'gone'): Promise<string> => {
    const { privateKey } = await generateKeyPair('ES256', { extractable: true })
    const kid = `key-${Date.now()}-${keys.length}`
    const fresh = { ...(await exportJWK(privateKey)), kid, alg: 'ES256', use: 'sig' }
    keys = [fresh, ...(former === 'kept' ? keys : [])]
    const provider = new Provider(issuer, configurationOf(keys, clients))
    provider.on('client_credentials.issued', () => {
      issuedCount += 1
    })
    handle = provider.callback()
    return kid
  }
  await provide('gone')
  const kill = async (): Promise<void> => {
    const closing = server
    server = undefined
    if (closing === undefined) return
    await new Promise<void>((resolve) => {
      closing.close(() => resolve())
      closing.closeAllConnections()
    })
  }
  return {
    issuer,
    clients,
    get issuedCount() {
      return issuedCount
    },
    rotate: provide,
    get signingKey() {
      return keys[0] ?? {}
    },
    kill,
    revive: async () => {
      server ??= await listen(port)
    },
    close: kill,
  }
}

function configurationOf(keys: readonly JWK[], clients: TestProvider['clients']): Configuration {
  return {
    clients: [
      { ...clientOf(clients.orders), token_endpoint_auth_method: 'client_secret_basic' },
      { ...clientOf(clients.shop), token_endpoint_auth_method: 'client_secret_basic' },
      { ...clientOf(clients.billing), token_endpoint_auth_method: 'client_secret_post' },
    ],
    // Node's own type of a JWK is wider than the library's.
    jwks: { keys: keys.map((key) => ({ ...key })) } as NonNullable<Configuration['jwks']>,
    scopes: ['read', 'write'],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'https://gateway.test/',
        getResourceServerInfo: (_context, resource) => {
          const { audience, lifeSeconds } = resources[resource as Resource]
          return {
            scope: 'read write',
            audience,
            accessTokenFormat: 'jwt',
            accessTokenTTL: lifeSeconds,
            jwt: { sign: { alg: 'ES256' } },
          }
        },
      },
    },
    extraTokenClaims: () => ({ realm_access: { roles: ['publisher'] }, tenant: 'blue' }),
  }
}

function clientOf({ clientId, clientSecret }: { readonly clientId: string; readonly clientSecret: string }) {
  return {
    client_id: clientId,
    client_secret: clientSecret,
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
    id_token_signed_response_alg: 'ES256' as const,
  }
}

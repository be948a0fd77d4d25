// Owns: what the tests of providers share: certificates, gateways that trust the test authority, tokens, raw calls.
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CertificateFiles, certificateFiles, makeCertificates } from '../../../scripts/stack/certificates.ts'
import { issuerTokenFetcher } from '../../../sdk/typescript/src/node/oauth.ts'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { type Gateway, type GatewayOptions, startGateway } from '../../../src/main/gateway.ts'
import { nullLogger } from '../../../src/observability/log.ts'
import { removeFolder } from '../gateway-process.ts'
import type { Resource, TestProvider } from './test-provider.ts'

export interface OidcWorld {
  readonly dir: string
  readonly files: CertificateFiles
  /** A gateway of its own folder, on free ports. Closed with the world. */
  gateway(options?: Partial<GatewayOptions>): Promise<Gateway>
  /** As `gateway`, with a providersFile of these entries. */
  gatewayOf(providers: readonly object[], options?: Partial<GatewayOptions>): Promise<Gateway>
  close(): Promise<void>
}

export function oidcWorld(): OidcWorld {
  const dir = mkdtempSync(join(tmpdir(), 'trunkline-oidc-'))
  const folder = join(dir, 'certificates')
  makeCertificates(folder)
  const files = certificateFiles(folder)
  const gateways: Gateway[] = []
  let count = 0
  const gateway = async (options: Partial<GatewayOptions> = {}): Promise<Gateway> => {
    count += 1
    const dataDir = join(dir, `data-${count}`)
    const ports = { httpPort: 0, thriftPort: 0, adminPort: 0 }
    const started = await startGateway({ dataDir, ...ports, logger: nullLogger, oidcCaFile: files.ca, ...options })
    gateways.push(started)
    return started
  }
  return {
    dir,
    files,
    gateway,
    gatewayOf: async (providers, options = {}) => {
      const providersFile = join(dir, `providers-${count}.json`)
      writeFileSync(providersFile, JSON.stringify({ version: 1, providers }))
      return await gateway({ providersFile, ...options })
    },
    close: async () => {
      await Promise.all(gateways.map((each) => each.close()))
      removeFolder(dir)
    },
  }
}

/** What the SDK needs to log in as a client of the provider. `billing` may send its secret in the body only. */
export function loginOf(
  { files }: OidcWorld,
  provider: TestProvider,
  client: 'orders' | 'billing' = 'orders',
  resource: Resource = 'https://gateway.test/',
) {
  const auth = client === 'billing' ? ({ clientAuth: 'post' } as const) : {}
  return { ...provider.clients[client], issuer: provider.issuer, caFile: files.ca, resource, ...auth }
}

export async function tokenOf(...given: Parameters<typeof loginOf>): Promise<string> {
  const { issuer, ...secret } = loginOf(...given)
  return (await issuerTokenFetcher(issuer, secret, systemClock)()).token
}

export interface Asked {
  readonly status: number
  readonly name: string | undefined
  readonly retryAfter: string | null
  readonly content: Readonly<Record<string, unknown>>
}

/** A call of the JSON API that only asks who we are. */
export async function askTopics(gateway: Pick<Gateway, 'httpUrl'>, token: string): Promise<Asked> {
  const answer = await fetch(`${gateway.httpUrl}/v1/topics`, { headers: { authorization: `Bearer ${token}` } })
  const content = (await answer.json()) as Readonly<Record<string, unknown>>
  const { name } = content
  return {
    status: answer.status,
    name: typeof name === 'string' ? name : undefined,
    retryAfter: answer.headers.get('retry-after'),
    content,
  }
}

/** The value of a series on the metrics page; undefined when it is not there. */
export async function metricOf(gateway: Pick<Gateway, 'adminUrl'>, series: string): Promise<number | undefined> {
  const text = await (await fetch(`${gateway.adminUrl}/metrics`)).text()
  const line = text.split('\n').find((each) => each.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}

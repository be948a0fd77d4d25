// Owns: the composition of a client for Node: transports by URL, credentials, system clock and randomness.
import type { Random } from '../../../../src/fsm/client/client-ports.ts'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import { type AccessToken, Bearer } from '../bearer.ts'
import { TrunklineClient } from '../client.ts'
import { type Endpoint, EndpointPool } from '../endpoint-pool.ts'
import type { Transport } from '../transport.ts'
import type { TroubleReport } from '../trouble.ts'
import { HttpTransport } from './http-transport.ts'
import { type ClientSecret, issuerTokenFetcher, tokenFetcher } from './oauth.ts'
import { systemClock, systemRandom } from './system.ts'
import { TcpTransport } from './tcp-transport.ts'
import { ClientTls, type TlsOptions } from './tls.ts'

export type Credentials =
  | (ClientSecret & {
      /**
       * One or several. Default: /oauth/token of each http(s) endpoint; of `thrift(s)://host` it is
       * http(s)://host:7470/oauth/token.
       */
      readonly tokenUrl?: string | readonly string[]
      /** Instead of `tokenUrl`: the provider to log in at, whose metadata names its token URL. */
      readonly issuer?: string
    })
  /** An access token, or how to get one; a function is asked again when its token is refused. */
  | { readonly token: string | (() => Promise<string>) }

export interface ConnectOptions {
  /** Of https:// and thrifts:// endpoints and token URLs. Default: the authorities of Node.js, and no certificate of ours. */
  readonly tls?: TlsOptions
  /** CloudEvents source of events that name none. Default `/clients/<clientId>`. */
  readonly source?: string
  /**
   * Called when a producer or reader cannot go on for `afterFailures` tries in a row, with every further failure, and
   * when it goes on again. Default: nothing; publishes and pulls wait in silence until the retries are used up.
   */
  readonly onTrouble?: (report: TroubleReport) => void
  /** Failures in a row before onTrouble is told of them. Default 3. */
  readonly troubleAfterFailures?: number
  /** Called with the type of a machine event nobody expected: a defect of this package. Default: a process warning. */
  readonly onDefect?: (type: string) => void
}

const httpPortDefault = 7470
const thriftPortDefault = 7471
const endpointsMax = 64

/**
 * A client of the gateway at `thrift://host[:7471]`, `thrifts://host[:7471]` (over TLS), `http://host[:7470]` or
 * `https://host`, or at several such endpoints: a list, or one text with commas. Calls go to one of them, begun with at random, and to another when it
 * fails. Nothing is sent before it is used: a gateway that is away shows with the first publish or pull. Close it.
 * Errors: BAD_REQUEST (url, credentials, tls).
 */
export function connect(
  urls: string | readonly string[],
  credentials: Credentials,
  options: ConnectOptions = {},
): TrunklineClient {
  const targets = parseUrls('url', urls)
  const tls = new ClientTls(options.tls)
  const fetchToken = tokenSource(targets, credentials, systemRandom, tls)
  const environment = {
    transport: new EndpointPool({
      endpoints: targets.map((target) => endpointOf(target, tls)),
      clock: systemClock,
      random: systemRandom,
    }),
    bearer: new Bearer(fetchToken, systemClock),
    clock: systemClock,
    random: systemRandom,
    onUnknownEvent: options.onDefect ?? warnOfDefect,
    onTrouble: options.onTrouble,
    troubleAfterFailures: options.troubleAfterFailures,
  }
  const clientId = 'clientId' in credentials ? credentials.clientId : undefined
  const source = options.source ?? (clientId === undefined ? undefined : `/clients/${encodeURIComponent(clientId)}`)
  return new TrunklineClient(environment, { source })
}

function endpointOf(target: URL, tls: ClientTls): Endpoint {
  return {
    name: target.port === '' ? `${target.hostname}:${portOf(target)}` : target.host,
    transport: transportOf(target, tls),
  }
}

function portOf({ protocol }: URL): number {
  return protocol === 'thrift:' || protocol === 'thrifts:' ? thriftPortDefault : protocol === 'https:' ? 443 : 80
}

function transportOf(target: URL, tls: ClientTls): Transport {
  switch (target.protocol) {
    case 'thrift:':
    case 'thrifts:': {
      const port = target.port === '' ? thriftPortDefault : Number(target.port)
      const secure = target.protocol === 'thrifts:' ? { tls } : {}
      return new TcpTransport({ host: hostOf(target), port, clock: systemClock, ...secure })
    }
    case 'http:':
    case 'https:':
      return new HttpTransport({ url: target, clock: systemClock, tls })
    default:
      throw badRequest('url', 'not thrift:, thrifts:, http: or https:')
  }
}

function tokenSource(
  targets: readonly URL[],
  credentials: Credentials,
  random: Random,
  tls: ClientTls,
): () => Promise<AccessToken> {
  if ('token' in credentials) {
    const { token } = credentials
    return async () => ({ token: typeof token === 'string' ? token : await token() })
  }
  const { tokenUrl, issuer } = credentials
  if (issuer !== undefined) {
    if (tokenUrl !== undefined) throw badRequest('tokenUrl', 'issuer or tokenUrl, not both')
    return issuerTokenFetcher(issuer, credentials, systemClock)
  }
  const tokenUrls = tokenUrl === undefined ? defaultTokenUrls(targets) : parseUrls('tokenUrl', tokenUrl)
  if (tokenUrls.some(({ protocol }) => protocol !== 'http:' && protocol !== 'https:'))
    throw badRequest('tokenUrl', 'not http: or https:')
  return tokenFetcher(tokenUrls, credentials, systemClock, random, tls)
}

/** One of each, in the order of the endpoints. */
function defaultTokenUrls(targets: readonly URL[]): readonly URL[] {
  const byText = new Map(targets.map(defaultTokenUrl).map((url) => [url.href, url]))
  return [...byText.values()]
}

function defaultTokenUrl(target: URL): URL {
  if (target.protocol === 'thrift:' || target.protocol === 'thrifts:') {
    const scheme = target.protocol === 'thrifts:' ? 'https' : 'http'
    return new URL(`${scheme}://${target.hostname}:${httpPortDefault}/oauth/token`)
  }
  return new URL('/oauth/token', target)
}

function parseUrls(field: string, urls: string | readonly string[]): readonly URL[] {
  const texts = (typeof urls === 'string' ? urls.split(',') : urls).map((text) => text.trim())
  if (texts.length === 0 || texts.length > endpointsMax) throw badRequest(field, `not 1 to ${endpointsMax} URLs`)
  return texts.map((text) => parseUrl(field, text))
}

function parseUrl(field: string, text: string): URL {
  if (!URL.canParse(text)) throw badRequest(field, 'not a URL')
  const url = new URL(text)
  if (url.hostname === '') throw badRequest(field, 'no host')
  if (url.username !== '' || url.password !== '') throw badRequest(field, 'credentials do not belong into it')
  if (url.protocol === 'http:' && url.port === '' && !text.includes(':80')) url.port = String(httpPortDefault)
  return url
}

/** URL keeps the brackets of an IPv6 address. */
function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1')
}

function badRequest(field: string, why: string): TrunklineError {
  return new TrunklineError('BAD_REQUEST', { details: { field, why } })
}

function warnOfDefect(type: string): void {
  process.emitWarning(`client session got ${type} out of place`, { type: 'TrunklineDefect' })
}

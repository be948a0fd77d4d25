// Owns: the composition of a client for Node: transport by URL, credentials, system clock and randomness.
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import { type AccessToken, Bearer } from '../bearer.ts'
import { TrunklineClient } from '../client.ts'
import type { Transport } from '../transport.ts'
import { HttpTransport } from './http-transport.ts'
import { fetchAccessToken } from './oauth.ts'
import { systemClock, systemRandom } from './system.ts'
import { TcpTransport } from './tcp-transport.ts'

export type Credentials =
  | {
      readonly clientId: string
      readonly clientSecret: string
      /** Default: /oauth/token of an http(s) gateway; of `thrift://host` it is http://host:7470/oauth/token. */
      readonly tokenUrl?: string
    }
  /** An access token, or how to get one; a function is asked again when its token is refused. */
  | { readonly token: string | (() => Promise<string>) }

export interface ConnectOptions {
  /** CloudEvents source of events that name none. Default `/clients/<clientId>`. */
  readonly source?: string
  /** Called with the type of a machine event nobody expected: a defect of this package. Default: a process warning. */
  readonly onDefect?: (type: string) => void
}

const httpPortDefault = 7470
const thriftPortDefault = 7471

/**
 * A client of the gateway at `thrift://host[:7471]`, `http://host[:7470]` or `https://host`. Nothing is sent before it is used: a gateway that is
 * away shows with the first publish or pull. Close it. Errors: BAD_REQUEST (url, credentials), UNSUPPORTED (thrifts://).
 */
export function connect(url: string, credentials: Credentials, options: ConnectOptions = {}): TrunklineClient {
  const target = parseUrl(url)
  const environment = {
    transport: transportFor(target),
    bearer: new Bearer(tokenSource(target, credentials), systemClock),
    clock: systemClock,
    random: systemRandom,
    onUnknownEvent: options.onDefect ?? warnOfDefect,
  }
  const clientId = 'clientId' in credentials ? credentials.clientId : undefined
  const source = options.source ?? (clientId === undefined ? undefined : `/clients/${encodeURIComponent(clientId)}`)
  return new TrunklineClient(environment, { source })
}

function transportFor(target: URL): Transport {
  switch (target.protocol) {
    case 'thrift:': {
      const port = target.port === '' ? thriftPortDefault : Number(target.port)
      return new TcpTransport({ host: hostOf(target), port, clock: systemClock, random: systemRandom })
    }
    case 'http:':
    case 'https:':
      return new HttpTransport({ url: target, clock: systemClock })
    case 'thrifts:':
      throw new TrunklineError('UNSUPPORTED', { details: { feature: 'thrifts', instead: 'https' } })
    default:
      throw badRequest('url', 'not thrift:, http: or https:')
  }
}

function tokenSource(target: URL, credentials: Credentials): () => Promise<AccessToken> {
  if ('token' in credentials) {
    const { token } = credentials
    return async () => ({ token: typeof token === 'string' ? token : await token() })
  }
  const tokenUrl = credentials.tokenUrl === undefined ? defaultTokenUrl(target) : parseUrl(credentials.tokenUrl)
  if (tokenUrl.protocol !== 'http:' && tokenUrl.protocol !== 'https:')
    throw badRequest('tokenUrl', 'not http: or https:')
  return () => fetchAccessToken(tokenUrl, credentials, systemClock)
}

function defaultTokenUrl(target: URL): URL {
  if (target.protocol === 'thrift:') return new URL(`http://${target.hostname}:${httpPortDefault}/oauth/token`)
  return new URL('/oauth/token', target)
}

function parseUrl(text: string): URL {
  if (!URL.canParse(text)) throw badRequest('url', 'not a URL')
  const url = new URL(text)
  if (url.hostname === '') throw badRequest('url', 'no host')
  if (url.username !== '' || url.password !== '') throw badRequest('url', 'credentials do not belong into it')
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

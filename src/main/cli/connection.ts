// Owns: which gateway a command talks to, and as whom: option > environment > the nearest .trunkline/dev.json.
// 1. A secret never stands in an argument: it comes from a file, or from dev.json.
// 2. The secret of dev.json goes to the gateway of dev.json only, never to a URL given otherwise.
import { dirname } from 'node:path'
import { type Command, Option } from 'commander'
import type { TlsOptions } from '../../../sdk/typescript/src/index.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { commandName } from './command-name.ts'
import { type DevFile, findDevFile, isRunning } from './dev-file.ts'
import { exitCode } from './exit-codes.ts'
import { CommandFailure, errnoOf } from './failure.ts'

export interface ConnectionOptions {
  readonly url?: string
  readonly tokenUrl?: string
  readonly clientId?: string
  readonly clientSecretFile?: string
  readonly issuer?: string
  readonly scope?: string
  readonly audience?: string
  readonly resource?: string
  readonly issuerCaFile?: string
  readonly caFile?: string
  readonly clientCertFile?: string
  readonly clientKeyFile?: string
}

/** What a login at a provider needs beside the secret; named as the SDK names it. */
export interface LoginOptions {
  readonly issuer?: string
  readonly scope?: string
  readonly audience?: string
  readonly resource?: string
  readonly caFile?: string
}

export interface Connection {
  /** For the SDK: thrift:, thrifts:, http: or https:. */
  readonly url: string
  /** Of the JSON API; undefined when only a Thrift URL is known. */
  readonly httpUrl: string | undefined
  readonly tokenUrl: string
  /** With an issuer it says where tokens come from, and tokenUrl does not count. */
  readonly login: LoginOptions
  readonly clientId: string
  readonly clientSecret: string
  /** Whom it trusts and what it shows, for the SDK; undefined: as Node.js does. */
  readonly tls: TlsOptions | undefined
  /** The dev.json it comes from. */
  readonly devFile: { readonly path: string; readonly pid: number } | undefined
}

const httpPortDefault = 7470

/** Adds the options that every command of a client has. */
export function addConnectionOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--url <url>', 'gateway: http(s)://host[:7470] or thrift(s)://host[:7471]').env('TRUNKLINE_URL'),
    )
    .addOption(
      new Option('--token-url <url>', 'where access tokens are issued (default: /oauth/token of the gateway)').env(
        'TRUNKLINE_TOKEN_URL',
      ),
    )
    .addOption(new Option('--client-id <id>', 'client that logs in').env('TRUNKLINE_CLIENT_ID'))
    .addOption(
      new Option('--client-secret-file <file>', 'file with its secret, mode 0600').env('TRUNKLINE_CLIENT_SECRET_FILE'),
    )
    .addOption(new Option('--issuer <url>', 'provider to log in at, instead of the gateway').env('TRUNKLINE_ISSUER'))
    .addOption(new Option('--scope <words>', 'scope of the token').env('TRUNKLINE_SCOPE'))
    .addOption(
      new Option('--audience <text>', 'audience of the token, where a provider asks for it').env('TRUNKLINE_AUDIENCE'),
    )
    .addOption(new Option('--resource <url>', 'resource of the token (RFC 8707)').env('TRUNKLINE_RESOURCE'))
    .addOption(
      new Option('--issuer-ca-file <file>', 'PEM of the authority of the issuer or token URL').env(
        'TRUNKLINE_ISSUER_CA_FILE',
      ),
    )
    .addOption(
      new Option(
        '--ca-file <file>',
        'PEM of the authorities of the gateway’s certificate (default: those of Node.js)',
      ).env('TRUNKLINE_CA_FILE'),
    )
    .addOption(
      new Option('--client-cert-file <file>', 'PEM of the certificate to show, for mutual TLS').env(
        'TRUNKLINE_CLIENT_CERT_FILE',
      ),
    )
    .addOption(new Option('--client-key-file <file>', 'PEM of its key, mode 0600').env('TRUNKLINE_CLIENT_KEY_FILE'))
}

/** Throws CommandFailure, or BAD_CONFIG for the secret's file. */
export async function resolveConnection(options: ConnectionOptions, folder: string): Promise<Connection> {
  const credentials = await givenCredentials(options)
  const login = loginOf(options)
  const tls = await givenTls(options)
  if (options.url !== undefined) {
    if (credentials === undefined) {
      throw new CommandFailure(
        exitCode.usage,
        '--url needs --client-id and --client-secret-file (or TRUNKLINE_CLIENT_ID and TRUNKLINE_CLIENT_SECRET_FILE)',
      )
    }
    return { ...urlsOf(options.url, options.tokenUrl), login, ...credentials, tls, devFile: undefined }
  }
  const found = findDevFile(folder)
  if (found === undefined) {
    throw new CommandFailure(
      exitCode.usage,
      `no gateway is known: start \`${commandName(folder)} dev\` here (or in a folder above), or give --url, --client-id and --client-secret-file`,
    )
  }
  const { path, content } = found
  // Invariant 2.
  if (credentials === undefined && login.issuer !== undefined)
    throw new CommandFailure(exitCode.usage, '--issuer needs --client-id and --client-secret-file')
  return {
    ...urlsOfDevFile(content),
    login,
    ...(credentials ?? secretOf(content)),
    tls,
    devFile: { path, pid: content.pid },
  }
}

/** Says more about a gateway that could not be reached: where, and that nothing runs there any more. */
export function explained(thrown: unknown, connection: Connection): unknown {
  if (!(thrown instanceof TrunklineError)) return thrown
  if (thrown.name === 'UNAUTHENTICATED') {
    return thrown.with({
      details: { clientId: connection.clientId, url: connection.login.issuer ?? connection.tokenUrl },
    })
  }
  if (thrown.name === 'TLS_REFUSED') return thrown.with({ details: { url: connection.url } })
  if (thrown.name !== 'UNAVAILABLE') return thrown
  const { devFile } = connection
  if (devFile !== undefined && !isRunning(devFile.pid)) {
    return new CommandFailure(
      exitCode.unavailable,
      `no gateway runs: ${devFile.path} is left over from process ${devFile.pid}, which has ended; start \`${commandName(dirname(devFile.path))} dev\` there again`,
      thrown,
    )
  }
  const why = errnoOf(thrown.cause) ?? thrown.details['why']
  return thrown.with({ details: { url: connection.url, ...(why === undefined ? {} : { why }) } })
}

async function givenCredentials(
  options: ConnectionOptions,
): Promise<{ clientId: string; clientSecret: string } | undefined> {
  const { clientId, clientSecretFile } = options
  if (clientId === undefined && clientSecretFile === undefined) return undefined
  if (clientId === undefined || clientSecretFile === undefined) {
    throw new CommandFailure(exitCode.usage, '--client-id and --client-secret-file go together')
  }
  // Only now: the configuration brings its schemas along, which take longer to load than all the rest.
  const { readSecretFile } = await import('../../config/secret-file.ts')
  return { clientId, clientSecret: readSecretFile('clientSecretFile', clientSecretFile) }
}

function loginOf({ issuer, scope, audience, resource, issuerCaFile, tokenUrl }: ConnectionOptions): LoginOptions {
  if (issuer !== undefined && tokenUrl !== undefined)
    throw new CommandFailure(exitCode.usage, '--issuer and --token-url exclude each other')
  return {
    ...(issuer === undefined ? {} : { issuer }),
    ...(scope === undefined ? {} : { scope }),
    ...(audience === undefined ? {} : { audience }),
    ...(resource === undefined ? {} : { resource }),
    ...(issuerCaFile === undefined ? {} : { caFile: issuerCaFile }),
  }
}

/** Texts, not paths: a command lives short, and its key is checked as every secret is. */
async function givenTls({ caFile, clientCertFile, clientKeyFile }: ConnectionOptions): Promise<TlsOptions | undefined> {
  if (caFile === undefined && clientCertFile === undefined && clientKeyFile === undefined) return undefined
  if ((clientCertFile === undefined) !== (clientKeyFile === undefined)) {
    throw new CommandFailure(exitCode.usage, '--client-cert-file and --client-key-file go together')
  }
  const { FileReads } = await import('../../config/secret-file.ts')
  const reads = new FileReads()
  const ca = reads.pem('caFile', caFile)
  const cert = reads.pem('clientCertFile', clientCertFile)
  const key = reads.pem('clientKeyFile', clientKeyFile, 'secret')
  reads.check()
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  }
}

function secretOf({ clientId, clientSecret }: DevFile): { clientId: string; clientSecret: string } {
  return { clientId, clientSecret }
}

type Urls = Pick<Connection, 'url' | 'httpUrl' | 'tokenUrl'>

function urlsOfDevFile({ thriftUrl, httpUrl }: DevFile): Urls {
  return { url: thriftUrl, httpUrl, tokenUrl: tokenUrlOf(httpUrl) }
}

function urlsOf(text: string, tokenUrlText: string | undefined): Urls {
  const url = parseUrl('--url', text)
  const tokenUrl = tokenUrlText === undefined ? undefined : parseUrl('--token-url', tokenUrlText).href
  switch (url.protocol) {
    case 'http:':
    case 'https:': {
      if (url.protocol === 'http:' && url.port === '' && !/:80(\/|$)/.test(text)) url.port = String(httpPortDefault)
      const base = url.href.replace(/\/+$/, '')
      return { url: base, httpUrl: base, tokenUrl: tokenUrl ?? tokenUrlOf(base) }
    }
    case 'thrift:':
    case 'thrifts:': {
      const scheme = url.protocol === 'thrifts:' ? 'https' : 'http'
      return {
        url: text,
        httpUrl: undefined,
        tokenUrl: tokenUrl ?? tokenUrlOf(`${scheme}://${url.hostname}:${httpPortDefault}`),
      }
    }
    default:
      throw new CommandFailure(exitCode.usage, '--url is neither http:, https:, thrift: nor thrifts:')
  }
}

function parseUrl(option: string, text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || url.hostname === '')
    throw new CommandFailure(exitCode.usage, `${option} is not a URL: http://host:7470`)
  if (url.username !== '' || url.password !== '') {
    throw new CommandFailure(exitCode.usage, `${option} carries credentials: use --client-id and --client-secret-file`)
  }
  return url
}

function tokenUrlOf(httpUrl: string): string {
  return `${httpUrl}/oauth/token`
}

// Owns: calls of the JSON API for the commands about topics: bearer, deadline, problem+json → TrunklineError.
// 1. Nothing is repeated: a person sees what happened and decides.
// Leaves out: publishing and reading, which the SDK does.
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { fetchAccessToken, issuerTokenFetcher } from '../../../sdk/typescript/src/node/oauth.ts'
import { ClientTls, tlsTrouble } from '../../../sdk/typescript/src/node/tls.ts'
import { systemClock } from '../../adapters/clock/system-clock.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { type Connection, explained } from './connection.ts'
import { exitCode } from './exit-codes.ts'
import { CommandFailure } from './failure.ts'

const timeoutMs = 20_000
const answerBytesMax = 8 * 1024 * 1024

export async function accessTokenOf(connection: Connection): Promise<string> {
  const { clientId, clientSecret, tokenUrl, login } = connection
  const secret = { clientId, clientSecret, ...login }
  try {
    const fetched =
      login.issuer === undefined
        ? fetchAccessToken(new URL(tokenUrl), secret, systemClock, new ClientTls(connection.tls))
        : issuerTokenFetcher(login.issuer, secret, systemClock)()
    return (await fetched).token
  } catch (thrown) {
    throw explained(thrown, connection)
  }
}

export class JsonApi {
  readonly #connection: Connection
  readonly #baseUrl: string
  #token: string | undefined

  /** Throws CommandFailure when the connection knows no HTTP URL. */
  constructor(connection: Connection) {
    if (connection.httpUrl === undefined) {
      throw new CommandFailure(exitCode.usage, 'topics are managed over HTTP: give an http(s) URL')
    }
    this.#connection = connection
    this.#baseUrl = connection.httpUrl
  }

  /** The answer's JSON; undefined without a body. Errors: the gateway's own, UNAVAILABLE. */
  async call(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<unknown> {
    this.#token ??= await accessTokenOf(this.#connection)
    const { status, text } = await this.#exchange(method, path, this.#token, body)
    if (status >= 200 && status < 300) return text === '' ? undefined : this.#parsed(text, status)
    throw problemOf(this.#parsed(text, status)) ?? this.#notOurs(status)
  }

  async #exchange(
    method: string,
    path: string,
    token: string,
    body?: object,
  ): Promise<{ status: number; text: string }> {
    const url = new URL(`${this.#baseUrl}${path}`)
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest
    const trust = url.protocol === 'https:' ? new ClientTls(this.#connection.tls).connectionTo(hostOf(url)) : {}
    const content = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
    const headers = {
      authorization: `Bearer ${token}`,
      accept: 'application/json, application/problem+json',
      connection: 'close',
      ...(content === undefined ? {} : { 'content-type': 'application/json', 'content-length': content.length }),
    }
    try {
      return await new Promise((resolve, reject) => {
        const signal = AbortSignal.timeout(timeoutMs)
        const request = send(url, { method, headers, agent: false, signal, ...trust }, (response) => {
          boundedText(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject)
        })
        request.on('error', reject)
        request.end(content)
      })
    } catch (cause) {
      if (cause instanceof CommandFailure) throw cause
      const why = tlsTrouble(cause)
      const error =
        why === undefined
          ? new TrunklineError('UNAVAILABLE', { cause })
          : new TrunklineError('TLS_REFUSED', { details: { why }, cause })
      throw explained(error, this.#connection)
    }
  }

  #parsed(text: string, status: number): unknown {
    try {
      return JSON.parse(text)
    } catch {
      // A proxy's page, say.
      throw this.#notOurs(status)
    }
  }

  #notOurs(status: number): CommandFailure {
    return new CommandFailure(
      exitCode.unavailable,
      `${this.#baseUrl} does not answer as a Trunkline gateway (HTTP ${status})`,
    )
  }
}

async function boundedText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > answerBytesMax) throw new CommandFailure(exitCode.unavailable, 'the answer of the gateway is too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** URL keeps the brackets of an IPv6 address. */
function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1')
}

/** Undefined when it is not a problem of ours. */
function problemOf(content: unknown): TrunklineError | undefined {
  if (typeof content !== 'object' || content === null || !('code' in content) || typeof content.code !== 'number')
    return undefined
  const details =
    'details' in content && typeof content.details === 'object' && content.details !== null ? content.details : {}
  const texts = Object.entries(details).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  return TrunklineError.fromCode(content.code, { details: Object.fromEntries(texts) })
}

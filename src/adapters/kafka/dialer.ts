// Owns: opening an authenticated socket to a broker. kafkajs does it: TCP or TLS, ApiVersions, SASL. The socket is then
// taken out of its hands (docs/adr/0004): what kafkajs does with requests has a timer of 1 ms, keeps sockets that do not
// answer, and copies every request twice.
// 1. An attempt ends within its time, and whatever it opened is destroyed when it fails.
// 2. Certificates and logins are asked for before each connection: what was rotated counts from the next one on.
// 3. Nothing of kafkajs is seen outside this file: no type, no error, no log line.
import net from 'node:net'
import tls from 'node:tls'
import { Kafka, type KafkaConfig, logLevel, type Mechanism, type SASLOptions } from 'kafkajs'
import type { Clock } from '../../ports/clock.ts'
import { apiKeys } from './api.ts'
import { TransportError } from './transport-error.ts'
import { WireReader } from './wire.ts'

export interface TlsFiles {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  /** The name the certificate must have, when it is not the address. */
  readonly serverName?: string
}

export type SaslLogin =
  | {
      readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'
      readonly username: string
      readonly password: string
    }
  /** `token` is asked for each connection. */
  | { readonly mechanism: 'oauthbearer'; readonly token: () => Promise<string> }

export interface KafkaAccess {
  /** PEM texts. `{}` is TLS with the system's authorities. */
  readonly tls?: TlsFiles | undefined
  readonly sasl?: SaslLogin | undefined
}

export interface DialerOptions {
  readonly clientId: string
  /** Invariant 2. What it throws is thrown by `dial`. */
  readonly access: () => KafkaAccess
  readonly clock: Clock
  readonly connectTimeoutMs: number
}

export interface Dialed {
  readonly socket: net.Socket
  /** Highest version of each API by its key. */
  readonly versions: ReadonlyMap<number, number>
  /** Whether the login has become too old to send anything new. */
  readonly isExpired: () => boolean
}

/** The parts of kafkajs' Connection that are used; it has no types of its own. */
interface KafkajsConnection {
  readonly socket: net.Socket | undefined
  readonly requestQueue: { destroy(): void }
  connect(): Promise<unknown>
  send(exchange: unknown): Promise<unknown>
  setVersions(versions: Readonly<Record<number, { minVersion: number; maxVersion: number }>>): void
  setSupportAuthenticationProtocol(supported: boolean): void
  authenticate(): Promise<void>
  isAuthenticated(): boolean
}

interface KafkajsCluster {
  readonly connectionPoolBuilder: {
    build(at: { host: string; port: number }): Promise<{ readonly pool: readonly KafkajsConnection[] }>
  }
}

const apiVersionsKey = 18
/** What is asked of every broker (api-*.ts): Kafka 3.1 has it. */
const neededVersions: readonly (readonly [key: number, version: number])[] = [
  [apiKeys.Produce, 9],
  [apiKeys.Fetch, 13],
  [apiKeys.ListOffsets, 5],
  [apiKeys.Metadata, 12],
  [apiKeys.CreateTopics, 7],
  [apiKeys.DeleteTopics, 6],
]
const keepAliveMs = 30_000
/** A login is renewed (by a new connection) this long before the broker would end it. */
const renewBeforeMs = 10_000

export class Dialer {
  readonly #options: DialerOptions
  readonly #clock: Clock
  readonly #timeoutMs: number
  #made: { readonly of: string; readonly cluster: KafkajsCluster } | undefined

  constructor(options: DialerOptions) {
    this.#options = options
    this.#clock = options.clock
    this.#timeoutMs = options.connectTimeoutMs
  }

  /** Errors: TransportError `refused` or `unreachable`. */
  async dial(host: string, port: number): Promise<Dialed> {
    const access = this.#options.access()
    const { pool } = await this.#clusterOf(access).connectionPoolBuilder.build({ host, port })
    const connection = pool[0]
    if (connection === undefined) throw new Error('kafkajs made no connection')
    const opening = this.#open(connection, access.sasl !== undefined)
    // What goes wrong after the time is up is nobody's concern any more.
    opening.catch(() => {})
    try {
      return await this.#inTime(opening, connection)
    } catch (error) {
      connection.socket?.destroy()
      connection.requestQueue.destroy()
      throw transportErrorOf(error)
    }
  }

  /** One serves until the access is another. */
  #clusterOf(access: KafkaAccess): KafkajsCluster {
    const of = JSON.stringify(access)
    if (this.#made?.of !== of) this.#made = { of, cluster: clusterOf(this.#options, access) }
    return this.#made.cluster
  }

  async #open(connection: KafkajsConnection, withSasl: boolean): Promise<Dialed> {
    const connected = connection.connect()
    const { socket } = connection
    if (socket === undefined) {
      await connected
      throw new Error('kafkajs opened no socket')
    }
    // kafkajs waits for ever when the other side hangs up in the middle of a handshake.
    const hungUp = new Promise<never>((_, reject) => {
      socket.once('close', () => reject(new TransportError('unreachable', 'closed while connecting')))
    })
    hungUp.catch(() => {})
    await Promise.race([connected, hungUp])
    const versions = await Promise.race([askVersions(connection), hungUp])
    for (const [key, needed] of neededVersions) {
      if ((versions.get(key)?.[1] ?? -1) < needed) throw new TransportError('refused', 'a broker older than Kafka 3.1')
    }
    if (withSasl) {
      connection.setVersions(
        Object.fromEntries([...versions].map(([key, [min, max]]) => [key, { minVersion: min, maxVersion: max }])),
      )
      connection.setSupportAuthenticationProtocol(true)
      await Promise.race([connection.authenticate(), hungUp])
    }
    // From here on the socket is ours. Nothing is outstanding, so no byte of an answer can be lost.
    for (const event of ['data', 'end', 'error', 'timeout'] as const) socket.removeAllListeners(event)
    connection.requestQueue.destroy()
    return {
      socket,
      versions: new Map([...versions].map(([key, [, max]]) => [key, max])),
      isExpired: () => withSasl && !connection.isAuthenticated(),
    }
  }

  #inTime<T>(work: Promise<T>, connection: KafkajsConnection): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(this.#timeoutMs, () => {
        connection.socket?.destroy()
        reject(new TransportError('unreachable', 'no connection in time'))
      })
      work.then(resolve, reject).finally(() => timer.cancel())
    })
  }
}

function clusterOf(options: DialerOptions, { tls: files, sasl }: KafkaAccess): KafkajsCluster {
  const config: KafkaConfig = {
    clientId: options.clientId,
    // Never used: each connection is told its address.
    brokers: ['unused.invalid:9092'],
    logLevel: logLevel.NOTHING,
    connectionTimeout: options.connectTimeoutMs,
    // Our own timers do it.
    enforceRequestTimeout: false,
    reauthenticationThreshold: renewBeforeMs,
    socketFactory: ({ host, port, ssl, onConnect }) => openSocket(host, port, ssl, onConnect),
    ...(files === undefined
      ? {}
      : {
          ssl: {
            ...(files.ca === undefined ? {} : { ca: files.ca }),
            ...(files.cert === undefined ? {} : { cert: files.cert }),
            ...(files.key === undefined ? {} : { key: files.key }),
            ...(files.serverName === undefined ? {} : { servername: files.serverName }),
          },
        }),
    ...(sasl === undefined ? {} : { sasl: saslOf(sasl) }),
  }
  let cluster: KafkajsCluster | undefined
  new Kafka(config).consumer({
    groupId: 'never-joined',
    partitionAssigners: [
      (given: { readonly cluster: unknown }) => {
        cluster = given.cluster as KafkajsCluster
        return { name: 'none', version: 0, assign: () => Promise.resolve([]), protocol: () => noProtocol }
      },
    ],
  })
  if (cluster === undefined) throw new Error('kafkajs gave no cluster')
  return cluster
}

function saslOf(sasl: SaslLogin): SASLOptions | Mechanism {
  if (sasl.mechanism !== 'oauthbearer') return { ...sasl } as SASLOptions
  // kafkajs' own takes a refusal (RFC 7628: an answer that is not empty, behind its length) for a success.
  return {
    mechanism: 'OAUTHBEARER',
    authenticationProvider: ({ saslAuthenticate }) => ({
      authenticate: async () => {
        const said = Buffer.from(`n,,\u0001auth=Bearer ${await sasl.token()}\u0001\u0001`)
        const size = Buffer.alloc(4)
        size.writeUInt32BE(said.length)
        const refused = await saslAuthenticate({
          request: { encode: async () => Buffer.concat([size, said]) },
          response: {
            decode: async (answer: Buffer) => answer,
            parse: async (answer: Buffer) => answer.length > size.length,
          },
        })
        if (refused === true) throw new TransportError('refused', 'login refused')
      },
    }),
  }
}

const noProtocol = { name: 'none', metadata: Buffer.alloc(0) }

function openSocket(
  host: string,
  port: number,
  ssl: tls.ConnectionOptions | null | undefined,
  onConnect: () => void,
): net.Socket {
  const socket =
    ssl === undefined || ssl === null
      ? net.connect({ host, port }, onConnect)
      : tls.connect(
          { host, port, minVersion: 'TLSv1.2', ...(net.isIP(host) === 0 ? { servername: host } : {}), ...ssl },
          onConnect,
        )
  // Nagle's algorithm costs up to 40 ms a request.
  socket.setNoDelay(true)
  socket.setKeepAlive(true, keepAliveMs)
  return socket
}

type VersionRange = readonly [min: number, max: number]

async function askVersions(connection: KafkajsConnection): Promise<ReadonlyMap<number, VersionRange>> {
  const nothing = { buf: Buffer.alloc(0), buffer: Buffer.alloc(0) }
  const answer = await connection.send({
    request: { apiKey: apiVersionsKey, apiVersion: 0, apiName: 'ApiVersions', encode: () => Promise.resolve(nothing) },
    response: {
      decode: (payload: Buffer) => Promise.resolve(readVersions(payload)),
      parse: (versions: unknown) => Promise.resolve(versions),
    },
    logResponseError: false,
  })
  return answer as ReadonlyMap<number, VersionRange>
}

function readVersions(payload: Buffer): ReadonlyMap<number, VersionRange> {
  const reader = new WireReader(payload)
  reader.int16()
  const entries = reader.array((): [number, VersionRange] => [reader.int16(), [reader.int16(), reader.int16()]])
  return new Map(entries)
}

/** Of TLS: what is wrong will be wrong again. */
const tlsCode = /^(CERT_|ERR_TLS_|ERR_SSL_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_|ERR_OSSL_)/

function transportErrorOf(error: unknown): TransportError {
  if (error instanceof TransportError) return error
  const name = error instanceof Error ? error.name : ''
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (name === 'KafkaJSSASLAuthenticationError') return new TransportError('refused', 'login refused', error)
  if (tlsCode.test(code)) return new TransportError('refused', 'certificate refused', error)
  return new TransportError('unreachable', 'no connection', error)
}

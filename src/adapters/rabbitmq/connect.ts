// Owns: one AMQP connection: opened within a bound, never able to end the process, and what its failure means.
// 1. Nagle's algorithm is off: it would cost 40 ms a call.
// 2. A connection is given up by destroying its socket: a frozen broker answers no orderly close.
// Leaves out: what is declared and sent on it (link.ts).
import { Duplex } from 'node:stream'
import { type Channel, type ChannelModel, connect, type Options } from 'amqplib'
import { type Clock, sleep } from '../../ports/clock.ts'
import { TrunklineError } from '../../protocol/errors.ts'

export interface RabbitShard {
  readonly name: string
  /** amqp[s]://host:port/vhost, without credentials. */
  readonly url: string
}

export interface RabbitAccess {
  readonly credentials?: { readonly username: string; readonly password: string }
  /** PEM text. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string }
}

export interface ConnectOptions extends RabbitAccess {
  readonly shard: RabbitShard
  readonly connectionName: string
  readonly heartbeatSeconds: number
  readonly attemptTimeoutMs: number
  readonly clock: Clock
}

/** Errors: BAD_CONFIG with the shard's name; nothing of the url travels, it might hold a password. */
export function checkShard({ name, url }: RabbitShard): void {
  const problem = (why: string): TrunklineError => new TrunklineError('BAD_CONFIG', { details: { shard: name, why } })
  if (!URL.canParse(url)) throw problem('not a url')
  const { protocol, username, password, hostname } = new URL(url)
  if (protocol !== 'amqp:' && protocol !== 'amqps:') throw problem('the url begins with amqp:// or amqps://')
  if (username !== '' || password !== '') throw problem('the url holds credentials')
  if (hostname === '') throw problem('the url names no host')
}

/** The caller owns the connection. Rejects with whatever the library or the socket said: see refusalOf. */
export async function openConnection(options: ConnectOptions): Promise<ChannelModel> {
  const { shard, clock, attemptTimeoutMs, tls } = options
  const opening = connect(endpointOf(options), {
    noDelay: true,
    timeout: attemptTimeoutMs,
    clientProperties: { connection_name: options.connectionName },
    ...(tls?.ca === undefined ? {} : { ca: [tls.ca] }),
    ...(tls?.cert === undefined ? {} : { cert: tls.cert }),
    ...(tls?.key === undefined ? {} : { key: tls.key }),
  })
  // The library's own timeout starts again with every byte that comes.
  const connection = await withinTime(clock, attemptTimeoutMs, opening, () => {
    opening.then((late) => destroyConnection(silence(late)), ignore)
    return new Error(`${shard.name} did not open the connection in time`)
  })
  return silence(connection)
}

/** Ends the connection at once; what was not yet written is lost. Its `close` event follows. Idempotent. */
export function destroyConnection(connection: ChannelModel): void {
  const inner: unknown = connection.connection
  const stream = typeof inner === 'object' && inner !== null && 'stream' in inner ? inner.stream : undefined
  // With an error, so that the library hears of it and ends its channels and its heartbeat.
  if (stream instanceof Duplex && !stream.destroyed) stream.destroy(new Error('given up'))
}

/** Orderly: what was written is flushed. Never rejects, and takes no longer than the bound. */
export async function closeConnection(
  clock: Clock,
  timeoutMs: number,
  connection: ChannelModel,
  channels: readonly Channel[],
): Promise<void> {
  const closing = (async () => {
    for (const channel of channels) await channel.close()
    await connection.close()
  })()
  // What fails here has been closed by the other side already.
  await Promise.race([closing.catch(ignore), sleep(clock, timeoutMs)])
  destroyConnection(connection)
}

/** Why a broker will not take us however often we ask; undefined when it may be only away. */
export function refusalOf(error: unknown): string | undefined {
  const { code, message } = detailsOf(error)
  if (/ACCESS.REFUSED.*login|authentication failed|PLAIN login refused/i.test(message)) return 'credentials'
  if (/SASL mechanism/.test(message)) return 'credentials'
  // Without such a host, or the right to it, RabbitMQ closes while the connection opens; the library keeps the reason.
  if (code === 530 || /NOT.ALLOWED|Expected ConnectionOpenOk; got <ConnectionClose/.test(message)) return 'virtual host'
  if (code === 403 || /ACCESS.REFUSED/.test(message)) return 'permissions'
  if (code === 406 || /PRECONDITION.FAILED/.test(message)) return 'declared otherwise'
  if (typeof code === 'string' && certificateCodes.test(code)) return 'certificate'
  if (typeof code === 'string' && /^ERR_SSL_|^EPROTO$/.test(code)) return 'tls'
  return undefined
}

const certificateCodes =
  /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS_CERT|ERR_SSL_.*CERTIFICATE|ERR_SSL_.*UNKNOWN_CA|ERR_OSSL_X509|ERR_OSSL_PEM/

function detailsOf(error: unknown): { readonly code: unknown; readonly message: string } {
  if (!(error instanceof Error)) return { code: undefined, message: '' }
  return { code: 'code' in error ? error.code : undefined, message: error.message }
}

function endpointOf({ shard, heartbeatSeconds, credentials }: ConnectOptions): Options.Connect {
  const { protocol, hostname, port, pathname } = new URL(shard.url)
  return {
    protocol: protocol.slice(0, -1),
    // An IPv6 address stands in brackets.
    hostname: hostname.replace(/^\[|\]$/g, ''),
    ...(port === '' ? {} : { port: Number(port) }),
    vhost: pathname.slice(1),
    heartbeat: heartbeatSeconds,
    ...credentials,
  }
}

/** Rejects with `late()` when the promise takes longer. */
export async function withinTime<T>(clock: Clock, ms: number, promise: Promise<T>, late: () => Error): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = clock.after(ms, () => reject(late()))
    promise.then(resolve, reject).finally(() => timer.cancel())
  })
}

/** An `error` event without a listener ends the process; `close` follows every one and is listened to by the link. */
function silence(connection: ChannelModel): ChannelModel {
  connection.on('error', ignore)
  return connection
}

export function ignore(): void {}

// Owns: a whole gateway in this process on a temporary folder, and the few things that the tests of sessions, bad input
// and secrecy ask of it: raw sessions, topics, what everybody could read, metrics.
// Leaves out: clients that keep the rules (the SDK), processes (test/support/gateway-process.ts).
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type Gateway, type GatewayOptions, startGateway } from '../../../src/main/gateway.ts'
import { nullLogger } from '../../../src/observability/log.ts'
import { buildBlock, readBlock } from '../../../src/protocol/block.ts'
import { type ErrorName, TrunklineError } from '../../../src/protocol/errors.ts'
import {
  type Block,
  type Event,
  encoding,
  type MethodName,
  mode,
  type ReplyOf,
  type RequestOf,
  type Resume,
  type StartAt,
} from '../../../src/protocol/messages.ts'
import { decodeReply, encodeCall } from '../../../src/protocol/thrift/message.ts'
import { fetchToken, RawClient, RawSession, signedRequest } from '../../support/raw-client.ts'

export const bytes = (value: string): Uint8Array => new TextEncoder().encode(value)
export const text = (value: Uint8Array | undefined): string => new TextDecoder().decode(value)

/** One block of events whose payloads (and ids) are these texts. */
export function blockOf(partition: number, ...payloads: readonly string[]): Block {
  return buildBlock(
    partition,
    payloads.map((payload) => ({ id: payload, payload: bytes(payload) })),
    encoding.none,
  )
}

export function eventsOf(reply: Pick<ReplyOf<'read'>, 'blocks'>): Event[] {
  return (reply.blocks ?? []).flatMap((block) => readBlock(block))
}

export const payloadsOf = (reply: Pick<ReplyOf<'read'>, 'blocks'>): string[] =>
  eventsOf(reply).map(({ payload }) => text(payload))

/** The error of a call that must fail; fails the test when it does not, or with another error. */
export async function refused(call: Promise<unknown>, ...names: readonly ErrorName[]): Promise<TrunklineError> {
  const thrown = await call.then(
    (value) => new Error(`was answered: ${JSON.stringify(value)}`),
    (error: unknown) => error,
  )
  if (!(thrown instanceof TrunklineError)) throw thrown
  if (names.length > 0) expect(names).toContain(thrown.name)
  return thrown
}

/** The bytes of the reply message, for comparing answers byte for byte. The seqid is the same for all. */
export function rawReply<M extends MethodName>(
  client: RawClient,
  method: M,
  request: RequestOf<M>,
): Promise<Uint8Array> {
  return client.frame(7_007, encodeCall(method, 7_007, signedRequest(method, request)))
}

export function decoded<M extends MethodName>(method: M, frame: Uint8Array): ReplyOf<M> {
  const answer = decodeReply(method, frame)
  if ('error' in answer) throw answer.error
  return answer.reply
}

type Settings = Omit<Partial<GatewayOptions>, 'dataDir'>

export class Harness {
  readonly dir: string
  gateway: Gateway
  client: RawClient
  bearer: string
  readonly #settings: Settings
  readonly #clients = new Set<RawClient>()

  private constructor(dir: string, gateway: Gateway, client: RawClient, bearer: string, settings: Settings) {
    this.dir = dir
    this.gateway = gateway
    this.client = client
    this.bearer = bearer
    this.#settings = settings
  }

  static async start(settings: Settings = {}): Promise<Harness> {
    const dir = await mkdtemp(join(tmpdir(), 'trunkline-'))
    const gateway = await launch(dir, settings)
    return new Harness(dir, gateway, await RawClient.open(gateway.thriftUrl), await tokenOf(gateway), settings)
  }

  /** Closes the gateway, does what is given to the folder, and starts another incarnation on it. */
  async restart(between: () => Promise<void> | void = () => {}): Promise<void> {
    await this.close()
    await between()
    this.gateway = await launch(this.dir, this.#settings)
    this.client = await RawClient.open(this.gateway.thriftUrl)
    this.bearer = await tokenOf(this.gateway)
  }

  /** Another connection; closed with the harness. */
  async connect(): Promise<RawClient> {
    const client = await RawClient.open(this.gateway.thriftUrl)
    this.#clients.add(client)
    return client
  }

  async close(): Promise<void> {
    this.client.close()
    for (const client of this.#clients) client.close()
    this.#clients.clear()
    await this.gateway.close()
  }

  async end(): Promise<void> {
    await this.close()
    await rm(this.dir, { recursive: true, force: true })
  }

  writer(topic: string, resume?: Resume): Promise<RawSession> {
    return RawSession.open(this.client, this.bearer, { topic, mode: mode.write, ...(resume ? { resume } : {}) })
  }

  reader(topic: string, startAt: StartAt = { earliest: true }): Promise<RawSession> {
    return RawSession.read(this.client, this.bearer, topic, startAt)
  }

  /** Publishes one write of these blocks in a session of its own. */
  async publish(topic: string, ...blocks: readonly Block[]): Promise<void> {
    const writer = await this.writer(topic)
    await writer.call('write', { n: 1, blocks, commit: true })
    await writer.call('dispose', {}, 1)
  }

  /** Payloads of everything that a new reader gets from the start, by partition; the session is disposed. */
  async everything(topic: string): Promise<Map<number, string[]>> {
    const reader = await this.reader(topic)
    const found = new Map<number, string[]>()
    for (let n = 1; ; n++) {
      const batch = await reader.call('read', { n, ...(n > 1 ? { ackOf: n - 1 } : {}) })
      if (batch.count === 0) break
      for (const { partition = -1, payload } of eventsOf(batch))
        found.set(partition, [...(found.get(partition) ?? []), text(payload)])
    }
    await reader.call('dispose', {}, 1)
    return found
  }

  http(path: string, init: RequestInit = {}, bearer: string | null = this.bearer): Promise<Response> {
    const headers = new Headers(init.headers)
    if (bearer !== null) headers.set('authorization', `Bearer ${bearer}`)
    return fetch(`${this.gateway.httpUrl}${path}`, { ...init, headers })
  }

  postJson(path: string, body: unknown): Promise<Response> {
    return this.http(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  }

  async createTopic(name: string, settings: Record<string, unknown> = {}): Promise<void> {
    const answer = await this.postJson('/v1/topics', { name, ...settings })
    if (answer.status !== 201) throw new Error(`creating ${name}: ${answer.status} ${await answer.text()}`)
  }

  async deleteTopic(name: string): Promise<void> {
    const answer = await this.http(`/v1/topics/${name}`, { method: 'DELETE' })
    if (answer.status !== 204) throw new Error(`deleting ${name}: ${answer.status}`)
  }

  async metricsText(): Promise<string> {
    return await (await fetch(`${this.gateway.adminUrl}/metrics`)).text()
  }

  /** The sum of a metric's series that have these labels. */
  async metric(name: string, labels: Record<string, string> = {}): Promise<number> {
    const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`)
    let sum = 0
    for (const line of (await this.metricsText()).split('\n')) {
      const [, found, series = '', value = ''] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
      if (found === name && wanted.every((label) => series.includes(label))) sum += Number(value)
    }
    return sum
  }

  openSessions(): Promise<number> {
    return this.metric('trunkline_sessions')
  }

  /** Asks until it holds; only for what another party does in its own time (a socket that closes). */
  async eventually(holds: () => Promise<boolean> | boolean, what: string): Promise<void> {
    for (let attempt = 0; attempt < 1_000; attempt++) {
      if (await holds()) return
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    throw new Error(`never came: ${what}`)
  }
}

/** What a client says that takes its producer elsewhere. */
export function resumeOf(
  session: RawSession,
  writeCursor: Uint8Array | undefined,
  writes: readonly { n: number; partitions: readonly number[] }[],
): Resume {
  const cursor = writeCursor ?? session.allocated.writeCursor
  if (cursor === undefined) throw new Error('a writer has a write cursor')
  return { session: session.allocated.session, writeCursor: cursor, writes, nextN: (writes.at(-1)?.n ?? 0) + 1 }
}

async function launch(dir: string, settings: Settings): Promise<Gateway> {
  return await startGateway({
    httpPort: 0,
    thriftPort: 0,
    adminPort: 0,
    logger: nullLogger,
    ...settings,
    dataDir: dir,
  })
}

function tokenOf(gateway: Gateway): Promise<string> {
  return fetchToken(gateway.httpUrl, gateway.clientId, gateway.clientSecret)
}

// Owns: the SDK over Thrift TCP with an eye on its calls: what was answered is counted while it happens, whoever asks can
// watch it, and the client can be cut off, as a process that dies.
// Leaves out: anything that changes a call: it is the SDK's own transport that sends and receives.

import { Bearer } from '../../../sdk/typescript/src/bearer.ts'
import { TrunklineClient } from '../../../sdk/typescript/src/client.ts'
import { EndpointPool } from '../../../sdk/typescript/src/endpoint-pool.ts'
import { tokenFetcher } from '../../../sdk/typescript/src/node/oauth.ts'
import { systemClock, systemRandom } from '../../../sdk/typescript/src/node/system.ts'
import { TcpTransport } from '../../../sdk/typescript/src/node/tcp-transport.ts'
import type { CallOptions, Transport, Way } from '../../../sdk/typescript/src/transport.ts'
import type { RetryPolicy } from '../../../src/fsm/client/client-session.types.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import {
  type AllocateReply,
  type MethodName,
  partState,
  type ReplyOf,
  type RequestOf,
} from '../../../src/protocol/messages.ts'

/** Where a gateway is: one process, or several that serve any request. */
export interface ClientAccess {
  readonly httpUrl: string | readonly string[]
  readonly thriftUrl: string | readonly string[]
  readonly clientId: string
  readonly clientSecret: string
}

/** Told of every call while it happens. */
export interface CallWatch {
  answered(method: MethodName, reply: unknown): void
  failed(method: MethodName, error: TrunklineError): void
}

/** What all clients of a run have seen. */
export interface CallCounts {
  allocates: number
  resumes: number
  /** Writes that a take-over found in the log though their answer was lost. */
  foundLanded: number
  /** Writes that a take-over found missing. */
  foundMissing: number
  readonly defects: string[]
}

export function newCounts(): CallCounts {
  return { allocates: 0, resumes: 0, foundLanded: 0, foundMissing: 0, defects: [] }
}

export interface ObservedClient {
  readonly client: TrunklineClient
  /** No answer reaches the client any more, and what it sends goes nowhere: it fails with FORBIDDEN, for good. */
  cut(): Promise<void>
}

/** The gateway is away for most of a second again and again: come back soon, never give up. */
export const patientRetry: Partial<RetryPolicy> = {
  attemptsMax: 100_000,
  backoffMsMin: 5,
  backoffMsMax: 60,
  allocatePatienceMs: 5_000,
}

export function connectObserved(access: ClientAccess, counts: CallCounts, watch?: CallWatch): ObservedClient {
  const endpoints = listOf(access.thriftUrl).map((url) => {
    const { hostname, port, host } = new URL(url)
    return { name: host, transport: new TcpTransport({ host: hostname, port: Number(port), clock: systemClock }) }
  })
  const pool = new EndpointPool({ endpoints, clock: systemClock, random: systemRandom })
  const transport = new ObservedTransport(pool, counts, watch)
  const { clientId, clientSecret } = access
  const tokenUrls = listOf(access.httpUrl).map((url) => new URL('/oauth/token', url))
  const fetchToken = tokenFetcher(tokenUrls, { clientId, clientSecret }, systemClock, systemRandom)
  const client = new TrunklineClient({
    transport,
    bearer: new Bearer(fetchToken, systemClock),
    clock: systemClock,
    random: systemRandom,
    onUnknownEvent: (type) => counts.defects.push(`client session got ${type} out of place`),
  })
  return { client, cut: () => transport.cut() }
}

function listOf(urls: string | readonly string[]): readonly string[] {
  return typeof urls === 'string' ? [urls] : urls
}

class ObservedTransport implements Transport {
  readonly #inner: EndpointPool
  readonly #counts: CallCounts
  readonly #watch: CallWatch | undefined
  #isCut = false

  constructor(inner: EndpointPool, counts: CallCounts, watch: CallWatch | undefined) {
    this.#inner = inner
    this.#counts = counts
    this.#watch = watch
  }

  async call<M extends MethodName>(method: M, request: RequestOf<M>, options: CallOptions): Promise<ReplyOf<M>> {
    this.#checkCut()
    try {
      const reply = await this.#inner.call(method, request, options).finally(() => this.#checkCut())
      if (method === 'allocate') this.#allocated(reply as AllocateReply)
      this.#watch?.answered(method, reply)
      return reply
    } catch (thrown) {
      if (!this.#isCut) this.#watch?.failed(method, TrunklineError.from(thrown))
      throw thrown
    }
  }

  wayOf(error: TrunklineError): Way | undefined {
    return this.#inner.wayOf(error)
  }

  close(): Promise<void> {
    return this.#inner.close()
  }

  cut(): Promise<void> {
    this.#isCut = true
    return this.#inner.close()
  }

  /** A dead process hears nothing. */
  #checkCut(): void {
    if (this.#isCut) throw new TrunklineError('FORBIDDEN')
  }

  #allocated({ outcomes }: AllocateReply): void {
    this.#counts.allocates += 1
    if (outcomes === undefined) return
    this.#counts.resumes += 1
    for (const { parts } of outcomes) {
      if (parts.every(({ state }) => state === partState.landed)) this.#counts.foundLanded += 1
      else this.#counts.foundMissing += 1
    }
  }
}

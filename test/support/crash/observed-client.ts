// Owns: the SDK over Thrift TCP with an eye on its calls: what was answered is counted while it happens, and the client
// can be cut off, as a process that dies.
// Leaves out: anything that changes a call: it is the SDK's own transport that sends and receives.

import { Bearer } from '../../../sdk/typescript/src/bearer.ts'
import { TrunklineClient } from '../../../sdk/typescript/src/client.ts'
import { fetchAccessToken } from '../../../sdk/typescript/src/node/oauth.ts'
import { systemClock, systemRandom } from '../../../sdk/typescript/src/node/system.ts'
import { TcpTransport } from '../../../sdk/typescript/src/node/tcp-transport.ts'
import type { CallOptions, Transport } from '../../../sdk/typescript/src/transport.ts'
import type { RetryPolicy } from '../../../src/fsm/client/client-session.types.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import {
  type AllocateReply,
  type MethodName,
  partState,
  type ReplyOf,
  type RequestOf,
} from '../../../src/protocol/messages.ts'
import type { GatewayAccess } from './gateway-lives.ts'

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

export function connectObserved(access: GatewayAccess, counts: CallCounts): ObservedClient {
  const { hostname, port } = new URL(access.thriftUrl)
  const inner = new TcpTransport({ host: hostname, port: Number(port), clock: systemClock, random: systemRandom })
  const transport = new ObservedTransport(inner, counts)
  const { clientId, clientSecret } = access
  const tokenUrl = new URL('/oauth/token', access.httpUrl)
  const client = new TrunklineClient({
    transport,
    bearer: new Bearer(() => fetchAccessToken(tokenUrl, { clientId, clientSecret }, systemClock), systemClock),
    clock: systemClock,
    random: systemRandom,
    onUnknownEvent: (type) => counts.defects.push(`client session got ${type} out of place`),
  })
  return { client, cut: () => transport.cut() }
}

class ObservedTransport implements Transport {
  readonly #inner: TcpTransport
  readonly #counts: CallCounts
  #isCut = false

  constructor(inner: TcpTransport, counts: CallCounts) {
    this.#inner = inner
    this.#counts = counts
  }

  async call<M extends MethodName>(method: M, request: RequestOf<M>, options: CallOptions): Promise<ReplyOf<M>> {
    this.#checkCut()
    const reply = await this.#inner.call(method, request, options).finally(() => this.#checkCut())
    if (method === 'allocate') this.#allocated(reply as AllocateReply)
    return reply
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

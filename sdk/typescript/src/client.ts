// Owns: the client: producers and readers over one transport and one bearer, ended together.
// Leaves out: how transport, clock and randomness are made (node/connect.ts), so that a simulation drives this very code.
import { defaultRetryPolicy, type RetryPolicy } from '../../../src/fsm/client/client-session.types.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { waitMsMax } from '../../../src/protocol/limits.ts'
import type { DescribeReply, StartAt } from '../../../src/protocol/messages.ts'
import { Producer } from './producer.ts'
import { Reader } from './reader.ts'
import type { Environment } from './session-driver.ts'

export interface ProducerOptions {
  /** Blocks are compressed when that makes them smaller. Default 'gzip'. */
  readonly encoding?: 'gzip' | 'none'
  /** CloudEvents source of events that name none. Default `/clients/<clientId>`. */
  readonly source?: string
  /** Writes unanswered at once. Default and upper bound: what the gateway announces (8). */
  readonly windowWrites?: number
  /** Bytes of events handed over and not answered; a publish beyond is refused with WINDOW_FULL. Default 64 MiB. */
  readonly bufferBytesMax?: number
  /** Idle time, ms, after which the session's lease is extended. Default: what the gateway announces (10,000). */
  readonly keepAliveMs?: number
  /** Default: 60 failures in a row, waits of 50 ms to 5 s. */
  readonly retry?: Partial<RetryPolicy>
}

/** `{ cursor }`: behind what that reader acked. A number or Date: the first event stored at or after that time (ms). */
export type StartPosition = 'earliest' | 'latest' | Date | number | { readonly cursor: string | Uint8Array }

export interface ReaderOptions {
  /** Default 'earliest'. */
  readonly from?: StartPosition
  readonly batch?: {
    /** Default: what the gateway takes (1,000). */
    readonly maxEvents?: number
    /** Soft bound in packed bytes; one larger event comes alone. Default 256 KiB, at most 1 MiB. */
    readonly maxBytes?: number
    /** Wait for this many bytes, or until `waitMs`. Default 1. */
    readonly minBytes?: number
  }
  /** How long a pull waits at the end of the topic, ms. Default and maximum 30,000. */
  readonly waitMs?: number
  /** The next pull acks the batch before it. Default false. */
  readonly autoAck?: boolean
  /** Places that can never be read again: 'throw' (default) their error, or 'skip' behind them and count. */
  readonly onDamaged?: 'throw' | 'skip'
  /** Idle time, ms, after which the session's lease is extended. Default: what the gateway announces (10,000). */
  readonly keepAliveMs?: number
  /** Default: 60 failures in a row, waits of 50 ms to 5 s. */
  readonly retry?: Partial<RetryPolicy>
}

const bufferBytesMaxDefault = 64 * 1024 * 1024
const describeTimeoutMs = 15_000
/** describe is answered at once or not; a few tries cover a gateway that starts. */
const describeTries = 3

export class TrunklineClient {
  readonly #environment: Environment
  readonly #source: string | undefined
  readonly #open = new Set<Producer | Reader>()
  #closing: Promise<void> | undefined

  /** Use `connect`. */
  constructor(environment: Environment, options: { readonly source?: string | undefined } = {}) {
    this.#environment = environment
    this.#source = options.source
  }

  /** A producer of its own numbering; close it, or the client. Nothing is sent before its first publish. */
  producer(topic: string, options: ProducerOptions = {}): Producer {
    this.#checkOpen()
    const settings = {
      encoding: options.encoding ?? 'gzip',
      source: options.source ?? this.#source,
      windowWrites: options.windowWrites ?? null,
      bufferBytesMax: options.bufferBytesMax ?? bufferBytesMaxDefault,
      keepAliveMs: options.keepAliveMs ?? null,
      retry: { ...defaultRetryPolicy, ...options.retry },
    }
    const producer: Producer = new Producer(topic, this.#environment, settings, () => this.#open.delete(producer))
    this.#open.add(producer)
    return producer
  }

  /** A reader of its own position; close it, or the client. Nothing is sent before its first pull. */
  reader(topic: string, options: ReaderOptions = {}): Reader {
    this.#checkOpen()
    const { maxEvents, maxBytes, minBytes } = options.batch ?? {}
    const settings = {
      startAt: startAtOf(options.from ?? 'earliest'),
      read: {
        ...(maxEvents === undefined ? {} : { maxEvents }),
        ...(maxBytes === undefined ? {} : { maxBytes }),
        ...(minBytes === undefined ? {} : { minBytes }),
        waitMs: Math.min(options.waitMs ?? waitMsMax, waitMsMax),
      },
      autoAck: options.autoAck ?? false,
      onDamaged: options.onDamaged ?? 'throw',
      keepAliveMs: options.keepAliveMs ?? null,
      retry: { ...defaultRetryPolicy, ...options.retry },
    }
    const reader: Reader = new Reader(topic, this.#environment, settings, () => this.#open.delete(reader))
    this.#open.add(reader)
    return reader
  }

  /** The gateway's version, limits and features, and the topic's facts when one is named. Errors: UNKNOWN_TOPIC, UNAVAILABLE. */
  async describe(topic?: string): Promise<DescribeReply> {
    const { transport, bearer } = this.#environment
    for (let tries = 1; ; tries += 1) {
      const token = await bearer.get()
      try {
        const request = { proof: { bearer: token }, ...(topic === undefined ? {} : { topic }) }
        return await transport.call('describe', request, { timeoutMs: describeTimeoutMs })
      } catch (thrown) {
        const error = TrunklineError.from(thrown)
        const stale = error.name === 'TOKEN_EXPIRED' || error.name === 'UNAUTHENTICATED'
        if (tries === describeTries || !(stale || error.retryable)) throw error
        if (stale) bearer.invalidate(token)
      }
    }
  }

  /**
   * Flushes the producers, ends all sessions and the connections. Takes `timeoutMs` (default 60,000) and a little more
   * at the longest: publishes that are not answered by then reject, and close rejects with DEADLINE (Producer.close).
   * Idempotent: the first call's time counts.
   */
  close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options)
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(options: { readonly timeoutMs?: number }): Promise<void> {
    const closed = await Promise.allSettled(
      [...this.#open].map((one) => (one instanceof Producer ? one.close(options) : one.close())),
    )
    await this.#environment.transport.close()
    for (const one of closed) if (one.status === 'rejected') throw TrunklineError.from(one.reason)
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new TrunklineError('SESSION_CLOSED')
  }
}

function startAtOf(from: StartPosition): StartAt {
  if (from === 'earliest') return { earliest: true }
  if (from === 'latest') return { latest: true }
  if (from instanceof Date) return { timestampMs: from.getTime() }
  if (typeof from === 'number') return { timestampMs: from }
  return { cursor: typeof from.cursor === 'string' ? bytesOfText(from.cursor) : from.cursor }
}

function bytesOfText(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64url')
  // Buffer ignores what it does not know; a cursor that was cut or changed must not become another.
  if (text.length === 0 || bytes.toString('base64url') !== text) throw new TrunklineError('BAD_CURSOR')
  return new Uint8Array(bytes)
}

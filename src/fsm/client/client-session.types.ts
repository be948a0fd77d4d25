// Owns: the words of the client's session machine: input, context, events, commands, output.
// Context is plain data without closures, so that a model checker can store and compare it.
import type { TrunklineError } from '../../protocol/errors.ts'
import type { AllocateReply, Limits, PartResult, Turn, UnansweredWrite } from '../../protocol/messages.ts'
import type { SessionToken, TokenChain } from './token-chain.ts'

/** How long and how often a session is tried; every retry is bounded. */
export interface RetryPolicy {
  /** Failures in a row, without one success between them, after which the session gives up. Default 60. */
  readonly attemptsMax: number
  /** First wait; doubles with each failure. Default 50 ms. */
  readonly backoffMsMin: number
  /** Longest wait, before jitter. Default 5,000 ms. */
  readonly backoffMsMax: number
  /** How long one allocate is waited for before another is sent beside it. Default 12,000 ms. */
  readonly allocatePatienceMs: number
  /** Sendings of one request inside one session before the session is given up for another. Default 5. */
  readonly sendingsMax: number
}

export const defaultRetryPolicy: RetryPolicy = {
  attemptsMax: 60,
  backoffMsMin: 50,
  backoffMsMax: 5_000,
  allocatePatienceMs: 12_000,
  sendingsMax: 5,
}

export interface ClientSessionInput {
  readonly mode: 'read' | 'write'
  readonly retry: RetryPolicy
  /** Idle time after which the lease is extended; null: what the gateway announces. */
  readonly keepAliveMs: number | null
  /** Upper bound for the announced window; null: what the gateway announces. */
  readonly windowWrites: number | null
  /** Read: where to start; null: the `startAt` that the session's owner adds. */
  readonly cursor: Uint8Array | null
}

/** The seq and challenge of one slot, as the server last told. */
export interface Lane {
  /** The seq the next request takes. */
  readonly nextSeq: number
  readonly challenge: Uint8Array
  /** `nextSeq` of the newest turn seen: what the server waits for when nothing is out. */
  readonly turnSeq: number
}

export interface OpenSession {
  /** The allocate that opened it: names the session in events. */
  readonly attempt: number
  readonly token: SessionToken
  readonly keepAliveMs: number
  readonly windowWrites: number
  readonly windowBytes: number
  /** It has answered a request: when it goes, its successor is asked for without a wait. */
  readonly proven: boolean
}

/** queued: to be sent (again, with a new seq); sent: out; again: the very same request must be repeated. */
export type RequestState = 'queued' | 'sent' | 'again'

export interface PendingWrite {
  /** The owner's name for it. */
  readonly id: number
  /** Its number in the producer; 0 before it is sent for the first time. */
  readonly n: number
  /** partitions[i] is the partition of part i. */
  readonly partitions: readonly number[]
  readonly bytes: number
  readonly state: RequestState
  /** Of the last sending in this session. */
  readonly seq: number
  readonly challenge: Uint8Array | null
  /** Sendings in this session. */
  readonly sendings: number
  /** It was sent, and no look-up has said since that it is missing: it may land, or may have landed. */
  readonly uncertain: boolean
  /** Parts that a look-up found. */
  readonly landed: readonly PartResult[]
}

/** A write cursor that is adopted once every write up to `untilN` is answered (write-window.ts, W4). */
export interface CursorCandidate {
  readonly cursor: Uint8Array
  readonly untilN: number
}

export interface WriteWindow {
  /** In the order of n, then of arrival. */
  readonly writes: readonly PendingWrite[]
  readonly nextN: number
  readonly cursor: Uint8Array | null
  readonly candidate: CursorCandidate | null
}

export type ReadOpKind = 'read' | 'ack' | 'nack'

/** The one request of a read session that is out or waits to be sent. */
export interface ReadOp {
  readonly kind: ReadOpKind
  /** ack: events of the prefix, null the whole batch. */
  readonly count: number | null
  /** nack: how long the rest stays away. */
  readonly delayMs: number
  readonly n: number
  /** read: acks this step on the way; null: nothing to ack. */
  readonly ackOf: number | null
  readonly state: RequestState
  readonly seq: number
  readonly challenge: Uint8Array | null
  /** Sendings in this session. */
  readonly sendings: number
}

export interface ControlOp {
  readonly kind: 'extend' | 'dispose'
  readonly seq: number
  readonly challenge: Uint8Array
  readonly sendings: number
}

export type EndReason =
  /** The owner disposed it. */
  | 'disposed'
  /** The gateway said no for good, or the retries are used up; `error` says which. */
  | 'failed'

export interface ClientSessionContext {
  readonly mode: 'read' | 'write'
  readonly retry: RetryPolicy
  readonly keepAliveMsAsked: number | null
  readonly windowWritesAsked: number | null
  /** Failures since the last success on the data slot. */
  readonly failures: number
  readonly backoffMs: number
  readonly lastError: TrunklineError | null
  /** Number of the newest allocate. */
  readonly attempt: number
  /** Allocates that may still be answered, newest last. */
  readonly attempts: readonly { readonly attempt: number; readonly allocatedWith: SessionToken | null }[]
  readonly chain: TokenChain
  readonly session: OpenSession | null
  readonly data: Lane
  readonly control: Lane
  readonly controlOp: ControlOp | null
  /** Read: the position to allocate from; null: the owner's `startAt`. */
  readonly position: Uint8Array | null
  /** Read: the last step whose batch came. */
  readonly step: number
  /** Read: that batch holds events which this session has not settled. */
  readonly stepOpen: boolean
  readonly op: ReadOp | null
  readonly window: WriteWindow
  /** Write: an answer asks for sending again from an earlier number: first everything out is answered. */
  readonly goBack: boolean
  /** The session is over for this client: leave it at once. */
  readonly leave: boolean
  /** The owner asked to connect, and that has not come about. */
  readonly wanted: boolean
  /** What was decided in this step, in order; the `perform` action carries it out. */
  readonly outbox: readonly Command[]
  readonly end: EndReason
}

/** What of a reply the machine needs; the batch itself stays with the owner. */
export interface AnswerFacts {
  readonly turn: Turn
  readonly writeCursor?: Uint8Array | undefined
  readonly parts?: readonly PartResult[] | undefined
  /** read: events of the batch. */
  readonly count?: number | undefined
}

/** What the owner knows of the way a failed request took. */
export interface WayFacts {
  /** The next request goes another way, one that is not known to fail: it needs no pause. */
  readonly elsewhere: boolean
  /** The request never left: it counts as not sent. */
  readonly unsent: boolean
}

export type ClientSessionEvent =
  /** Connect now, although nothing is asked yet. */
  | { readonly type: 'OPEN' }
  | { readonly type: 'ALLOCATED'; readonly attempt: number; readonly reply: AllocateReply }
  /** jitter: 0 ≤ x < 1, from the owner's Random. */
  | {
      readonly type: 'ALLOCATE_FAILED'
      readonly attempt: number
      readonly error: TrunklineError
      readonly jitter: number
      readonly way?: WayFacts | undefined
    }
  | { readonly type: 'WRITE'; readonly id: number; readonly partitions: readonly number[]; readonly bytes: number }
  /** The next batch; acks the one before it in this session. */
  | { readonly type: 'READ' }
  | { readonly type: 'ACK'; readonly count: number | null }
  | { readonly type: 'NACK'; readonly delayMs: number }
  /** Read: from where another session would start. */
  | { readonly type: 'POSITION'; readonly cursor: Uint8Array }
  | {
      readonly type: 'ANSWERED'
      readonly attempt: number
      readonly slot: number
      readonly seq: number
      readonly answer: AnswerFacts
    }
  | {
      readonly type: 'FAILED'
      readonly attempt: number
      readonly slot: number
      readonly seq: number
      readonly error: TrunklineError
      readonly jitter: number
      readonly way?: WayFacts | undefined
    }
  /** Extend now: there is a new bearer. */
  | { readonly type: 'REFRESH' }
  | { readonly type: 'DISPOSE' }

export type WriteOutcomeFacts =
  | { readonly kind: 'landed'; readonly parts: readonly PartResult[] }
  /** Nothing of it landed, and nothing ever will. */
  | { readonly kind: 'refused'; readonly error: TrunklineError }
  /** It may have landed: the application decides. */
  | { readonly kind: 'unknown'; readonly error: TrunklineError }

export type SentRequest =
  | { readonly kind: 'write'; readonly id: number; readonly n: number }
  | { readonly kind: 'read'; readonly n: number; readonly ackOf: number | null }
  | { readonly kind: 'ack'; readonly n: number; readonly count: number | null }
  | { readonly kind: 'nack'; readonly n: number; readonly delayMs: number }
  | { readonly kind: 'extend' }
  | { readonly kind: 'dispose' }

export interface ResumeFacts {
  readonly session: SessionToken
  readonly writeCursor: Uint8Array
  readonly nextN: number
  readonly writes: readonly UnansweredWrite[]
}

export type Command =
  /** Allocate; answer with ALLOCATED or ALLOCATE_FAILED, however late. */
  | {
      readonly kind: 'allocate'
      readonly attempt: number
      readonly resume: ResumeFacts | null
      readonly cursor: Uint8Array | null
    }
  /** Send; answer with ANSWERED or FAILED of the same attempt, slot and seq. */
  | {
      readonly kind: 'send'
      readonly attempt: number
      readonly slot: number
      readonly seq: number
      readonly challenge: Uint8Array
      readonly token: SessionToken
      readonly request: SentRequest
    }
  /** cursor: where a read session starts. */
  | {
      readonly kind: 'opened'
      readonly sessionId: string
      readonly partitions: number
      readonly limits: Limits
      readonly cursor: Uint8Array | null
    }
  /** The write is answered, once and for all. */
  | { readonly kind: 'settled'; readonly id: number; readonly outcome: WriteOutcomeFacts }
  /** The operation of a read session is answered; for a read, the batch is the reply with this seq. */
  | { readonly kind: 'done'; readonly op: ReadOpKind; readonly seq: number }
  | { readonly kind: 'failed'; readonly op: ReadOpKind; readonly error: TrunklineError }
  /** An ack or nack that has no session any more: its batch is the owner's to settle by position. */
  | { readonly kind: 'lost'; readonly op: 'ack' | 'nack' }

export interface ClientSessionOutput {
  readonly reason: EndReason
  readonly error: TrunklineError | null
}

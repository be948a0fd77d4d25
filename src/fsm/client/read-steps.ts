// Owns: the data slot of a read session: its one request (read, ack or nack) and what its answer means.
// S3 A repeat of a request is the very same request: seq, challenge, content.
import type { ClientSessionEvent, ReadOp, ReadOpKind, SentRequest } from './client-session.types.ts'
import { judgeError } from './error-verdict.ts'
import { noteFailure } from './failure-steps.ts'
import {
  type Changes,
  type Context,
  type EventOf,
  proven,
  sendData,
  sendingsOf,
  tiredOf,
  turned,
} from './step-parts.ts'

type OpRequest = { readonly kind: ReadOpKind; readonly count: number | null; readonly delayMs: number }

export function startOp(context: Context, event: ClientSessionEvent): Context {
  const { kind, count, delayMs } = opOf(event)
  const reads = kind === 'read'
  const op: ReadOp = {
    kind,
    count,
    delayMs,
    n: reads ? context.step + 1 : context.step,
    ackOf: reads && context.stepOpen ? context.step : null,
    state: 'queued',
    seq: 0,
    challenge: null,
    sendings: 0,
  }
  return context.session === null ? { ...context, op, outbox: [] } : sendOp({ ...context, outbox: [] }, op)
}

function opOf(event: ClientSessionEvent): OpRequest {
  switch (event.type) {
    case 'ACK':
      return { kind: 'ack', count: event.count, delayMs: 0 }
    case 'NACK':
      return { kind: 'nack', count: null, delayMs: event.delayMs }
    default:
      return { kind: 'read', count: null, delayMs: 0 }
  }
}

export function sendOp(context: Context, op: ReadOp): Context {
  const repeats = op.state === 'again' && op.challenge !== null
  const next: ReadOp = {
    ...op,
    state: 'sent',
    sendings: op.sendings + 1,
    ...(repeats ? {} : { seq: context.data.nextSeq, challenge: context.data.challenge }),
  }
  const data = repeats ? context.data : { ...context.data, nextSeq: next.seq + 1 }
  return {
    ...context,
    data,
    op: next,
    outbox: [...context.outbox, sendData(context, next.seq, next.challenge, requestOf(next))],
  }
}

export function resumeOp(context: Context): Context {
  const resumed: Context = { ...context, backoffMs: 0, outbox: [] }
  return context.op === null ? resumed : sendOp(resumed, context.op)
}

export function takeOpAnswer(context: Context, { seq, answer }: EventOf<'ANSWERED'>): Changes {
  const { op } = context
  if (op === null) return { outbox: [] }
  return {
    failures: 0,
    session: proven(context.session),
    op: null,
    data: turned(context.data, answer.turn, true),
    ...(op.kind === 'read' ? { step: op.n, stepOpen: (answer.count ?? 0) > 0 } : { stepOpen: false }),
    outbox: [{ kind: 'done', op: op.kind, seq }],
  }
}

export function takeOpError(context: Context, event: EventOf<'FAILED'>): Changes {
  const { seq, error, way } = event
  const { op } = context
  if (op === null) return { outbox: [] }
  const { turn } = error
  const data = turn === undefined ? {} : { data: turned(context.data, turn, true) }
  const verdict =
    error.name === 'SEQUENCE_MISMATCH' && error.details['of'] !== 'seq' ? 'leave' : judgeError(error, seq, op.sendings)
  switch (verdict) {
    case 'refused':
    case 'unknown':
      return { ...data, op: null, outbox: [{ kind: 'failed', op: op.kind, error }] }
    case 'leave':
      return { ...noteFailure(context, event), leave: true, outbox: [] }
    case 'again': {
      const challenge = error.name === 'BAD_CHALLENGE' && turn !== undefined ? turn.challenge : op.challenge
      const sendings = sendingsOf(op, way)
      return {
        ...noteFailure(context, event),
        op: { ...op, state: 'again', challenge, sendings },
        ...tiredOf(context, sendings),
        outbox: [],
      }
    }
    case 'resend':
      return {
        ...data,
        ...noteFailure(context, event),
        op: { ...op, state: 'queued' },
        ...tiredOf(context, op.sendings),
        outbox: [],
      }
  }
}

function requestOf(op: ReadOp): SentRequest {
  switch (op.kind) {
    case 'read':
      return { kind: 'read', n: op.n, ackOf: op.ackOf }
    case 'ack':
      return { kind: 'ack', n: op.n, count: op.count }
    case 'nack':
      return { kind: 'nack', n: op.n, delayMs: op.delayMs }
  }
}

// Owns: what happens at each transition of the client's session machine, as pure functions context → changes.
// Every step returns the commands it decided in `outbox`; the machine's `perform` action carries them out.
// S1 Once a session is left, nothing more is sent in it, and its late answers mean nothing (design.md §3.6).
// S2 Only landed, refused or unknown, from the session itself or a look-up that counts, answers a write.
// S3 A repeat of a request is the very same request: seq, challenge, content.
// Leaves out: when which step runs (client-session.machine.ts).
import { TrunklineError } from '../../protocol/errors.ts'
import { type AllocateReply, partState, slot, type Turn } from '../../protocol/messages.ts'
import type {
  ClientSessionContext,
  ClientSessionEvent,
  ClientSessionInput,
  Command,
  EndReason,
  Lane,
  PendingWrite,
  ReadOp,
  ReadOpKind,
  SentRequest,
} from './client-session.types.ts'
import { judgeError } from './error-verdict.ts'
import { answerCounts, chainAfterSend, emptyChain, tokenToResume } from './token-chain.ts'
import {
  addWrite,
  awaits,
  changeWrite,
  emptyWindow,
  foundState,
  isSettled,
  leaveWindow,
  mergeParts,
  noteCursor,
  removeWrite,
  renumberWindow,
  repeatWrites,
  sendQueued,
  unansweredWrites,
} from './write-window.ts'

export type Changes = Partial<ClientSessionContext>
type Context = ClientSessionContext
type EventOf<T extends ClientSessionEvent['type']> = Extract<ClientSessionEvent, { type: T }>

/** Allocates whose late answer is still waited for. */
const attemptsKept = 8
const noLane: Lane = { nextSeq: 1, challenge: new Uint8Array(), turnSeq: 1 }

export function initialContext(input: ClientSessionInput): Context {
  return {
    mode: input.mode,
    retry: input.retry,
    keepAliveMsAsked: input.keepAliveMs,
    windowWritesAsked: input.windowWrites,
    failures: 0,
    backoffMs: 0,
    lastError: null,
    attempt: 0,
    attempts: [],
    chain: emptyChain,
    session: null,
    data: noLane,
    control: noLane,
    controlOp: null,
    position: input.cursor,
    step: 0,
    stepOpen: false,
    op: null,
    window: emptyWindow,
    goBack: false,
    leave: false,
    wanted: false,
    outbox: [],
    end: 'disposed',
  }
}

// ---- allocating -------------------------------------------------------------------------------------------------

export function startAttempt(context: Context): Changes {
  const attempt = context.attempt + 1
  const allocatedWith = tokenToResume(context.chain)
  const { window } = context
  const resume =
    allocatedWith === null
      ? null
      : {
          session: allocatedWith,
          writeCursor: window.cursor ?? new Uint8Array(),
          nextN: window.nextN,
          writes: unansweredWrites(window),
        }
  return {
    attempt,
    attempts: [...context.attempts, { attempt, allocatedWith }].slice(-attemptsKept),
    backoffMs: 0,
    outbox: [{ kind: 'allocate', attempt, resume, cursor: context.position }],
  }
}

/** Rule 6: only the answer of an allocate with the token held now is gone on with. */
export function counts(context: Context, attempt: number): boolean {
  const made = context.attempts.find((other) => other.attempt === attempt)
  return made !== undefined && answerCounts(context.chain, made.allocatedWith)
}

export function forgetAttempt(context: Context, attempt: number): Changes {
  return { attempts: context.attempts.filter((other) => other.attempt !== attempt), outbox: [] }
}

export function adopt(context: Context, { attempt, reply }: EventOf<'ALLOCATED'>): Changes {
  const { limits } = reply
  const lane = laneOf(reply.turn)
  const opened: Context = {
    ...context,
    attempts: context.attempts.filter((other) => other.attempt !== attempt),
    backoffMs: 0,
    wanted: false,
    leave: false,
    goBack: false,
    session: {
      attempt,
      token: reply.session,
      keepAliveMs: context.keepAliveMsAsked ?? limits.keepAliveMs,
      windowWrites: Math.max(1, Math.min(context.windowWritesAsked ?? limits.windowWrites, limits.windowWrites)),
      windowBytes: limits.windowBytes,
    },
    data: lane,
    control: lane,
    controlOp: null,
    // 'latest' and a time mean where they first led to, also for the next session.
    position: context.position ?? reply.cursor ?? null,
    step: 0,
    stepOpen: false,
    outbox: [
      {
        kind: 'opened',
        sessionId: reply.sessionId,
        partitions: reply.partitions,
        limits,
        cursor: reply.cursor ?? null,
      },
    ],
  }
  if (context.mode === 'read')
    return context.op === null ? opened : sendOp(opened, { ...context.op, n: 1, ackOf: null })
  return fill(learnOutcomes(opened, reply))
}

/** What the take-over found: landed is answered, missing goes out again, unknown is the application's. */
function learnOutcomes(context: Context, reply: AllocateReply): Context {
  const outcomes = new Map((reply.outcomes ?? []).map((outcome) => [outcome.n, outcome]))
  const outbox: Command[] = [...context.outbox]
  const writes: PendingWrite[] = []
  let settled = false
  for (const write of context.window.writes) {
    const outcome = outcomes.get(write.n)
    const found = write.n === 0 ? 'missing' : foundState(outcome, write.partitions.length)
    const landed = (outcome?.parts ?? []).filter(({ state }) => state === partState.landed)
    switch (found) {
      case 'landed':
        outbox.push({
          kind: 'settled',
          id: write.id,
          outcome: { kind: 'landed', parts: mergeParts(landed, write.landed) },
        })
        settled = true
        break
      case 'unknown':
        outbox.push({
          kind: 'settled',
          id: write.id,
          outcome: { kind: 'unknown', error: new TrunklineError('OUTCOME_UNKNOWN') },
        })
        break
      case 'missing':
        writes.push({ ...write, uncertain: false, landed })
    }
  }
  const { window } = context
  const nextN = context.chain.held === null ? (reply.nextN ?? 1) : window.nextN
  return {
    ...context,
    ...(settled ? { failures: 0 } : {}),
    window: { writes, nextN, cursor: reply.writeCursor ?? window.cursor, candidate: null },
    outbox,
  }
}

/** The old producer cannot be resumed: what was sent is the application's to judge, the rest goes on as a new one. */
export function forgetProducer(context: Context, error: TrunklineError): Changes {
  const lost = context.window.writes.filter((write) => write.uncertain || write.landed.length > 0)
  const kept = context.window.writes.filter((write) => !lost.includes(write))
  return {
    chain: emptyChain,
    attempts: [],
    window: renumberWindow({ ...context.window, writes: kept }),
    outbox: lost.map((write) => unknownOutcome(write, error)),
  }
}

// ---- failures ---------------------------------------------------------------------------------------------------

/** One failure of a round; several requests that fail together count once. */
export function noteFailure(context: Context, error: TrunklineError | null, jitter: number): Changes {
  if (context.backoffMs > 0) return error === null ? {} : { lastError: error }
  const failures = context.failures + 1
  return {
    failures,
    lastError: error ?? context.lastError,
    backoffMs: backoffMsAfter(context, failures, error, jitter),
    ...(failures > context.retry.attemptsMax ? { leave: true } : {}),
  }
}

function backoffMsAfter(context: Context, failures: number, error: TrunklineError | null, jitter: number): number {
  const { backoffMsMin, backoffMsMax } = context.retry
  // A session that is gone says nothing about the next one: the first allocate goes out at once.
  if (failures === 1 && error !== null && (error.name === 'SESSION_GONE' || error.name === 'SESSION_CLOSED')) return 0
  const grownMs = Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(failures - 1, 20))
  const askedMs = Math.min(error?.retryAfterMs ?? 0, backoffMsMax)
  return Math.max(1, Math.round(Math.max(grownMs, askedMs) * (0.5 + jitter)))
}

export function hasGivenUp(context: Context): boolean {
  return context.failures > context.retry.attemptsMax
}

/** S1. */
export function leaveSession(context: Context): Changes {
  const { op } = context
  const lost: readonly Command[] = op !== null && op.kind !== 'read' ? [{ kind: 'lost', op: op.kind }] : []
  return {
    session: null,
    leave: false,
    goBack: false,
    controlOp: null,
    stepOpen: false,
    op: op?.kind === 'read' ? { ...op, state: 'queued', sendings: 0, challenge: null } : null,
    window: leaveWindow(context.window),
    outbox: lost,
  }
}

export function hasDemand(context: Context): boolean {
  return context.wanted || context.op !== null || context.window.writes.length > 0
}

/** Nothing is owed to the owner after this. */
export function endSession(context: Context, end: EndReason): Changes {
  const error = context.lastError ?? new TrunklineError('SESSION_CLOSED')
  const reason = end === 'disposed' ? new TrunklineError('SESSION_CLOSED') : error
  const outbox: Command[] = context.window.writes.map((write) =>
    write.uncertain || write.landed.length > 0
      ? unknownOutcome(write, reason)
      : { kind: 'settled', id: write.id, outcome: { kind: 'refused', error: reason } },
  )
  if (context.op !== null) outbox.push({ kind: 'failed', op: context.op.kind, error: reason })
  return { end, session: null, op: null, window: emptyWindow, outbox }
}

function unknownOutcome(write: PendingWrite, cause: TrunklineError): Command {
  // What the gateway says of the topic itself is the better answer than that nobody knows.
  if (cause.name === 'TOPIC_CHANGED' || cause.name === 'OUTCOME_UNKNOWN') {
    return { kind: 'settled', id: write.id, outcome: { kind: 'unknown', error: cause } }
  }
  const error = new TrunklineError('OUTCOME_UNKNOWN', { details: { because: cause.name }, cause })
  return { kind: 'settled', id: write.id, outcome: { kind: 'unknown', error } }
}

// ---- writing ----------------------------------------------------------------------------------------------------

export function takeWrite(context: Context, { id, partitions, bytes }: EventOf<'WRITE'>): Context {
  return { ...context, window: addWrite(context.window, { id, partitions, bytes }), outbox: [] }
}

/** Sends what the window allows; nothing new while an answer asks to go back or a repeat waits. */
export function fill(context: Context): Context {
  const { session } = context
  if (session === null || context.goBack || context.leave || context.backoffMs > 0) return context
  const { window, lane, sent } = sendQueued(context.window, session, context.data)
  if (sent.length === 0) return context
  return {
    ...context,
    window,
    data: lane,
    chain: chainAfterSend(context.chain, session.token),
    outbox: [...context.outbox, ...sent.map((write) => sendWrite(context, write))],
  }
}

function sendWrite(context: Context, write: PendingWrite): Command {
  return sendData(context, write.seq, write.challenge, { kind: 'write', id: write.id, n: write.n })
}

export function writeOfSeq(context: Context, seq: number): PendingWrite | undefined {
  return context.window.writes.find((write) => write.state !== 'queued' && write.seq === seq)
}

export function takeWriteAnswer(context: Context, { seq, answer }: EventOf<'ANSWERED'>): Context {
  const write = writeOfSeq(context, seq)
  if (write === undefined) return { ...context, outbox: [] }
  const window = noteCursor(removeWrite(context.window, write.id), answer.writeCursor)
  const parts = mergeParts(answer.parts ?? [], write.landed)
  const answered: Context = {
    ...context,
    failures: 0,
    window,
    data: turned(context.data, answer.turn, isSettled(window)),
    outbox: [{ kind: 'settled', id: write.id, outcome: { kind: 'landed', parts } }],
  }
  return fill(answered)
}

export function takeWriteError(context: Context, { seq, error, jitter }: EventOf<'FAILED'>): Context {
  const write = writeOfSeq(context, seq)
  if (write === undefined) return { ...context, outbox: [] }
  const verdict = judgeError(error, seq, write.sendings)
  const turn = error.turn
  const settle = (window: Context['window'], more: Changes): Context => ({
    ...context,
    window,
    ...(turn === undefined ? {} : { data: turned(context.data, turn, isSettled(window)) }),
    outbox: [],
    ...more,
  })
  switch (verdict) {
    case 'refused':
    case 'unknown':
      // The number may be used up or not, later writes held or not: a take-over of our own tells exactly (S2).
      return settle(removeWrite(context.window, write.id), {
        leave: true,
        failures: 0,
        outbox: [{ kind: 'settled', id: write.id, outcome: { kind: verdict, error } }],
      })
    case 'leave':
      return settle(context.window, { ...noteFailure(context, error, jitter), leave: true })
    case 'again': {
      const challenge = error.name === 'BAD_CHALLENGE' && turn !== undefined ? turn.challenge : write.challenge
      const window = changeWrite(context.window, seq, { state: 'again', challenge })
      return settle(window, { ...noteFailure(context, error, jitter), ...tiredOf(context, write.sendings) })
    }
    case 'resend': {
      const window = changeWrite(context.window, seq, { state: 'queued' })
      const hopeless = error.name === 'SEQUENCE_MISMATCH' && !awaits(window, error.expected)
      return settle(window, {
        ...noteFailure(context, error, jitter),
        goBack: true,
        ...(hopeless ? { leave: true } : tiredOf(context, write.sendings)),
      })
    }
  }
}

/** After the pause: repeats what must be repeated; goes back to the first queued number when nothing is out. */
export function resumeWriting(context: Context): Context {
  const { window, sent } = repeatWrites(context.window)
  const resumed: Context = {
    ...context,
    backoffMs: 0,
    goBack: context.goBack && !isSettled(window),
    window,
    outbox: sent.map((write) => sendWrite(context, write)),
  }
  return fill(resumed)
}

// ---- reading ----------------------------------------------------------------------------------------------------

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

function sendOp(context: Context, op: ReadOp): Context {
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
    op: null,
    data: turned(context.data, answer.turn, true),
    ...(op.kind === 'read' ? { step: op.n, stepOpen: (answer.count ?? 0) > 0 } : { stepOpen: false }),
    outbox: [{ kind: 'done', op: op.kind, seq }],
  }
}

export function takeOpError(context: Context, { seq, error, jitter }: EventOf<'FAILED'>): Changes {
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
      return { ...noteFailure(context, error, jitter), leave: true, outbox: [] }
    case 'again': {
      const challenge = error.name === 'BAD_CHALLENGE' && turn !== undefined ? turn.challenge : op.challenge
      return {
        ...noteFailure(context, error, jitter),
        op: { ...op, state: 'again', challenge },
        ...tiredOf(context, op.sendings),
        outbox: [],
      }
    }
    case 'resend':
      return {
        ...data,
        ...noteFailure(context, error, jitter),
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

// ---- control slot -----------------------------------------------------------------------------------------------

/** Extends the lease; an extend whose answer is missing is repeated as it was. */
export function extend(context: Context): Changes {
  const { controlOp } = context
  if (controlOp?.kind === 'extend' && controlOp.sendings >= context.retry.sendingsMax)
    return { leave: true, outbox: [] }
  return sendControl(context, 'extend')
}

export function sendControl(context: Context, kind: 'extend' | 'dispose'): Changes {
  const { session, control } = context
  if (session === null) return { outbox: [] }
  const repeated = context.controlOp?.kind === kind ? context.controlOp : undefined
  const seq = repeated?.seq ?? control.nextSeq
  const challenge = repeated?.challenge ?? control.challenge
  return {
    control: { ...control, nextSeq: seq + 1 },
    controlOp: { kind, seq, challenge, sendings: (repeated?.sendings ?? 0) + 1 },
    outbox: [
      {
        kind: 'send',
        attempt: session.attempt,
        slot: slot.control,
        seq,
        challenge,
        token: session.token,
        request: { kind },
      },
    ],
  }
}

export function takeControlAnswer(context: Context, { answer }: EventOf<'ANSWERED'>): Changes {
  const idle = isSettled(context.window) && context.op === null
  return {
    ...(idle ? { failures: 0 } : {}),
    controlOp: null,
    control: turned(context.control, answer.turn, true),
    window: noteCursor(context.window, answer.writeCursor),
    outbox: [],
  }
}

export function takeControlError(context: Context, { seq, error, jitter }: EventOf<'FAILED'>): Changes {
  const { controlOp } = context
  if (controlOp === null) return { outbox: [] }
  const { turn } = error
  const control = turn === undefined ? {} : { control: turned(context.control, turn, true) }
  switch (judgeError(error, seq, controlOp.sendings)) {
    case 'leave':
      return { ...noteFailure(context, error, jitter), leave: true, outbox: [] }
    case 'again':
      // The next tick of the lease repeats it.
      return error.name === 'BAD_CHALLENGE' ? { ...control, controlOp: null, outbox: [] } : { outbox: [] }
    default:
      return { ...control, controlOp: null, outbox: [] }
  }
}

/** dispose goes again with the seq the session waits for, a bounded number of times. */
export function mayDisposeAgain(context: Context, { error }: EventOf<'FAILED'>): boolean {
  return error.turn !== undefined && error.name === 'SEQUENCE_MISMATCH' && (context.controlOp?.sendings ?? 0) < 3
}

export function disposeAgain(context: Context, { error }: EventOf<'FAILED'>): Changes {
  const { turn } = error
  const { controlOp } = context
  if (turn === undefined || controlOp === null) return { outbox: [] }
  const again = { ...controlOp, seq: turn.nextSeq, challenge: turn.challenge }
  return sendControl({ ...context, controlOp: again }, 'dispose')
}

// ---- shared -----------------------------------------------------------------------------------------------------

function sendData(context: Context, seq: number, challenge: Uint8Array | null, request: SentRequest): Command {
  const { session } = context
  if (session === null || challenge === null) throw new Error('a request is sent in an open session')
  return { kind: 'send', attempt: session.attempt, slot: slot.data, seq, challenge, token: session.token, request }
}

function laneOf(turn: Turn): Lane {
  return { nextSeq: turn.nextSeq, challenge: turn.challenge, turnSeq: turn.nextSeq }
}

/** The newest turn wins; when nothing is out, the server's number is the one that counts. */
function turned(lane: Lane, turn: Turn, nothingOut: boolean): Lane {
  const newer = turn.nextSeq >= lane.turnSeq
  const turnSeq = newer ? turn.nextSeq : lane.turnSeq
  return { turnSeq, challenge: newer ? turn.challenge : lane.challenge, nextSeq: nothingOut ? turnSeq : lane.nextSeq }
}

/** A request that was sent too often in this session is taken to another. */
function tiredOf(context: Context, sendings: number): Changes {
  return sendings >= context.retry.sendingsMax ? { leave: true } : {}
}

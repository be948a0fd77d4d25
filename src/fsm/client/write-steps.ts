// Owns: the data slot of a write session: what goes out, what is repeated, when a write is answered.
// S2 Only landed, refused or unknown, from the session itself or a look-up that counts, answers a write.
// S3 A repeat of a request is the very same request: seq, challenge, content.
// Leaves out: numbers and window (write-window.ts), look-ups (allocate-steps.ts).
import type { Command, PendingWrite } from './client-session.types.ts'
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
import { chainAfterSend } from './token-chain.ts'
import {
  addWrite,
  awaits,
  changeWrite,
  isSettled,
  mergeParts,
  noteCursor,
  removeWrite,
  repeatWrites,
  sendQueued,
} from './write-window.ts'

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
    session: proven(context.session),
    window,
    data: turned(context.data, answer.turn, isSettled(window)),
    outbox: [{ kind: 'settled', id: write.id, outcome: { kind: 'landed', parts } }],
  }
  return fill(answered)
}

export function takeWriteError(context: Context, event: EventOf<'FAILED'>): Context {
  const { seq, error, way } = event
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
      return settle(context.window, { ...noteFailure(context, event), leave: true })
    case 'again': {
      const challenge = error.name === 'BAD_CHALLENGE' && turn !== undefined ? turn.challenge : write.challenge
      const sendings = sendingsOf(write, way)
      const window = changeWrite(context.window, seq, { state: 'again', challenge, sendings })
      return settle(window, { ...noteFailure(context, event), ...tiredOf(context, sendings) })
    }
    case 'resend': {
      const window = changeWrite(context.window, seq, { state: 'queued' })
      const hopeless = error.name === 'SEQUENCE_MISMATCH' && !awaits(window, error.expected)
      return settle(window, {
        ...noteFailure(context, event),
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

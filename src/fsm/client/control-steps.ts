// Owns: the control slot: extending the lease, ending the session.
import { slot } from '../../protocol/messages.ts'
import { judgeError } from './error-verdict.ts'
import { noteFailure } from './failure-steps.ts'
import { type Changes, type Context, type EventOf, turned } from './step-parts.ts'
import { isSettled, noteCursor } from './write-window.ts'

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

export function takeControlError(context: Context, event: EventOf<'FAILED'>): Changes {
  const { seq, error } = event
  const { controlOp } = context
  if (controlOp === null) return { outbox: [] }
  const { turn } = error
  const control = turn === undefined ? {} : { control: turned(context.control, turn, true) }
  switch (judgeError(error, seq, controlOp.sendings)) {
    case 'leave':
      return { ...noteFailure(context, event), leave: true, outbox: [] }
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

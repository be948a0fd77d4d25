// Owns: what an error means for the request it answers. Pure.
// V1 Only an error of the session itself, whose turn shows that the request was taken, refuses it; or an error of the
//    tier before the session, when the request was sent no other time: then it never ran.
// V2 A 503, a timeout, a lost connection leave the request unanswered: it is repeated, never judged.
// Leaves out: how often (client-session.machine.ts), what a refusal means for later writes (write-window.ts).
import type { ErrorName, TrunklineError } from '../../protocol/errors.ts'

/**
 * again: repeat the very same request. resend: ask the same with a new seq, in order. leave: the session is over here.
 * refused: answered, nothing of it happened. unknown: answered, and nobody can tell.
 */
export type Verdict = 'again' | 'resend' | 'leave' | 'refused' | 'unknown'

const sessionOver: ReadonlySet<ErrorName> = new Set([
  'SESSION_GONE',
  'SESSION_CLOSED',
  'BAD_SESSION_TOKEN',
  'DRAINING',
  'PRODUCER_FENCED',
  'WRONG_MODE',
  'UNAUTHENTICATED',
  'TOKEN_EXPIRED',
  'BAD_PROOF',
  'FORBIDDEN',
])

/** Defects between the two ends: the request may have run. */
const defects: ReadonlySet<ErrorName> = new Set(['INTERNAL', 'MALFORMED_FRAME'])

/** The number may be used up by the refusal: only a look-up in another session frees it. */
const storageErrors: ReadonlySet<ErrorName> = new Set(['STORAGE_FULL', 'STORAGE_FAILED'])

/** @param sendings how often the request was sent in this session. */
export function judgeError(error: TrunklineError, seq: number, sendings: number): Verdict {
  if (error.name === 'OUTCOME_UNKNOWN') return 'unknown'
  if (sessionOver.has(error.name)) return 'leave'
  if (error.name === 'SEQUENCE_MISMATCH') return judgeMismatch(error, seq)
  if (error.name === 'BAD_CHALLENGE') return error.turn === undefined ? 'leave' : 'again'
  const taken = error.turn !== undefined && error.turn.nextSeq > seq
  if (storageErrors.has(error.name) && taken) return 'leave'
  if (error.retryable || defects.has(error.name)) return taken ? 'resend' : 'again'
  if (taken) return 'refused'
  return sendings === 1 ? 'refused' : 'leave'
}

function judgeMismatch(error: TrunklineError, seq: number): Verdict {
  if (error.turn === undefined) return 'leave'
  if (error.details['of'] !== 'seq') return 'resend'
  // Behind: an earlier request of the window is still on its way. Ahead: the answer is no longer kept.
  return (error.expected ?? 0) <= seq ? 'again' : 'leave'
}

/** Errors to an allocate that carries a token, after which the old producer can only be given up. */
const producerLost: ReadonlySet<ErrorName> = new Set([
  'BAD_SESSION_TOKEN',
  'SESSION_GONE',
  'SESSION_CLOSED',
  'BAD_CURSOR',
  'CURSOR_FOREIGN',
  'CURSOR_VERSION',
  'CURSOR_OUT_OF_RANGE',
  'OUTCOME_UNKNOWN',
  'PRODUCER_FENCED',
])

/** retry: allocate again after a wait. forget: go on as a new producer. fatal: the gateway said no. */
export function judgeAllocateError(error: TrunklineError, resumes: boolean): 'retry' | 'forget' | 'fatal' {
  if (resumes && producerLost.has(error.name)) return 'forget'
  return error.retryable || defects.has(error.name) ? 'retry' : 'fatal'
}

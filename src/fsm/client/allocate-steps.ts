// Owns: allocating: what an allocate carries, which answer counts, what a new session goes on with.
// S1 Once a session is left, nothing more is sent in it, and its late answers mean nothing (design.md §3.6).
// S2 Only landed, refused or unknown, from the session itself or a look-up that counts, answers a write.
import { TrunklineError } from '../../protocol/errors.ts'
import { type AllocateReply, partState } from '../../protocol/messages.ts'
import type { ClientSessionInput, Command, Lane, PendingWrite } from './client-session.types.ts'
import { unknownOutcome } from './failure-steps.ts'
import { sendOp } from './read-steps.ts'
import { type Changes, type Context, type EventOf, laneOf } from './step-parts.ts'
import { answerCounts, emptyChain, tokenToResume } from './token-chain.ts'
import { fill } from './write-steps.ts'
import { emptyWindow, foundState, mergeParts, renumberWindow, unansweredWrites } from './write-window.ts'

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
      proven: false,
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

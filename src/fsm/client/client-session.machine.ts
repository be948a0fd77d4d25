// Owns: the client's session, the mirror of the server's: when to allocate, what goes out, what is repeated, when a
// write is answered. One actor per producer or reader; it outlives the sessions that it opens one after another.
// C1 What was sent in a session is repeated there unchanged or taken to the next by a resume; never both (S1).
// C2 An allocate's answer counts only under the token held now (token-chain.ts, rule 6).
// C3 Every wait is an `after` with a named delay; every retry is counted and bounded (RetryPolicy).
// C4 One way out: disposed, and its output says why; nothing is owed to the owner after it.
// Effects: `perform` carries out the commands of context.outbox, `unknownEvent` is loud. The steps are in
// *-steps.ts, one file a slot. Leaves out: payloads, transport, clock, randomness (jitter comes with events).
import { assign, setup } from 'xstate'
import { slot } from '../../protocol/messages.ts'
import { unprovided } from '../provided.ts'
import { adopt, counts, forgetAttempt, forgetProducer, initialContext, startAttempt } from './allocate-steps.ts'
import type {
  ClientSessionContext,
  ClientSessionEvent,
  ClientSessionInput,
  ClientSessionOutput,
  Command,
  EndReason,
} from './client-session.types.ts'
import {
  disposeAgain,
  extend,
  mayDisposeAgain,
  sendControl,
  takeControlAnswer,
  takeControlError,
} from './control-steps.ts'
import { judgeAllocateError } from './error-verdict.ts'
import { endSession, hasDemand, hasGivenUp, leaveSession, noteFailure } from './failure-steps.ts'
import { resumeOp, startOp, takeOpAnswer, takeOpError } from './read-steps.ts'
import type { Changes } from './step-parts.ts'
import { fill, resumeWriting, takeWrite, takeWriteAnswer, takeWriteError, writeOfSeq } from './write-steps.ts'
import { isSettled } from './write-window.ts'

const evenJitter = 0.5
const disposePatienceMs = 2_000

type Context = ClientSessionContext
type Event = ClientSessionEvent
type EventOf<T extends Event['type']> = Extract<Event, { type: T }>

interface StepArgs {
  readonly context: Context
  readonly event: Event
}

/** A step that one kind of event causes. */
function onEvent<T extends Event['type']>(type: T, step: (context: Context, event: EventOf<T>) => Changes) {
  return ({ context, event }: StepArgs): Changes => {
    if (event.type !== type) throw new Error(`a step for ${type} ran on ${event.type}`)
    return step(context, event as EventOf<T>)
  }
}

function isCurrent(context: Context, event: Event, at: number): boolean {
  if (event.type !== 'ANSWERED' && event.type !== 'FAILED') return false
  return event.slot === at && event.attempt === context.session?.attempt
}

function answersWrite({ context, event }: StepArgs): boolean {
  return isCurrent(context, event, slot.data) && 'seq' in event && writeOfSeq(context, event.seq) !== undefined
}

function answersOp({ context, event }: StepArgs): boolean {
  return (
    isCurrent(context, event, slot.data) &&
    'seq' in event &&
    context.op?.seq === event.seq &&
    context.op.state === 'sent'
  )
}

function answersControl({ context, event }: StepArgs): boolean {
  return isCurrent(context, event, slot.control) && 'seq' in event && context.controlOp?.seq === event.seq
}

export const clientSessionMachine = setup({
  types: {
    context: {} as Context,
    events: {} as Event,
    input: {} as ClientSessionInput,
    output: {} as ClientSessionOutput,
  },
  actions: {
    /** Carries out the commands, in order; `params` is the outbox of the step before it. */
    perform: (_, _commands: readonly Command[]) => unprovided('perform')(),
    unknownEvent: unprovided('unknownEvent'),
    want: assign({ wanted: true }),
    hold: assign(onEvent('POSITION', (_, { cursor }) => ({ position: cursor }))),
    startAttempt: assign(({ context }) => startAttempt(context)),
    adopt: assign(onEvent('ALLOCATED', adopt)),
    forgetAttempt: assign(({ context, event }) => ('attempt' in event ? forgetAttempt(context, event.attempt) : {})),
    noteAllocateFailure: assign(onEvent('ALLOCATE_FAILED', (context, event) => noteFailure(context, event))),
    notePatience: assign(({ context }) => noteFailure(context, { error: null, jitter: evenJitter })),
    forgetProducer: assign(onEvent('ALLOCATE_FAILED', (context, { error }) => forgetProducer(context, error))),
    noteFatal: assign(onEvent('ALLOCATE_FAILED', (_, { error }) => ({ lastError: error }))),
    leaveSession: assign(({ context }) => leaveSession(context)),
    takeWrite: assign(onEvent('WRITE', takeWrite)),
    takeWriteAndSend: assign(onEvent('WRITE', (context, event) => fill(takeWrite(context, event)))),
    takeWriteAnswer: assign(onEvent('ANSWERED', takeWriteAnswer)),
    takeWriteError: assign(onEvent('FAILED', takeWriteError)),
    resumeWriting: assign(({ context }) => resumeWriting(context)),
    startOp: assign(({ context, event }) => startOp(context, event)),
    takeOpAnswer: assign(onEvent('ANSWERED', takeOpAnswer)),
    takeOpError: assign(onEvent('FAILED', takeOpError)),
    resumeOp: assign(({ context }) => resumeOp(context)),
    loseOp: assign(({ event }) => ({
      outbox: [{ kind: 'lost' as const, op: event.type === 'NACK' ? ('nack' as const) : ('ack' as const) }],
    })),
    extend: assign(({ context }) => extend(context)),
    takeControlAnswer: assign(onEvent('ANSWERED', takeControlAnswer)),
    takeControlError: assign(onEvent('FAILED', takeControlError)),
    sendDispose: assign(({ context }) => sendControl(context, 'dispose')),
    disposeAgain: assign(onEvent('FAILED', disposeAgain)),
    end: assign(({ context }, { reason }: { reason: EndReason }) => endSession(context, reason)),
  },
  guards: {
    reads: ({ context }) => context.mode === 'read',
    counts: ({ context, event }) => event.type === 'ALLOCATED' && counts(context, event.attempt),
    countsAndReads: ({ context, event }) =>
      event.type === 'ALLOCATED' && context.mode === 'read' && counts(context, event.attempt),
    countsWithRead: ({ context, event }) =>
      event.type === 'ALLOCATED' && context.op !== null && context.mode === 'read' && counts(context, event.attempt),
    isOlderAttempt: ({ context, event }) => event.type === 'ALLOCATE_FAILED' && event.attempt !== context.attempt,
    losesProducer: ({ context, event }) =>
      event.type === 'ALLOCATE_FAILED' && judgeAllocateError(event.error, context.chain.held !== null) === 'forget',
    isRetryable: ({ context, event }) =>
      event.type === 'ALLOCATE_FAILED' && judgeAllocateError(event.error, context.chain.held !== null) === 'retry',
    answersWrite,
    answersOp,
    answersControl,
    hasGivenUp: ({ context }) => hasGivenUp(context),
    hasNoDemand: ({ context }) => !hasDemand(context),
    needsNoWait: ({ context }) => context.backoffMs === 0,
    mustLeave: ({ context }) => context.leave,
    mustRepeat: ({ context }) => context.window.writes.some((write) => write.state === 'again'),
    mustSettle: ({ context }) => context.goBack,
    isSettled: ({ context }) => isSettled(context.window),
    opIsDone: ({ context }) => context.op === null,
    opWaits: ({ context }) => context.op !== null && context.op.state !== 'sent',
    mayDisposeAgain: ({ context, event }) =>
      answersControl({ context, event }) && event.type === 'FAILED' && mayDisposeAgain(context, event),
  },
  delays: {
    backoff: ({ context }) => context.backoffMs,
    allocatePatience: ({ context }) => context.retry.allocatePatienceMs,
    keepAlive: ({ context }) => context.session?.keepAliveMs ?? 10_000,
    disposePatience: disposePatienceMs,
  },
}).createMachine({
  id: 'clientSession',
  context: ({ input }) => initialContext(input),
  output: ({ context }) => ({ reason: context.end, error: context.end === 'failed' ? context.lastError : null }),
  initial: 'disconnected',
  on: {
    POSITION: { actions: 'hold' },
    // Answers of sessions that were left and of attempts that no longer count (S1, C2).
    ANSWERED: {},
    FAILED: {},
    ALLOCATED: { actions: 'forgetAttempt' },
    ALLOCATE_FAILED: { actions: 'forgetAttempt' },
    REFRESH: {},
    '*': { actions: 'unknownEvent' },
  },
  states: {
    disconnected: {
      on: {
        OPEN: { target: 'allocating', actions: 'want' },
        WRITE: { target: 'allocating', actions: 'takeWrite' },
        READ: { target: 'allocating', actions: 'startOp' },
        ACK: { actions: ['loseOp', perform()] },
        NACK: { actions: ['loseOp', perform()] },
        DISPOSE: { target: 'disposed', actions: [{ type: 'end', params: { reason: 'disposed' } }, perform()] },
      },
    },
    allocating: {
      entry: ['startAttempt', perform()],
      after: {
        allocatePatience: [
          {
            guard: 'hasGivenUp',
            target: 'disposed',
            actions: [{ type: 'end', params: { reason: 'failed' } }, perform()],
          },
          { target: 'allocating', reenter: true, actions: 'notePatience' },
        ],
      },
      on: {
        OPEN: { actions: 'want' },
        WRITE: { actions: 'takeWrite' },
        READ: { guard: 'opIsDone', actions: 'startOp' },
        ACK: { actions: ['loseOp', perform()] },
        NACK: { actions: ['loseOp', perform()] },
        ALLOCATED: [
          { guard: 'countsWithRead', target: 'open.reading.exchanging', actions: ['adopt', perform()] },
          { guard: 'countsAndReads', target: 'open.reading', actions: ['adopt', perform()] },
          { guard: 'counts', target: 'open.writing', actions: ['adopt', perform()] },
          { actions: 'forgetAttempt' },
        ],
        ALLOCATE_FAILED: [
          { guard: 'isOlderAttempt', actions: 'forgetAttempt' },
          {
            guard: 'losesProducer',
            target: 'recovering',
            actions: ['noteAllocateFailure', 'forgetProducer', perform()],
          },
          { guard: 'isRetryable', target: 'recovering', actions: ['noteAllocateFailure', 'forgetAttempt'] },
          { target: 'disposed', actions: ['noteFatal', { type: 'end', params: { reason: 'failed' } }, perform()] },
        ],
        DISPOSE: { target: 'disposed', actions: [{ type: 'end', params: { reason: 'disposed' } }, perform()] },
      },
    },
    recovering: {
      entry: ['leaveSession', perform()],
      always: [
        {
          guard: 'hasGivenUp',
          target: 'disposed',
          actions: [{ type: 'end', params: { reason: 'failed' } }, perform()],
        },
        { guard: 'hasNoDemand', target: 'disconnected' },
        { guard: 'needsNoWait', target: 'allocating' },
      ],
      after: { backoff: { target: 'allocating' } },
      on: {
        OPEN: { actions: 'want' },
        WRITE: { actions: 'takeWrite' },
        ACK: { actions: ['loseOp', perform()] },
        NACK: { actions: ['loseOp', perform()] },
        READ: { guard: 'opIsDone', actions: 'startOp' },
        ALLOCATED: [
          { guard: 'countsWithRead', target: 'open.reading.exchanging', actions: ['adopt', perform()] },
          { guard: 'countsAndReads', target: 'open.reading', actions: ['adopt', perform()] },
          { guard: 'counts', target: 'open.writing', actions: ['adopt', perform()] },
          { actions: 'forgetAttempt' },
        ],
        DISPOSE: { target: 'disposed', actions: [{ type: 'end', params: { reason: 'disposed' } }, perform()] },
      },
    },
    open: {
      initial: 'writing',
      on: {
        OPEN: {},
        DISPOSE: { target: 'disposing' },
        REFRESH: { actions: ['extend', perform()] },
        ANSWERED: { guard: 'answersControl', actions: 'takeControlAnswer' },
        FAILED: { guard: 'answersControl', actions: 'takeControlError' },
      },
      states: {
        reading: {
          initial: 'idle',
          states: {
            idle: {
              always: { guard: 'mustLeave', target: '#clientSession.recovering' },
              after: { keepAlive: { target: 'idle', reenter: true, actions: ['extend', perform()] } },
              on: {
                READ: { target: 'exchanging', actions: ['startOp', perform()] },
                ACK: { target: 'exchanging', actions: ['startOp', perform()] },
                NACK: { target: 'exchanging', actions: ['startOp', perform()] },
              },
            },
            exchanging: {
              always: [
                { guard: 'mustLeave', target: '#clientSession.recovering' },
                { guard: 'opIsDone', target: 'idle' },
                { guard: 'opWaits', target: 'pausing' },
              ],
              on: {
                ANSWERED: { guard: 'answersOp', actions: ['takeOpAnswer', perform()] },
                FAILED: { guard: 'answersOp', actions: ['takeOpError', perform()] },
              },
            },
            pausing: {
              always: { guard: 'mustLeave', target: '#clientSession.recovering' },
              after: { backoff: { target: 'exchanging', actions: ['resumeOp', perform()] } },
            },
          },
        },
        writing: {
          initial: 'flowing',
          on: {
            WRITE: { actions: 'takeWrite' },
            ANSWERED: { guard: 'answersWrite', actions: ['takeWriteAnswer', perform()] },
            FAILED: { guard: 'answersWrite', actions: ['takeWriteError', perform()] },
          },
          states: {
            flowing: {
              always: [
                { guard: 'mustLeave', target: '#clientSession.recovering' },
                { guard: 'mustRepeat', target: 'pausing' },
                { guard: 'mustSettle', target: 'settling' },
              ],
              after: { keepAlive: { target: 'flowing', reenter: true, actions: ['extend', perform()] } },
              on: { WRITE: { actions: ['takeWriteAndSend', perform()] } },
            },
            settling: {
              always: [
                { guard: 'mustLeave', target: '#clientSession.recovering' },
                { guard: 'mustRepeat', target: 'pausing' },
                { guard: 'isSettled', target: 'pausing' },
              ],
            },
            pausing: {
              always: { guard: 'mustLeave', target: '#clientSession.recovering' },
              after: { backoff: { target: 'flowing', actions: ['resumeWriting', perform()] } },
            },
          },
        },
      },
    },
    disposing: {
      entry: ['sendDispose', perform()],
      after: {
        disposePatience: { target: 'disposed', actions: [{ type: 'end', params: { reason: 'disposed' } }, perform()] },
      },
      on: {
        OPEN: {},
        DISPOSE: {},
        ANSWERED: [
          {
            guard: 'answersControl',
            target: 'disposed',
            actions: [{ type: 'end', params: { reason: 'disposed' } }, perform()],
          },
          { guard: 'answersWrite', actions: ['takeWriteAnswer', perform()] },
        ],
        FAILED: [
          { guard: 'mayDisposeAgain', actions: ['disposeAgain', perform()] },
          {
            guard: 'answersControl',
            target: 'disposed',
            actions: [{ type: 'end', params: { reason: 'disposed' } }, perform()],
          },
        ],
      },
    },
    disposed: { type: 'final' },
  },
})

/** The action that carries out what the step before it decided. */
function perform(): { type: 'perform'; params: (args: { context: Context }) => readonly Command[] } {
  return { type: 'perform', params: ({ context }) => context.outbox }
}

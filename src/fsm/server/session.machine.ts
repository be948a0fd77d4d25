// Owns: the server's session: what a request may do now, and what follows from it. One actor per session; reader,
// writer and step are nested states (measured: a third of the memory of invoked actors).
// S1 A batch is delivered again, the very same, until its step is settled; one step is open at a time.
// S2 The position moves only by an ack (of a step, or of a prefix of it).
// S3 Writes are taken in the order of n: first what is missing, then nextN; each n is handed to the log once here.
// S4 After a refusal nothing further is taken until everything in flight has settled; then what was refused or held is due
//    again, lowest first. So a client that pipelines goes on only when it has seen the refusal (design.md §3.1).
// S5 One way out: closing waits for what is in flight, then closed says why.
// Effects are actions the tier provides (startFetch, deliver, …); turns and cached replies are the tier's (conversation.ts).
// Leaves out: bytes, positions, leases (one sweep per node sends LEASE_EXPIRED), who may call.
import { assign, setup } from 'xstate'
import { nothing, unprovided } from '../provided.ts'
import type {
  CloseReason,
  RequestRef,
  SessionContext,
  SessionEvent,
  SessionInput,
  SessionOutput,
} from './session.types.ts'

type RefusalName =
  | 'SEQUENCE_MISMATCH'
  | 'NOTHING_TO_ACK'
  | 'ACK_RANGE'
  | 'WINDOW_FULL'
  | 'WRITE_HELD'
  | 'STEP_BUSY'
  | 'SESSION_GONE'
export interface Refusal {
  readonly error: RefusalName
  readonly expected: number | null
}

const isRequest = (event: SessionEvent): event is Extract<SessionEvent, { request: RequestRef }> => 'request' in event

/** The number the next write must carry. */
export function expectedN(context: SessionContext): number {
  return context.expected[0] ?? context.nextN
}

const without = (numbers: readonly number[], n: number): readonly number[] => numbers.filter((other) => other !== n)

export const sessionMachine = setup({
  types: {
    context: {} as SessionContext,
    events: {} as SessionEvent,
    input: {} as SessionInput,
    output: {} as SessionOutput,
  },
  actions: {
    /** Starts fetching for the READ in `event` (from the position that acks have reached). */
    startFetch: unprovided('startFetch'),
    /** Starts the fetch of the READ that waited for the rest to end. */
    startRestedFetch: unprovided('startRestedFetch'),
    /** Answers the fetched batch (FETCHED); the batch is kept until it is settled. */
    deliver: unprovided('deliver'),
    /** Answers the kept batch again. */
    redeliver: unprovided('redeliver'),
    /** FETCH_FAILED: answers the error. */
    failFetch: unprovided('failFetch'),
    /** Moves the position: whole batch, or `count` events of it. */
    movePosition: unprovided('movePosition'),
    answerAck: unprovided('answerAck'),
    answerNack: unprovided('answerNack'),
    answerExtend: unprovided('answerExtend'),
    /** WRITE without commit: keeps the checked write, answers staged. */
    stage: unprovided('stage'),
    /** WRITE with commit, or PUBLISH: hands the write to the log; answered when SETTLED. */
    publish: unprovided('publish'),
    /** SETTLED: answers the write. */
    answerWrite: unprovided('answerWrite'),
    /** A number that was taken already: answers as the first time, or WRITE_CHANGED. */
    repeatWrite: unprovided('repeatWrite'),
    /** A repeated ack of a step that is settled: the same answer. */
    repeatAck: unprovided('repeatAck'),
    /** The window is open again after a refusal. */
    reopenWindow: unprovided('reopenWindow'),
    refuse: (_, _params: Refusal) => nothing(),
    /** Aborts what waits, drops what is staged; then QUIET when nothing is in flight. */
    windDown: unprovided('windDown'),
    /** Last act: answers everything still owed. */
    settle: unprovided('settle'),
    unknownEvent: unprovided('unknownEvent'),
    countStep: assign(({ event }) => (event.type === 'FETCHED' ? { unacked: event.count } : {})),
    openStep: assign(({ event }) => (event.type === 'READ' ? { step: event.n, unacked: 0, settled: null } : {})),
    settleEmpty: assign(({ context }) => ({ settled: { n: context.step, count: 0, how: 'empty' as const } })),
    /** A fetch that failed leaves no step behind: the same n is read again. */
    undoStep: assign(({ context }) => ({
      step: context.step - 1,
      unacked: 0,
      settled: { n: context.step - 1, count: 0, how: 'empty' as const },
    })),
    settleAck: assign(({ context, event }) => ({
      unacked: 0,
      deliveries: 0,
      settled: {
        n: context.step,
        count: event.type === 'ACK' ? (event.count ?? context.unacked) : context.unacked,
        how: 'ack' as const,
      },
    })),
    settleNack: assign(({ context, event }) => ({
      unacked: 0,
      deliveries: context.deliveries + 1,
      restMs: event.type === 'NACK' ? event.restMs : 0,
      settled: { n: context.step, count: 0, how: 'nack' as const },
    })),
    takeStaged: assign(({ context, event }) => {
      if (event.type !== 'WRITE') return {}
      return { ...takeNumber(context, event.n), staged: [...context.staged, { n: event.n, bytes: event.bytes }] }
    }),
    takeCommitted: assign(({ context, event }) => {
      if (event.type !== 'WRITE') return {}
      return { ...takeNumber(context, event.n), inFlight: [...context.inFlight, { n: event.n, bytes: event.bytes }] }
    }),
    unstage: assign(({ context, event }) => {
      if (event.type !== 'PUBLISH') return {}
      const write = context.staged.find(({ n }) => n === event.n)
      if (write === undefined) return {}
      return { staged: context.staged.filter((other) => other !== write), inFlight: [...context.inFlight, write] }
    }),
    land: assign(({ context, event }) =>
      event.type === 'SETTLED' ? { inFlight: context.inFlight.filter(({ n }) => n !== event.n) } : {},
    ),
    hold: assign(({ context, event }) => {
      if (event.type !== 'SETTLED' || event.how === 'landed') return {}
      return { held: [...without(context.held, event.n), event.n].sort((a, b) => a - b) }
    }),
    /** What was held or staged behind a refusal must be sent again, in order. */
    reopen: assign(({ context }) => ({
      expected: [...new Set([...context.held, ...context.staged.map(({ n }) => n), ...context.expected])].sort(
        (a, b) => a - b,
      ),
      held: [],
      staged: [],
    })),
    takeOver: assign(({ event }) =>
      event.type === 'TAKEN_OVER' ? { expected: event.missing, nextN: event.nextN } : {},
    ),
    closeBecause: assign((_, { reason }: { reason: CloseReason }) => ({ closeReason: reason })),
  },
  guards: {
    reads: ({ context }) => context.mode === 'read',
    isNextStep: ({ context, event }) =>
      event.type === 'READ' && event.n === context.step + 1 && (event.ackOf === null || event.ackOf === context.step),
    isNextStepWithAck: ({ context, event }) =>
      event.type === 'READ' && event.n === context.step + 1 && event.ackOf === context.step,
    isSameStep: ({ context, event }) => event.type === 'READ' && event.n === context.step && context.step > 0,
    /** While a batch rests, only a read opens a step. */
    readWaits: ({ context }) => context.settled === null,
    isEmpty: ({ event }) => event.type === 'FETCHED' && event.count === 0,
    acksOpenStep: ({ context, event }) =>
      event.type === 'ACK' &&
      event.n === context.step &&
      (event.count === null || (event.count >= 1 && event.count <= context.unacked)),
    acksOutOfRange: ({ context, event }) => event.type === 'ACK' && event.n === context.step,
    nacksOpenStep: ({ context, event }) => event.type === 'NACK' && event.n === context.step,
    repeatsAck: ({ context, event }) =>
      event.type === 'ACK' &&
      context.settled !== null &&
      context.settled.how === 'ack' &&
      context.settled.n === event.n &&
      (event.count === null || event.count === context.settled.count),
    acksEmptyStep: ({ context, event }) =>
      event.type === 'ACK' && context.step > 0 && context.settled?.how === 'empty' && context.settled.n === event.n,
    isTaken: ({ context, event }) => (event.type === 'WRITE' || event.type === 'PUBLISH') && wasTaken(context, event.n),
    isNotDue: ({ context, event }) => event.type === 'WRITE' && event.n !== expectedN(context),
    isTooMuch: ({ context, event }) => event.type === 'WRITE' && !fitsWindow(context, event.bytes),
    stages: ({ event }) => event.type === 'WRITE' && !event.commit,
    publishesLowest: ({ context, event }) => event.type === 'PUBLISH' && lowestStaged(context) === event.n,
    /** A commit overtakes nothing that is staged: what is staged lower is published first. */
    overtakesStaged: ({ context, event }) =>
      (event.type === 'WRITE' && context.staged.length > 0) ||
      (event.type === 'PUBLISH' && context.staged.some(({ n }) => n < event.n)),
    isRefused: ({ event }) => event.type === 'SETTLED' && event.how !== 'landed',
    isLast: ({ context, event }) => isLast(context, event),
    isLastAndRefused: ({ context, event }) =>
      event.type === 'SETTLED' && event.how !== 'landed' && isLast(context, event),
  },
  delays: { rest: ({ context }) => context.restMs },
}).createMachine({
  id: 'session',
  context: ({ input }) => ({
    ...input,
    step: 0,
    unacked: 0,
    settled: null,
    deliveries: 0,
    restMs: 0,
    expected: [],
    nextN: 1,
    staged: [],
    inFlight: [],
    held: [],
    closeReason: null,
  }),
  output: ({ context }) => ({ reason: context.closeReason ?? 'failed' }),
  initial: 'allocating',
  on: { '*': { actions: 'unknownEvent' } },
  states: {
    allocating: {
      on: {
        PREPARED: [{ guard: 'reads', target: 'open.reading' }, { target: 'open.writing' }],
        TAKE_OVER: { target: 'takingOver' },
      },
    },
    // Release, fence, look up run outside; nothing of this session is at the log yet, so it may end at once.
    takingOver: {
      on: {
        TAKEN_OVER: { target: 'open.writing', actions: 'takeOver' },
        FAILED: { target: 'closed', actions: { type: 'closeBecause', params: { reason: 'failed' } } },
        LEASE_EXPIRED: { target: 'closed', actions: { type: 'closeBecause', params: { reason: 'expired' } } },
        SUPERSEDE: { target: 'closed', actions: { type: 'closeBecause', params: { reason: 'superseded' } } },
        RELEASE: { target: 'closed', actions: { type: 'closeBecause', params: { reason: 'released' } } },
        NODE_CLOSED: { target: 'closed', actions: { type: 'closeBecause', params: { reason: 'node-closed' } } },
      },
    },
    open: {
      // Always entered by a full path: PREPARED and TAKEN_OVER name the mode.
      initial: 'reading',
      on: {
        EXTEND: { actions: 'answerExtend' },
        DISPOSE: { target: 'closing', actions: { type: 'closeBecause', params: { reason: 'disposed' } } },
        LEASE_EXPIRED: { target: 'closing', actions: { type: 'closeBecause', params: { reason: 'expired' } } },
        RELEASE: { target: 'closing', actions: { type: 'closeBecause', params: { reason: 'released' } } },
        SUPERSEDE: { target: 'closing', actions: { type: 'closeBecause', params: { reason: 'superseded' } } },
        NODE_CLOSED: { target: 'closing', actions: { type: 'closeBecause', params: { reason: 'node-closed' } } },
      },
      states: {
        reading: {
          initial: 'idle',
          on: {
            READ: {
              actions: { type: 'refuse', params: ({ context }) => refusal('SEQUENCE_MISMATCH', context.step + 1) },
            },
            ACK: { actions: { type: 'refuse', params: refusal('NOTHING_TO_ACK', null) } },
            NACK: { actions: { type: 'refuse', params: refusal('NOTHING_TO_ACK', null) } },
          },
          states: {
            idle: {
              on: {
                READ: [
                  { guard: 'isNextStep', target: 'fetching', actions: ['openStep', 'startFetch'] },
                  { guard: 'isSameStep', actions: 'redeliver' },
                  {
                    actions: {
                      type: 'refuse',
                      params: ({ context }) => refusal('SEQUENCE_MISMATCH', context.step + 1),
                    },
                  },
                ],
                ACK: [
                  { guard: 'repeatsAck', actions: 'repeatAck' },
                  { guard: 'acksEmptyStep', actions: 'repeatAck' },
                  { actions: { type: 'refuse', params: refusal('NOTHING_TO_ACK', null) } },
                ],
              },
            },
            fetching: {
              on: {
                FETCHED: [
                  { guard: 'isEmpty', target: 'idle', actions: ['settleEmpty', 'deliver'] },
                  { target: 'delivered', actions: ['countStep', 'deliver'] },
                ],
                FETCH_FAILED: { target: 'idle', actions: ['undoStep', 'failFetch'] },
                // The data slot runs one request at a time; these come only from a client that ignores turns.
                READ: { actions: { type: 'refuse', params: refusal('STEP_BUSY', null) } },
              },
            },
            delivered: {
              on: {
                READ: [
                  {
                    guard: 'isNextStepWithAck',
                    target: 'fetching',
                    actions: ['movePosition', 'settleAck', 'openStep', 'startFetch'],
                  },
                  { guard: 'isSameStep', actions: 'redeliver' },
                  { actions: { type: 'refuse', params: ({ context }) => refusal('SEQUENCE_MISMATCH', context.step) } },
                ],
                ACK: [
                  { guard: 'acksOpenStep', target: 'idle', actions: ['movePosition', 'settleAck', 'answerAck'] },
                  {
                    guard: 'acksOutOfRange',
                    actions: { type: 'refuse', params: ({ context }) => refusal('ACK_RANGE', context.unacked) },
                  },
                  { actions: { type: 'refuse', params: refusal('NOTHING_TO_ACK', null) } },
                ],
                NACK: [
                  { guard: 'nacksOpenStep', target: 'resting', actions: ['settleNack', 'answerNack'] },
                  { actions: { type: 'refuse', params: refusal('NOTHING_TO_ACK', null) } },
                ],
              },
            },
            resting: {
              initial: 'quiet',
              after: {
                rest: [{ guard: 'readWaits', target: 'fetching', actions: 'startRestedFetch' }, { target: 'idle' }],
              },
              states: {
                quiet: {
                  on: {
                    ACK: [
                      { guard: 'acksEmptyStep', actions: 'repeatAck' },
                      { actions: { type: 'refuse', params: refusal('NOTHING_TO_ACK', null) } },
                    ],
                    READ: [
                      { guard: 'isNextStep', target: 'wanted', actions: 'openStep' },
                      {
                        actions: {
                          type: 'refuse',
                          params: ({ context }) => refusal('SEQUENCE_MISMATCH', context.step + 1),
                        },
                      },
                    ],
                  },
                },
                // A read that came while the batch rests: it is fetched when the rest is over, or its own wait ends first.
                wanted: {
                  on: { FETCHED: { guard: 'isEmpty', target: 'quiet', actions: ['settleEmpty', 'deliver'] } },
                },
              },
            },
          },
        },
        writing: {
          initial: 'ready',
          on: {
            WRITE: [
              { guard: 'isTaken', actions: 'repeatWrite' },
              {
                guard: 'isNotDue',
                actions: { type: 'refuse', params: ({ context }) => refusal('SEQUENCE_MISMATCH', expectedN(context)) },
              },
              { guard: 'isTooMuch', actions: { type: 'refuse', params: refusal('WINDOW_FULL', null) } },
              { guard: 'stages', actions: ['takeStaged', 'stage'] },
              {
                guard: 'overtakesStaged',
                actions: {
                  type: 'refuse',
                  params: ({ context }) => refusal('SEQUENCE_MISMATCH', lowestStaged(context)),
                },
              },
              { target: '.publishing', actions: ['takeCommitted', 'publish'] },
            ],
            PUBLISH: [
              { guard: 'publishesLowest', target: '.publishing', actions: ['unstage', 'publish'] },
              {
                guard: 'overtakesStaged',
                actions: {
                  type: 'refuse',
                  params: ({ context }) => refusal('SEQUENCE_MISMATCH', lowestStaged(context)),
                },
              },
              { guard: 'isTaken', actions: 'repeatWrite' },
              { actions: { type: 'refuse', params: refusal('NOTHING_TO_ACK', null) } },
            ],
          },
          states: {
            ready: {},
            publishing: {
              on: {
                SETTLED: [
                  {
                    guard: 'isLastAndRefused',
                    target: 'ready',
                    actions: ['hold', 'land', 'reopen', 'answerWrite', 'reopenWindow'],
                  },
                  { guard: 'isRefused', target: 'held', actions: ['hold', 'land', 'answerWrite'] },
                  { guard: 'isLast', target: 'ready', actions: ['land', 'answerWrite'] },
                  { actions: ['land', 'answerWrite'] },
                ],
              },
            },
            held: {
              on: {
                WRITE: [
                  { guard: 'isTaken', actions: 'repeatWrite' },
                  { actions: { type: 'refuse', params: refusal('WRITE_HELD', null) } },
                ],
                PUBLISH: { actions: { type: 'refuse', params: refusal('WRITE_HELD', null) } },
                SETTLED: [
                  {
                    guard: 'isLast',
                    target: 'ready',
                    actions: ['hold', 'land', 'reopen', 'answerWrite', 'reopenWindow'],
                  },
                  { actions: ['hold', 'land', 'answerWrite'] },
                ],
              },
            },
          },
        },
      },
    },
    closing: {
      entry: 'windDown',
      on: {
        SETTLED: { actions: ['land', 'answerWrite'] },
        FETCHED: {},
        FETCH_FAILED: {},
        QUIET: { target: 'closed' },
        LEASE_EXPIRED: {},
        RELEASE: {},
        SUPERSEDE: {},
        NODE_CLOSED: {},
        '*': [
          {
            guard: ({ event }) => isRequest(event),
            actions: { type: 'refuse', params: refusal('SESSION_GONE', null) },
          },
          { actions: 'unknownEvent' },
        ],
      },
    },
    closed: { type: 'final', entry: 'settle' },
  },
})

function refusal(error: RefusalName, expected: number | null): Refusal {
  return { error, expected }
}

function lowestStaged(context: SessionContext): number | null {
  return context.staged[0]?.n ?? null
}

function isLast(context: SessionContext, event: SessionEvent): boolean {
  return event.type === 'SETTLED' && context.inFlight.every(({ n }) => n === event.n)
}

function takeNumber(context: SessionContext, n: number): Partial<SessionContext> {
  return context.expected[0] === n ? { expected: context.expected.slice(1) } : { nextN: n + 1 }
}

/** Taken and not to be sent again: staged, in flight, or settled as landed or refused. */
function wasTaken(context: SessionContext, n: number): boolean {
  return n < context.nextN && n > 0 && !context.expected.includes(n) && !context.held.includes(n)
}

function fitsWindow(context: SessionContext, bytes: number): boolean {
  const open = [...context.staged, ...context.inFlight]
  if (open.length === 0) return true
  return (
    open.length < context.windowWrites && open.reduce((sum, write) => sum + write.bytes, bytes) <= context.windowBytes
  )
}

// The server's session machine, driven through every (state, event) of a bounded scope by tests generated from it.

import { describe, expect, it } from 'vitest'
import type { SnapshotFrom } from 'xstate'
import { expectedN, sessionMachine } from '../../../../src/fsm/server/session.machine.ts'
import type { SessionContext, SessionEvent, SessionInput } from '../../../../src/fsm/server/session.types.ts'
import { parseSessionId } from '../../../../src/protocol/ids.ts'
import { walkMachine } from '../../../support/machine-coverage.ts'

type Snapshot = SnapshotFrom<typeof sessionMachine>

const request = { slot: 0, seq: 1 }
const input = (mode: 'read' | 'write'): SessionInput => ({
  sessionId: parseSessionId('session-1'),
  mode,
  windowWrites: 3,
  windowBytes: 30,
})

/** Every effect, recorded; none does anything. */
function recorded(): { machine: typeof sessionMachine; effects: string[] } {
  const effects: string[] = []
  const names = [
    'startFetch',
    'startRestedFetch',
    'deliver',
    'redeliver',
    'failFetch',
    'movePosition',
    'answerAck',
    'answerNack',
    'answerExtend',
    'stage',
    'publish',
    'answerWrite',
    'repeatWrite',
    'repeatAck',
    'reopenWindow',
    'windDown',
    'settle',
    'unknownEvent',
  ] as const
  const actions = Object.fromEntries(names.map((name) => [name, () => void effects.push(name)]))
  const refuse = (_: unknown, { error }: { error: string }): void => void effects.push(`refuse ${error}`)
  return {
    machine: sessionMachine.provide({ actions: { ...actions, refuse } } as Parameters<
      typeof sessionMachine.provide
    >[0]),
    effects,
  }
}

const ends: SessionEvent[] = [
  { type: 'DISPOSE', request },
  { type: 'LEASE_EXPIRED' },
  { type: 'RELEASE' },
  { type: 'SUPERSEDE' },
  { type: 'NODE_CLOSED' },
  { type: 'QUIET' },
  { type: 'EXTEND', request },
]
const starts: SessionEvent[] = [
  { type: 'PREPARED' },
  { type: 'TAKE_OVER' },
  { type: 'TAKEN_OVER', missing: [1, 2], nextN: 3 },
  { type: 'FAILED', error: 'PENDING' },
]
const readings: SessionEvent[] = [
  ...[1, 2, 3].flatMap((n) => [null, 1, 2].map((ackOf): SessionEvent => ({ type: 'READ', request, n, ackOf }))),
  { type: 'FETCHED', request, count: 0 },
  { type: 'FETCHED', request, count: 2 },
  { type: 'FETCH_FAILED', request, error: 'BLOCK_DAMAGED' },
  ...[1, 2].flatMap((n) => [null, 1, 3].map((count): SessionEvent => ({ type: 'ACK', request, n, count }))),
  { type: 'NACK', request, n: 1, restMs: 5 },
  { type: 'NACK', request, n: 2, restMs: 0 },
  { type: 'xstate.after.rest.session.open.reading.resting' } as unknown as SessionEvent,
]
const writings: SessionEvent[] = [
  { type: 'WRITE', request, n: 2, bytes: 25, commit: true },
  ...[1, 2, 3].flatMap((n) =>
    [true, false].map((commit): SessionEvent => ({ type: 'WRITE', request, n, bytes: 10, commit })),
  ),
  ...[1, 2, 3].map((n): SessionEvent => ({ type: 'PUBLISH', request, n })),
  ...[1, 2, 3].flatMap((n) =>
    (['landed', 'refused', 'held'] as const).map((how): SessionEvent => ({ type: 'SETTLED', n, how })),
  ),
]

/** What a tier can really send in a state: an answer only to what is out. */
const possible = (snapshot: Snapshot, event: SessionEvent): boolean =>
  event.type !== 'SETTLED' || snapshot.context.inFlight.some(({ n }) => n === event.n)

describe('the session machine', () => {
  it('reaches every state and takes every transition', () => {
    const { machine } = recorded()
    const reader = walkMachine(machine, {
      input: input('read'),
      events: (at) => [...starts, ...readings, ...ends].filter((event) => possible(at, event)),
      expand: ({ context }) => context.step <= 3 && context.deliveries < 2,
    })
    const writer = walkMachine(machine, {
      input: input('write'),
      events: (at) => [...starts, ...writings, ...ends].filter((event) => possible(at, event)),
      expand: ({ context }) => context.nextN <= 4,
    })
    const both = (of: 'unreachedStates' | 'uncoveredTransitions'): string[] =>
      reader[of].filter((name) => writer[of].includes(name))
    expect(both('unreachedStates')).toEqual([])
    expect(both('uncoveredTransitions')).toEqual([])
  })

  it('keeps its invariants at every step of a writer', () => {
    const { machine } = recorded()
    walkMachine(machine, {
      input: input('write'),
      events: (at) => [...starts, ...writings, ...ends].filter((event) => possible(at, event)),
      expand: ({ context }) => context.nextN <= 4,
      check: (before, event, after) => writerHolds(before.context, event, after.context),
    })
  })

  it('keeps its invariants at every step of a reader', () => {
    const { machine, effects } = recorded()
    walkMachine(machine, {
      input: input('read'),
      events: (at) => [...starts, ...readings, ...ends].filter((event) => possible(at, event)),
      expand: ({ context }) => context.step <= 3 && context.deliveries < 2,
      check: (before, event, after) => {
        const did = effects.splice(0)
        // S2: the position moves by an ack of the open step only.
        if (did.includes('movePosition')) {
          expect(before.context.unacked).toBeGreaterThan(0)
          expect(event.type === 'ACK' ? event.n : event.type === 'READ' ? event.ackOf : -1).toBe(before.context.step)
        }
        // S1: one step is open at a time.
        expect(after.context.step - before.context.step).toBeLessThanOrEqual(1)
        // Whoever asks is answered once, or has started something that will answer.
        if ('request' in event && before.status === 'active' && before.matches('open')) {
          const answers = did.filter((name) =>
            /^(refuse|deliver|redeliver|failFetch|answer|repeatAck|startFetch|windDown|unknownEvent)/.test(name),
          )
          if (!(event.type === 'READ' && after.matches({ open: { reading: { resting: 'wanted' } } })))
            expect(answers.length, `${event.type} ${did.join()}`).toBe(1)
        }
      },
    })
  })

  it('is loud about an event that no state knows', () => {
    const { machine, effects } = recorded()
    walkMachine(machine, {
      input: input('read'),
      events: [{ type: 'TAKEN_OVER', missing: [], nextN: 1 }],
      expand: () => true,
    })
    expect(effects).toContain('unknownEvent')
  })
})

function writerHolds(before: SessionContext, event: SessionEvent, after: SessionContext): void {
  // S3: a number is handed over once, in order, and only the number that is due is taken.
  const open = [...after.staged, ...after.inFlight].map(({ n }) => n)
  expect(new Set(open).size).toBe(open.length)
  const taken = open.filter((n) => ![...before.staged, ...before.inFlight].some((write) => write.n === n))
  if (event.type === 'WRITE' && taken.length > 0) expect(taken).toEqual([expectedN(before)])
  if (event.type !== 'WRITE') expect(taken).toEqual([])
  // What is staged never overtakes what is in flight below it, and nothing in flight passes something staged.
  const lowestStaged = Math.min(...after.staged.map(({ n }) => n))
  for (const { n } of after.inFlight) expect(n).toBeLessThan(lowestStaged)
  // S4: after a refusal nothing is taken until everything has settled.
  if (before.held.length > 0) expect(taken).toEqual([])
  // A number is due, open, or settled: never due and open at once.
  for (const n of after.expected) expect(open).not.toContain(n)
  expect(after.nextN).toBeGreaterThanOrEqual(before.nextN === 1 && event.type === 'TAKEN_OVER' ? 1 : before.nextN)
}

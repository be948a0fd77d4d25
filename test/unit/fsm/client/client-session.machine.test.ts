// The client's session machine, driven through every (state, event) of a bounded scope by tests generated from it.
import { beforeAll, describe, expect, it } from 'vitest'
import type { SnapshotFrom } from 'xstate'
import { clientSessionMachine } from '../../../../src/fsm/client/client-session.machine.ts'
import type {
  ClientSessionContext,
  ClientSessionEvent,
  ClientSessionInput,
  Command,
} from '../../../../src/fsm/client/client-session.types.ts'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import { defaultLimits } from '../../../../src/protocol/limits.ts'
import { type AllocateReply, partState, slot, type Turn } from '../../../../src/protocol/messages.ts'
import { type Walk, walkMachine } from '../../../support/machine-coverage.ts'

type Snapshot = SnapshotFrom<typeof clientSessionMachine>

const jitter = 0.5
const challenge = new Uint8Array(1)
const input = (mode: 'read' | 'write', attemptsMax: number): ClientSessionInput => ({
  mode,
  retry: { attemptsMax, backoffMsMin: 50, backoffMsMax: 100, allocatePatienceMs: 1_000, sendingsMax: 2 },
  keepAliveMs: null,
  windowWrites: 2,
  cursor: null,
})

function turnAfter(seq: number): Turn {
  return { nextSeq: seq + 1, challenge, leaseMs: 1 }
}

function error(name: ConstructorParameters<typeof TrunklineError>[0], seq?: number): TrunklineError {
  return new TrunklineError(name, seq === undefined ? {} : { turn: turnAfter(seq) })
}

function reply(context: ClientSessionContext, attempt: number, state: number): AllocateReply {
  const outcomes = context.window.writes
    .filter(({ n }) => n > 0)
    .map(({ n, partitions }) => ({
      n,
      parts: partitions.map((partition, part) => ({ part, partition, state, offset: 0 })),
    }))
  return {
    session: Uint8Array.of(attempt),
    secret: new Uint8Array(),
    turn: turnAfter(0),
    sessionId: 'session-1',
    partitions: 2,
    limits: { ...defaultLimits, windowWrites: 2 },
    expiresAtMs: 0,
    outcomes,
  }
}

const afters = [
  'xstate.after.allocatePatience.clientSession.allocating',
  'xstate.after.backoff.clientSession.recovering',
  'xstate.after.keepAlive.clientSession.open.reading.idle',
  'xstate.after.backoff.clientSession.open.reading.pausing',
  'xstate.after.keepAlive.clientSession.open.writing.flowing',
  'xstate.after.backoff.clientSession.open.writing.pausing',
  'xstate.after.disposePatience.clientSession.disposing',
] as const

/** Everything that may come in this state, late and repeated answers among it. */
function eventsIn({ context, value }: Snapshot): ClientSessionEvent[] {
  const { attempt, mode, session, window, op, controlOp } = context
  const events: ClientSessionEvent[] = [{ type: 'OPEN' }, { type: 'DISPOSE' }, { type: 'REFRESH' }]
  const at = `clientSession.${pathOf(value)}`
  for (const type of afters) if (type.endsWith(at)) events.push({ type } as unknown as ClientSessionEvent)
  for (const made of [...context.attempts.map((one) => one.attempt), 99]) {
    const states =
      mode === 'write' && window.writes.length > 0
        ? [partState.landed, partState.missing, partState.unknown]
        : [partState.landed]
    for (const state of states) events.push({ type: 'ALLOCATED', attempt: made, reply: reply(context, made, state) })
    for (const name of made === attempt
      ? (['UNAVAILABLE', 'BAD_SESSION_TOKEN', 'UNKNOWN_TOPIC'] as const)
      : (['UNAVAILABLE'] as const)) {
      events.push({ type: 'ALLOCATE_FAILED', attempt: made, error: error(name), jitter })
    }
  }
  if (mode === 'write' && window.writes.length < 2)
    events.push({ type: 'WRITE', id: window.writes[0]?.id === 1 ? 2 : 1, partitions: [0], bytes: 1 })
  if (mode === 'read' && op === null)
    events.push({ type: 'READ' }, { type: 'ACK', count: 1 }, { type: 'NACK', delayMs: 1 })
  if (mode === 'read' && attempt === 0) events.push({ type: 'POSITION', cursor: Uint8Array.of(7) })
  const current = session?.attempt ?? 0
  const answer = (at: number, seq: number, of = current): void => {
    events.push({
      type: 'ANSWERED',
      attempt: of,
      slot: at,
      seq,
      answer: { turn: turnAfter(seq), count: 1, parts: [], writeCursor: challenge },
    })
  }
  const fail = (at: number, seq: number, of: TrunklineError): void => {
    events.push({ type: 'FAILED', attempt: current, slot: at, seq, error: of, jitter })
  }
  const out = [
    ...window.writes.filter(({ state }) => state !== 'queued').map(({ seq }) => seq),
    ...(op?.state === 'sent' ? [op.seq] : []),
  ]
  for (const seq of out) {
    answer(slot.data, seq)
    fail(slot.data, seq, error('UNAVAILABLE'))
    fail(slot.data, seq, error('SESSION_GONE'))
    fail(slot.data, seq, error('WRITE_HELD', seq))
    fail(slot.data, seq, error('BAD_BLOCK', seq))
    fail(slot.data, seq, error('OUTCOME_UNKNOWN', seq))
    fail(slot.data, seq, error('BAD_CHALLENGE', seq - 1))
  }
  if (controlOp !== null) {
    answer(slot.control, controlOp.seq)
    fail(slot.control, controlOp.seq, error('UNAVAILABLE'))
    fail(slot.control, controlOp.seq, error('SESSION_GONE'))
    fail(slot.control, controlOp.seq, error('SEQUENCE_MISMATCH', controlOp.seq))
  }
  answer(slot.data, 1, 98)
  events.push({ type: 'FAILED', attempt: 98, slot: slot.data, seq: 1, error: error('SESSION_GONE'), jitter })
  return events
}

function pathOf(value: unknown): string {
  if (typeof value === 'string') return value
  const [entry] = Object.entries(value as Record<string, unknown>)
  return entry === undefined ? '' : `${entry[0]}.${pathOf(entry[1])}`
}

/** Two sessions, a few requests each: enough for every transition. */
function expand({ context, status }: Snapshot): boolean {
  const { attempt, data, control, window } = context
  const fewRequests = control.nextSeq === 1 ? data.nextSeq <= 3 : control.nextSeq <= 2 && data.nextSeq <= 2
  return status === 'active' && attempt <= 2 && fewRequests && window.nextN <= 3
}

/** Several allocates beside each other, before anything is open. */
function expandAllocating(snapshot: Snapshot): boolean {
  return snapshot.status === 'active' && snapshot.context.attempt <= 4 && !snapshot.matches('open')
}

/** What decides about the future; not what was said on the way. */
function keyOf({ value, context, status }: Snapshot): string {
  const { outbox: _, lastError: __, backoffMs, ...rest } = context
  return JSON.stringify([status, value, backoffMs > 0, rest])
}

type Check = (before: Snapshot, event: ClientSessionEvent, after: Snapshot, commands: readonly Command[]) => void

function walk(
  mode: 'read' | 'write',
  within: (snapshot: Snapshot) => boolean,
  attemptsMax: number,
  check: Check,
): Walk {
  const commands: Command[] = []
  const unknown: string[] = []
  const machine = clientSessionMachine.provide({
    actions: {
      perform: (_, made) => void commands.push(...made),
      unknownEvent: ({ event }) => void unknown.push(event.type),
    },
  })
  return walkMachine(machine, {
    input: input(mode, attemptsMax),
    events: eventsIn,
    expand: within,
    key: keyOf,
    check: (before, event, after) => {
      check(before, event, after, commands.splice(0))
      // A read session that is disposing gets no requests; everything else is expected in every state.
      if (!before.matches('disposing')) expect(unknown, `${event.type} in ${pathOf(before.value)}`).toEqual([])
      unknown.splice(0)
    },
  })
}

const isSend = (command: Command): command is Extract<Command, { kind: 'send' }> => command.kind === 'send'

/** What must hold at every step. */
const invariants: Check = (before, event, after, commands) => {
  if (before.status !== 'active') return
  const { context } = after
  // S1: nothing leaves but in the session that is open, and data never while it is allocating.
  for (const send of commands.filter(isSend)) {
    const sessions = [before.context.session, context.session].map((session) => session?.attempt)
    expect(sessions).toContain(send.attempt)
    if (event.type === 'ALLOCATED') expect(send.attempt).toBe(event.attempt)
  }
  // S2: a write is settled once, and only one that was known.
  const settled = commands.flatMap((command) => (command.kind === 'settled' ? [command.id] : []))
  expect(new Set(settled).size).toBe(settled.length)
  for (const id of settled) expect(context.window.writes.map((write) => write.id)).not.toContain(id)
  const kept = new Set([...context.window.writes.map(({ id }) => id), ...settled])
  for (const { id } of before.context.window.writes) expect(kept).toContain(id)
  // W1: numbers in order, each once.
  const numbers = context.window.writes.map(({ n }) => n).filter((n) => n > 0)
  expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b))
  for (const n of numbers) expect(n).toBeLessThan(context.window.nextN)
  // Rule 6: an allocate carries the token held; an answer allocated with another opens nothing.
  for (const command of commands) {
    if (command.kind === 'allocate') expect(command.resume?.session ?? null).toEqual(context.chain.held)
  }
  if (event.type === 'ALLOCATED' && before.context.session === null && context.session !== null) {
    const made = before.context.attempts.find(({ attempt }) => attempt === event.attempt)
    expect(made?.allocatedWith).toEqual(before.context.chain.held)
  }
  // C4: nothing is owed after the end.
  if (after.status === 'done') {
    expect(context.window.writes).toEqual([])
    expect(context.op).toBeNull()
    expect(after.output?.reason).toMatch(/disposed|failed/)
  }
}

describe('the client session machine', () => {
  let walks: readonly Walk[]

  beforeAll(() => {
    walks = (['read', 'write'] as const).flatMap((mode) => [
      walk(mode, expand, 1, invariants),
      walk(mode, expandAllocating, 2, invariants),
    ])
  }, 600_000)

  const inEvery = (lists: readonly (readonly string[])[]): readonly string[] =>
    (lists[0] ?? []).filter((name) => lists.every((list) => list.includes(name)))

  it('reaches every state', () => {
    expect(inEvery(walks.map(({ unreachedStates }) => unreachedStates))).toEqual([])
  })

  it('takes every transition', () => {
    expect(inEvery(walks.map(({ uncoveredTransitions }) => uncoveredTransitions))).toEqual([])
  })

  it('walks far enough to mean something', () => {
    expect(walks.reduce((sum, { steps }) => sum + steps, 0)).toBeGreaterThan(20_000)
  })
})

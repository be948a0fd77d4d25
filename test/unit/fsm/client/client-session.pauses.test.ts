// How long the client's session machine waits before it tries again, and when it does not wait at all.
import { describe, expect, test } from 'vitest'
import { createActor } from 'xstate'
import { clientSessionMachine } from '../../../../src/fsm/client/client-session.machine.ts'
import {
  type ClientSessionContext,
  type Command,
  defaultRetryPolicy,
  type WayFacts,
} from '../../../../src/fsm/client/client-session.types.ts'
import { type ErrorName, TrunklineError } from '../../../../src/protocol/errors.ts'
import { defaultLimits } from '../../../../src/protocol/limits.ts'
import { partState, slot } from '../../../../src/protocol/messages.ts'

const challenge = new Uint8Array(1)
const elsewhere: WayFacts = { elsewhere: true, unsent: false }
const unsent: WayFacts = { elsewhere: false, unsent: true }

interface Machine {
  readonly commands: Command[]
  readonly state: () => string
  readonly context: () => ClientSessionContext
  readonly waits: () => number[]
  readonly pass: () => void
  readonly allocated: () => void
  readonly refused: (name: ErrorName, way?: WayFacts) => void
  readonly answered: () => void
  readonly failed: (error: ErrorName | TrunklineError, way?: WayFacts) => void
  readonly write: () => void
}

/** A writer whose timers fire by hand. */
function writer(jitter: number): Machine {
  const commands: Command[] = []
  const timers = new Map<number, { run: () => void; ms: number }>()
  let nextTimer = 1
  let nextId = 1
  const machine = clientSessionMachine.provide({
    actions: { perform: (_, made) => void commands.push(...made), unknownEvent: () => undefined },
  })
  const actor = createActor(machine, {
    input: { mode: 'write', retry: defaultRetryPolicy, keepAliveMs: 100_000, windowWrites: null, cursor: null },
    clock: {
      setTimeout: (run: () => void, ms: number) => {
        timers.set(nextTimer, { run, ms })
        return nextTimer++
      },
      clearTimeout: (id: number) => void timers.delete(id),
    },
  }).start()
  const context = (): ClientSessionContext => actor.getSnapshot().context
  const lastSent = (): Extract<Command, { kind: 'send' }> => {
    const sent = commands.findLast((command) => command.kind === 'send')
    if (sent === undefined) throw new Error('nothing was sent')
    return sent
  }
  return {
    commands,
    context,
    state: () => JSON.stringify(actor.getSnapshot().value),
    waits: () => [...timers.values()].map(({ ms }) => ms).filter((ms) => ms < 12_000),
    pass: () => {
      const due = [...timers].filter(([, { ms }]) => ms < 12_000)
      for (const [id, { run }] of due) {
        timers.delete(id)
        run()
      }
    },
    allocated: () =>
      actor.send({
        type: 'ALLOCATED',
        attempt: context().attempt,
        reply: {
          session: Uint8Array.of(context().attempt),
          secret: new Uint8Array(),
          turn: { nextSeq: 1, challenge, leaseMs: 1 },
          sessionId: 's',
          partitions: 1,
          limits: defaultLimits,
          expiresAtMs: 0,
          outcomes: context()
            .window.writes.filter(({ n }) => n > 0)
            .map(({ n }) => ({ n, parts: [{ part: 0, partition: 0, state: partState.missing }] })),
        },
      }),
    refused: (name, way) =>
      actor.send({ type: 'ALLOCATE_FAILED', attempt: context().attempt, error: new TrunklineError(name), jitter, way }),
    answered: () => {
      const { attempt, seq } = lastSent()
      const turn = { nextSeq: seq + 1, challenge, leaseMs: 1 }
      actor.send({ type: 'ANSWERED', attempt, slot: slot.data, seq, answer: { turn, parts: [] } })
    },
    failed: (error, way) => {
      const { attempt, seq } = lastSent()
      const told = typeof error === 'string' ? new TrunklineError(error) : error
      actor.send({ type: 'FAILED', attempt, slot: slot.data, seq, error: told, jitter, way })
    },
    write: () => actor.send({ type: 'WRITE', id: nextId++, partitions: [0], bytes: 1 }),
  }
}

/** One write is answered, another is out. */
function openWriter(jitter = 0.5): Machine {
  const machine = writer(jitter)
  machine.write()
  machine.allocated()
  machine.answered()
  machine.write()
  return machine
}

const noRetryAfter = new TrunklineError('UNAVAILABLE', { retryAfterMs: 0 })

describe('a session that ends', () => {
  test.each(['SESSION_GONE', 'SESSION_CLOSED', 'DRAINING'] as const)(
    'Given %s, then its successor is allocated without a pause',
    (name) => {
      const machine = openWriter()
      machine.failed(name)
      expect(machine.state()).toBe('"allocating"')
    },
  )

  test('Given a lost connection and then SESSION_GONE, then there is one short pause, and none before the allocate', () => {
    const machine = openWriter()
    machine.failed(noRetryAfter)
    expect(machine.waits()).toEqual([50])
    machine.pass()
    machine.failed('SESSION_GONE')
    expect(machine.state()).toBe('"allocating"')
  })

  test('Given sessions that end before they answered anything, then allocates are not sent in a loop', () => {
    const machine = openWriter()
    machine.failed('SESSION_GONE')
    machine.allocated()
    machine.failed('SESSION_GONE')
    expect(machine.state()).toBe('"recovering"')
    expect(machine.waits()[0]).toBeGreaterThan(0)
  })
})

describe('a wait', () => {
  test('Given PENDING again and again, then waits begin at 50 ms and end at one second', () => {
    const machine = writer(0.5)
    machine.write()
    const waits: number[] = []
    for (let i = 0; i < 8; i += 1) {
      machine.refused('PENDING')
      waits.push(machine.waits()[0] ?? -1)
      machine.pass()
    }
    expect(waits[0]).toBeLessThan(75)
    expect(waits.at(-1)).toBe(1_000)
  })

  test.each([0, 0.5, 0.999])(
    'Given NO_CAPACITY, jitter %d, then at least what was asked, at most half more',
    (jitter) => {
      const machine = writer(jitter)
      machine.write()
      machine.refused('NO_CAPACITY')
      expect(machine.waits()[0]).toBeGreaterThanOrEqual(1_000)
      expect(machine.waits()[0]).toBeLessThanOrEqual(1_500)
    },
  )

  test('Given another way at hand, then none; given none, then it grows', () => {
    const machine = openWriter()
    for (let i = 0; i < 3; i += 1) {
      machine.failed(noRetryAfter, elsewhere)
      expect(machine.waits()).toEqual([1])
      machine.pass()
    }
    machine.failed(noRetryAfter)
    expect(machine.waits()).toEqual([400])
    expect(machine.context().failures).toBe(4)
  })
})

describe('a request that never left', () => {
  test('Given no connection for long, then the session is kept: it was not sent in vain', () => {
    const machine = openWriter()
    for (let i = 0; i < 20; i += 1) {
      machine.failed(noRetryAfter, unsent)
      machine.pass()
    }
    expect(machine.state()).toContain('writing')
    machine.answered()
    expect(machine.context().session?.attempt).toBe(1)
  })

  test('Given a lost answer and then no connection, when the gateway refuses the request before the session, then it is not called refused', () => {
    const machine = openWriter()
    machine.failed(noRetryAfter, elsewhere)
    machine.pass()
    machine.failed(noRetryAfter, unsent)
    machine.pass()
    machine.failed('BLOCK_TOO_LARGE')
    expect(machine.commands.filter(({ kind }) => kind === 'settled')).toHaveLength(1)
    expect(machine.state()).not.toContain('open')
  })

  test('Given it never left before, when the gateway refuses it before the session, then it is refused', () => {
    const machine = openWriter()
    machine.failed(noRetryAfter, unsent)
    machine.pass()
    machine.failed('BLOCK_TOO_LARGE')
    expect(machine.commands.findLast(({ kind }) => kind === 'settled')).toMatchObject({ outcome: { kind: 'refused' } })
  })
})

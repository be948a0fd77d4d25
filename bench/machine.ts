// Owns: what one exchange costs in the session machine alone: no tier, no log, effects that do nothing.
import { createActor } from 'xstate'
import { sessionMachine } from '../src/fsm/server/session.machine.ts'
import { parseSessionId } from '../src/protocol/ids.ts'
import { median } from './measure.ts'

export interface MachineCost {
  readonly readMicros: number
  readonly writeMicros: number
  readonly bytesPerSession: number
}

const none = (): void => {}
const quiet = sessionMachine.provide({
  actions: {
    startFetch: none,
    startRestedFetch: none,
    deliver: none,
    redeliver: none,
    failFetch: none,
    movePosition: none,
    answerAck: none,
    answerNack: none,
    answerExtend: none,
    stage: none,
    publish: none,
    answerWrite: none,
    repeatWrite: none,
    repeatAck: none,
    reopenWindow: none,
    refuse: none,
    windDown: none,
    settle: none,
    unknownEvent: () => {
      throw new Error('an exchange of the bench is in turn')
    },
  },
})

const request = { slot: 0, seq: 1 }
const exchanges = 20_000

function session(mode: 'read' | 'write') {
  const input = { sessionId: parseSessionId('bench-session'), mode, windowWrites: 8, windowBytes: 4_194_304 }
  const actor = createActor(quiet, { input })
  actor.start()
  actor.send({ type: 'PREPARED' })
  return actor
}

function micros(work: (n: number) => void): number {
  const runs = Array.from({ length: 5 }, (_, run) => {
    const startedAt = performance.now()
    for (let n = 1; n <= exchanges; n++) work(run * exchanges + n)
    return ((performance.now() - startedAt) * 1_000) / exchanges
  })
  return median(runs)
}

/** An exchange: a read whose ack rides on the next one, or a committed write. */
export function machineCost(): MachineCost {
  const reader = session('read')
  const readMicros = micros((n) => {
    reader.send({ type: 'READ', request, n, ackOf: n === 1 ? null : n - 1 })
    reader.send({ type: 'FETCHED', request, count: 10 })
  })
  const writer = session('write')
  const writeMicros = micros((n) => {
    writer.send({ type: 'WRITE', request, n, bytes: 1_000, commit: true })
    writer.send({ type: 'SETTLED', n, how: 'landed' })
  })
  const before = heapBytes()
  const kept = Array.from({ length: 2_000 }, () => session('read'))
  const bytesPerSession = (heapBytes() - before) / kept.length
  for (const actor of kept) actor.stop()
  return { readMicros, writeMicros, bytesPerSession }
}

function heapBytes(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

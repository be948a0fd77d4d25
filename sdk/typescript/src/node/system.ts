// Owns: time and randomness of a running process. Timers hold the process open: a client that waits to try again is
// work in hand; close() ends it.
import { randomFillSync } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import type { Clock, Random } from '../../../../src/fsm/client/client-ports.ts'

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after: (delayMs, callback) => {
    const handle = setTimeout(callback, Math.max(0, delayMs))
    return { cancel: () => clearTimeout(handle) }
  },
}

export const systemRandom: Random = {
  bytes: (count) => randomFillSync(new Uint8Array(count)),
  fraction: () => Math.random(),
}

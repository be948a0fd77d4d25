// Owns: callers that go on calling, and a count of what they heard.
import type { CallOutcome } from '../../../src/ports/switchboard.ts'

export interface Heard {
  readonly counts: Record<CallOutcome['kind'], number>
  /** Of the slowest call. */
  tookMsMax: number
  /** Ends the callers after their calls. */
  stop(): Promise<void>
}

/** `workers` callers, each with one call after the other. */
export function startLoad(workers: number, call: (index: number) => Promise<CallOutcome>): Heard {
  const heard = { counts: { answered: 0, unroutable: 0, lost: 0, timeout: 0 }, tookMsMax: 0 }
  let isStopped = false
  let index = 0
  const running = Array.from({ length: workers }, async () => {
    while (!isStopped) {
      const beganMs = performance.now()
      const { kind } = await call(index++)
      heard.counts[kind] += 1
      heard.tookMsMax = Math.max(heard.tookMsMax, performance.now() - beganMs)
      // Refusals come at once; without a pause they would keep everything else from running.
      if (kind !== 'answered') await new Promise((resolve) => setTimeout(resolve, 5))
    }
  })
  return Object.assign(heard, {
    stop: async () => {
      isStopped = true
      await Promise.all(running)
    },
  })
}

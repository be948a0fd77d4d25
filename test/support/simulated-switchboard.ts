// Owns: the in-process switchboard on a simulated clock as a fixture of the conformance suite, bare or with faults.
import { SimulatedClock } from '../../src/adapters/clock/simulated-clock.ts'
import { InProcessHub, type InProcessHubOptions } from '../../src/adapters/in-process/in-process-switchboard.ts'
import type { Switchboard } from '../../src/ports/switchboard.ts'
import type { SwitchboardFixture } from '../conformance/switchboard-suite.ts'
import { type FaultPlan, FaultySwitchboard } from './faulty-switchboard.ts'

export interface SimulatedSwitchboard extends SwitchboardFixture {
  readonly clock: SimulatedClock
  readonly hub: InProcessHub
  readonly defects: unknown[]
}

export function simulatedSwitchboard(
  options: InProcessHubOptions = {},
  plan?: FaultPlan,
  clock: SimulatedClock = new SimulatedClock(),
): SimulatedSwitchboard {
  const defects: unknown[] = []
  const hub = new InProcessHub(clock, { onDefect: (error) => defects.push(error), ...options })
  const handles: Switchboard[] = []
  return {
    clock,
    hub,
    defects,
    connect: async () => {
      const handle = plan === undefined ? hub.connect() : new FaultySwitchboard(hub.connect(), clock, plan)
      handles.push(handle)
      return handle
    },
    kill: async (key) => hub.kill(key),
    monotonicMs: () => clock.monotonicMs(),
    within: (ms, promise) => within(clock, ms, promise),
    pass: (ms) => clock.advance(ms),
    close: async () => {
      for (const handle of handles) await handle.close()
    },
  }
}

/** Moves the clock until the promise settles; rejects when that takes more than `ms`. */
export async function within<T>(clock: SimulatedClock, ms: number, promise: Promise<T>): Promise<T> {
  const endMs = clock.monotonicMs() + ms
  let settled = false
  const mark = (): void => {
    settled = true
  }
  promise.then(mark, mark)
  await clock.settle()
  while (!settled && clock.monotonicMs() < endMs) await clock.advance(Math.min(1, endMs - clock.monotonicMs()))
  if (!settled) throw new Error(`not settled within ${ms} ms`)
  return promise
}

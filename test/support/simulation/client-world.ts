// Owns: what every simulated client is made with.

import { Bearer } from '../../../sdk/typescript/src/bearer.ts'
import { TrunklineClient } from '../../../sdk/typescript/src/client.ts'
import { EndpointPool } from '../../../sdk/typescript/src/endpoint-pool.ts'
import type { Transport } from '../../../sdk/typescript/src/transport.ts'
import type { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import type { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import type { History } from '../history/history.ts'
import { Gate, GatedClock } from './gate.ts'
import type { SimApi } from './sim-api.ts'
import { type LinkFaults, SimLink } from './sim-link.ts'
import type { Trace } from './trace.ts'

export interface SimTopicFacts {
  readonly name: string
  readonly partitions: number
}

export interface ClientWorld {
  readonly clock: SimulatedClock
  readonly random: SeededRandom
  readonly trace: Trace
  readonly history: History
  readonly apis: readonly SimApi[]
  readonly linkFaults: LinkFaults
  readonly topics: readonly SimTopicFacts[]
  readonly callTimeoutMs: number
  readonly allocatePatienceMs: number
  readonly payloadBytesMax: number
  readonly onDefect: (text: string) => void
  /** The storm is over: nothing new is begun. */
  readonly isOver: () => boolean
}

/** One client process. */
export interface ClientProcess {
  readonly name: string
  readonly gate: Gate
  readonly clock: GatedClock
  readonly random: SeededRandom
  readonly link: Transport
  readonly client: TrunklineClient
}

export function startClient(world: ClientWorld, name: string): ClientProcess {
  const gate = new Gate(world.clock)
  const clock = new GatedClock(world.clock, gate)
  const random = world.random.fork(name)
  const linkRandom = random.fork('link')
  const endpoints = world.apis.map((api) => ({
    name: api.name,
    transport: new SimLink({
      name,
      clock: world.clock,
      random: linkRandom.fork(api.name),
      gate,
      trace: world.trace,
      api,
      faults: world.linkFaults,
      timeoutMsMax: world.callTimeoutMs,
      onDefect: world.onDefect,
    }),
  }))
  const link = new EndpointPool({ endpoints, clock, random: random.fork('pool') })
  const client = new TrunklineClient({
    transport: link,
    bearer: new Bearer(() => Promise.resolve({ token: bearerOf(name) }), clock),
    clock,
    random: random.fork('sdk'),
    onUnknownEvent: (type) => world.onDefect(`${name}: client machine: unknown event ${type}`),
  })
  return { name, gate, clock, random: random.fork('work'), link, client }
}

/** Whom the simulated API tier takes for whom: the bearer is the name. */
export function bearerOf(name: string): string {
  return name
}

/** Never used up inside a run: what is not settled after the healing is a defect. */
export function retryOf(world: ClientWorld): {
  readonly attemptsMax: number
  readonly backoffMsMin: number
  readonly backoffMsMax: number
  readonly allocatePatienceMs: number
} {
  return { attemptsMax: 100_000, backoffMsMin: 20, backoffMsMax: 1_000, allocatePatienceMs: world.allocatePatienceMs }
}

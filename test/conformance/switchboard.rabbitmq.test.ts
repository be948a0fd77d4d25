// Owns: the RabbitMQ switchboard against the Switchboard suite, on real brokers: one shard, two shards, and a node that is
// on one of two. What it promises beyond the port: test/integration/rabbitmq.
import { afterAll, beforeAll } from 'vitest'
import type { Stack } from '../../scripts/stack/stack.ts'
import { systemClock } from '../../src/adapters/clock/system-clock.ts'
import type { Switchboard } from '../../src/ports/switchboard.ts'
import type { Incarnation } from '../../src/protocol/ids.ts'
import { Parties, type Party, pass, until, within } from '../integration/rabbitmq/parties.ts'
import { sharedStack, stackRequirement, stackStartMs } from '../support/stack.ts'
import { describeSwitchboard, type SwitchboardFixture } from './switchboard-suite.ts'

stackRequirement.describe('RabbitMQ', () => {
  let stack: Stack
  beforeAll(async () => {
    stack = await sharedStack({ kafka: 0, rabbit: 2 })
  }, stackStartMs)
  afterAll(() => stack.stop())

  /** The first party calls, the later ones serve; `places` are their brokers. */
  async function fixtureOn(brokers: number, places: readonly (readonly number[])[]): Promise<SwitchboardFixture> {
    const parties = new Parties(stack.rabbitUrls.slice(0, brokers))
    const servers = new Map<Incarnation, Party>()
    let count = 0
    return {
      connect: async () => {
        const on = places[count % places.length] ?? [0]
        count += 1
        const party = await parties.open({ on })
        // A party opens with its first shard; where the other side is, may be on the second.
        await until('all its shards are up', 10_000, () =>
          party.switchboard.shardStates().every(({ state }) => state === 'up'),
        )
        return remembering(party, servers)
      },
      kill: async (key) => servers.get(key)?.kill(),
      monotonicMs: () => systemClock.monotonicMs(),
      within,
      pass,
      close: () => parties.close(),
    }
  }

  // A node that went without a word is looked for a third of a second.
  const traits = { allocateWaitMs: 200, promptMs: 1_000 }
  describeSwitchboard('RabbitMQ, one shard', () => fixtureOn(1, [[0]]), traits)
  describeSwitchboard('RabbitMQ, two shards', () => fixtureOn(2, [[0, 1]]), traits)
  describeSwitchboard('RabbitMQ, nodes on one of two shards', () => fixtureOn(2, [[0, 1], [1], [0]]), traits)
})

/** The switchboard, with a note of who serves which key. */
function remembering(party: Party, servers: Map<Incarnation, Party>): Switchboard {
  const { switchboard } = party
  return {
    allocate: (body, options) => switchboard.allocate(body, options),
    call: (key, body, options) => switchboard.call(key, body, options),
    serve: async (key, handlers) => {
      const serving = await switchboard.serve(key, handlers)
      servers.set(key, party)
      return serving
    },
    presence: () => switchboard.presence(),
    close: () => switchboard.close(),
  }
}

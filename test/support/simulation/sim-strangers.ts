// Owns: a native producer that writes into the topics of a walk beside the gateway: CloudEvents and records that name
// nothing, in batches, with offsets behind them that hold nothing (markers of transactions, aborted records), and in
// transactions that stay open for a while.
import type { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { type Clock, sleep } from '../../../src/ports/clock.ts'
import type { AppendRecord } from '../../../src/ports/event-log.ts'
import { parseTopicName } from '../../../src/protocol/ids.ts'
import type { History } from '../history/history.ts'
import type { SimCluster } from '../sim-log/sim-cluster.ts'
import type { SimTopicFacts } from './client-world.ts'
import { hashOf, payloadOf } from './payload.ts'
import type { Trace } from './trace.ts'

export interface StrangersWorld {
  readonly clock: Clock
  readonly random: SeededRandom
  readonly trace: Trace
  readonly history: History
  readonly cluster: SimCluster
  readonly topics: readonly SimTopicFacts[]
  readonly payloadBytesMax: number
  readonly isOver: () => boolean
}

const pauseMsMax = 400
const recordsMax = 3
const holesMax = 3
const openMsMax = 3_000

/** Writes until the storm is over. Nobody acks it anything: a leader that fails may lose what it wrote. */
export async function runStrangers(world: StrangersWorld): Promise<void> {
  const { clock, random, trace, history, cluster, topics, payloadBytesMax } = world
  let written = 0
  const open = new Set<string>()
  while (!world.isOver()) {
    await sleep(clock, pauseMsMax * random.fraction())
    const { name, partitions } = random.pick(topics)
    const partition = random.below(partitions)
    const at = { topic: parseTopicName(name), partition }
    if (random.chance(0.1) && !open.has(`${name}/${partition}`)) {
      open.add(`${name}/${partition}`)
      trace.count('transactions of strangers')
      const end = cluster.strangerTransaction(at)
      clock.after(openMsMax * random.fraction(), () => {
        open.delete(`${name}/${partition}`)
        end()
      })
    }
    const records = Array.from({ length: 1 + random.below(recordsMax) }, (): AppendRecord => {
      const producer = `stranger-${++written}`
      const value = `${producer}/1`
      const payload = payloadOf(value, random, payloadBytesMax)
      history.send(producer, name, [{ value, seq: 1, partition, payloadHash: hashOf(payload) }])
      return { key: null, value: payload, header: null, ...(random.chance(0.5) ? { headers: cloudEvent(value) } : {}) }
    })
    const holes = random.chance(0.4) ? 1 + random.below(holesMax) : 0
    cluster.stranger(at, records, holes)
    trace.count('records of strangers', records.length)
    trace.count('holes', holes)
  }
}

function cloudEvent(id: string): NonNullable<AppendRecord['headers']> {
  return [
    ['ce_specversion', Buffer.from('1.0')],
    ['ce_id', Buffer.from(id)],
    ['ce_type', Buffer.from('strange')],
    ['ce_source', Buffer.from('/strangers')],
    ['odd', Uint8Array.of(0xff, 0)],
    ['odd', null],
  ]
}

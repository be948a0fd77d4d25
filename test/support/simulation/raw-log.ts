// Owns: reading the simulated cluster's partitions as they are: a plain scan, opened with the keys. The independent
// judge's eyes: no stream tier, no session, no cursor.
import { BlockOpener } from '../../../src/crypto/block-opener.ts'
import type { Clock } from '../../../src/ports/clock.ts'
import type { KeyProvider } from '../../../src/ports/key-provider.ts'
import { readBlock } from '../../../src/protocol/block.ts'
import { parseTopicName } from '../../../src/protocol/ids.ts'
import { decodeRecordHeader } from '../../../src/protocol/record-header.ts'
import type { RawPartition, RawRecord } from '../history/check-history.ts'
import type { SimCluster } from '../sim-log/sim-cluster.ts'
import type { SimTopicFacts } from './client-world.ts'
import { hashOf, valueIn } from './payload.ts'

export async function readRawLog(
  cluster: SimCluster,
  topics: readonly SimTopicFacts[],
  keys: KeyProvider,
  clock: Clock,
): Promise<RawPartition[]> {
  const opener = new BlockOpener({ keys, clock, tenant: 'default' })
  const all: RawPartition[] = []
  for (const { name, partitions } of topics) {
    const topic = parseTopicName(name)
    const info = cluster.topic(topic)?.info
    if (info === undefined) throw new Error(`the topic ${name} is gone`)
    const { topicId } = info
    const isPlain = info.format === 'plain'
    for (let partition = 0; partition < partitions; partition += 1) {
      const records: RawRecord[] = []
      /** The plain record before: the records of a part are one behind the other. */
      let before = ''
      for (const { offset, pid, epoch, header, value } of cluster.visible({ topic, partition })) {
        const ours = header === null ? undefined : decodeRecordHeader(header)
        if (ours === undefined) {
          if (!isPlain) throw new Error(`a record without our header at ${name} ${partition}:${offset}`)
          records.push({ offset, pid, epoch, isBarrier: false, events: [plainEvent(value)] })
          continue
        }
        if (ours.kind === 'barrier') {
          records.push({ offset, pid, epoch, isBarrier: true, events: [] })
          continue
        }
        const { producerId, n, part, index } = ours
        if ((index !== undefined) !== isPlain) throw new Error(`another format at ${name} ${partition}:${offset}`)
        if (index !== undefined) {
          const placed = `${offset} ${producerId} ${n} ${part} `
          if (index > 0 && before !== `${placed}${index}`)
            throw new Error(`torn part at ${name} ${partition}:${offset}`)
          before = `${offset + 1} ${producerId} ${n} ${part} ${index + 1}`
          const named = index === 0 ? { producerId, n, part } : {}
          records.push({ offset, pid, epoch, isBarrier: false, ...named, events: [plainEvent(value)] })
          continue
        }
        const opened = await opener.open({ topicId, partition, producerId, n, part }, value)
        const events = readBlock({ ...opened, offset }).map((event) => {
          const payload = event.payload ?? new Uint8Array()
          return { value: valueIn(payload), payloadHash: hashOf(payload) }
        })
        records.push({ offset, pid, epoch, isBarrier: false, producerId, n, part, events })
      }
      all.push({ topic: name, partition, records })
    }
  }
  opener.close()
  return all
}

function plainEvent(payload: Uint8Array): RawRecord['events'][number] {
  return { value: valueIn(payload), payloadHash: hashOf(payload) }
}

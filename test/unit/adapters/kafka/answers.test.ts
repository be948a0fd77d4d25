// Owns: answers of a real Kafka 4.1.1, as bytes (answers.json), read; and the same answers cut off or changed.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { ApiRequest } from '../../../../src/adapters/kafka/api.ts'
import { fetchRequest } from '../../../../src/adapters/kafka/api-fetch.ts'
import { metadataRequest } from '../../../../src/adapters/kafka/api-metadata.ts'
import { listOffsetsRequest } from '../../../../src/adapters/kafka/api-offsets.ts'
import { produceRequest } from '../../../../src/adapters/kafka/api-produce.ts'
import { findCoordinatorRequest, initProducerIdRequest } from '../../../../src/adapters/kafka/api-producer-id.ts'
import {
  createTopicRequest,
  deleteTopicRequest,
  describeTopicConfigsRequest,
} from '../../../../src/adapters/kafka/api-topics.ts'
import { recordsOf } from '../../../../src/adapters/kafka/fetched-records.ts'
import { WireError, WireReader } from '../../../../src/adapters/kafka/wire.ts'
import { SeededRandom } from '../../../../src/adapters/random/seeded-random.ts'

const answers = JSON.parse(readFileSync(new URL('answers.json', import.meta.url), 'utf8')) as Record<string, string>
const id = answers['id'] ?? ''
const name = 'vector-topic'

const produce = (byId: boolean) => produceRequest({ acks: 'all', waitMs: 1, byId, partitions: [] })
const fetched = fetchRequest({ waitMs: 0, bytesMax: 1, committedOnly: false, partitions: [] })
const requests: Readonly<Record<string, ApiRequest<unknown>>> = {
  metadata: metadataRequest([]),
  produceById: produce(true),
  produceByName: produce(false),
  fetch: fetched,
  listOffsets: listOffsetsRequest([], false),
  createTopics: createTopicRequest({ name, partitions: 1, replication: 1, configs: {} }),
  createTopicsExists: createTopicRequest({ name, partitions: 1, replication: 1, configs: {} }),
  describeConfigs: describeTopicConfigsRequest([], []),
  findCoordinator: findCoordinatorRequest('x'),
  initProducerId: initProducerIdRequest('x'),
  deleteTopics: deleteTopicRequest(id),
  deleteTopicsAgain: deleteTopicRequest(id),
}

function read(which: string, change: (bytes: Buffer) => Buffer = (bytes) => bytes): unknown {
  return requests[which]?.parse(new WireReader(change(Buffer.from(answers[which] ?? '', 'hex'))))
}

describe('answers of a real broker', () => {
  it('Given each, then it says what the broker said', () => {
    expect(read('metadata')).toMatchObject({
      brokers: [{ nodeId: 1, host: '127.0.0.1' }],
      clusterId: 'MkU3OEVBNTcwNTJENDM2Qg',
      controllerId: 1,
      topics: [
        {
          error: 0,
          name,
          topicId: id,
          internal: false,
          partitions: [
            { partition: 0, leader: 1, leaderEpoch: 0, replicas: 1 },
            { partition: 1, leader: 1, leaderEpoch: 0, replicas: 1 },
          ],
        },
        { error: 3, name: 'vector-absent', partitions: [] },
      ],
    })
    const landed = { partition: 0, error: 0, appendTimeMs: expect.any(Number) }
    const unknown = { partition: 7, error: 3, baseOffset: -1, appendTimeMs: -1 }
    expect(read('produceById')).toMatchObject({
      throttleMs: 0,
      answers: [
        { ...landed, topic: id, baseOffset: 0 },
        { ...unknown, topic: id },
      ],
    })
    expect(read('produceByName')).toMatchObject({
      answers: [
        { ...landed, topic: name, baseOffset: 2 },
        { ...unknown, topic: name },
      ],
    })
    expect(read('listOffsets')).toEqual([
      { topic: name, partition: 9, error: 3, offset: -1 },
      { topic: name, partition: 0, error: 0, offset: 4 },
    ])
    expect(read('createTopics')).toEqual({ error: 0, topicId: id })
    expect(read('createTopicsExists')).toMatchObject({ error: 36 })
    expect(read('describeConfigs')).toEqual([
      {
        error: 0,
        name,
        configs: new Map([
          ['cleanup.policy', 'delete'],
          ['retention.ms', '604800000'],
        ]),
      },
      { error: 3, name: 'vector-absent', configs: new Map() },
    ])
    expect(read('findCoordinator')).toMatchObject({ error: 0, at: { nodeId: 1, host: '127.0.0.1' } })
    expect(read('initProducerId')).toEqual({ error: 0, pid: 6, epoch: 0 })
    expect([read('deleteTopics'), read('deleteTopicsAgain')]).toEqual([0, 100])
  })

  it('Given what was fetched, then the records are those that were produced, with the time the log gave them', () => {
    const { error, partitions } = fetched.parse(new WireReader(Buffer.from(answers['fetch'] ?? '', 'hex')))
    expect(error).toBe(0)
    const [first, second] = partitions
    if (first === undefined) throw new Error('no partition')
    expect(first).toMatchObject({ partition: 0, error: 0, highWatermark: 4, lastStableOffset: 4, logStart: 0 })
    expect(second).toMatchObject({ partition: 1, error: 1 })
    const { records, nextOffset, damagedBatches } = recordsOf(first, 1)
    expect({ nextOffset, damagedBatches }).toEqual({ nextOffset: 4, damagedBatches: 0 })
    expect(records.map(({ offset }) => offset)).toEqual([1, 2, 3])
    expect(records[1]).toMatchObject({
      key: new Uint8Array(Buffer.from('k')),
      value: new Uint8Array(Buffer.from('value')),
      header: new Uint8Array([1, 2]),
      headers: [['h', null]],
      pid: -1,
      appendTimeMs: 1_795_275_877_199,
    })
  })

  it.each(Object.keys(requests))('Given %s cut off anywhere, then it is a WireError, never half an answer', (which) => {
    const whole = JSON.stringify(read(which))
    const { length } = Buffer.from(answers[which] ?? '', 'hex')
    for (let cut = 0; cut < length; cut++) {
      try {
        // Fields behind what we read, and tags, may be missing without harm.
        expect(JSON.stringify(read(which, (bytes) => bytes.subarray(0, cut)))).toBe(whole)
      } catch (error) {
        expect(error).toBeInstanceOf(WireError)
      }
    }
  })

  it.each(Object.keys(requests))('Given %s with any bytes changed, then it ends as a value or a WireError', (which) => {
    const random = new SeededRandom(which)
    for (let round = 0; round < 500; round++) {
      try {
        read(which, (bytes) => {
          for (let changes = 1 + Math.floor(random.fraction() * 4); changes > 0; changes--) {
            bytes[Math.floor(random.fraction() * bytes.length)] = Math.floor(random.fraction() * 256)
          }
          return bytes
        })
      } catch (error) {
        expect(error).toBeInstanceOf(WireError)
      }
    }
  })
})

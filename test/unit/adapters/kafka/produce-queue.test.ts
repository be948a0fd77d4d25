// Owns: which batches go together, which never do, and what an answer (or none) means for each.
import { beforeEach, describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../../src/adapters/clock/simulated-clock.ts'
import { noMetrics } from '../../../../src/adapters/kafka/metrics.ts'
import { type OutgoingBatch, ProduceQueue } from '../../../../src/adapters/kafka/produce-queue.ts'
import { encodeBatch } from '../../../../src/adapters/kafka/record-batch.ts'
import { defaultKafkaSettings as settings } from '../../../../src/adapters/kafka/settings.ts'
import { TransportError } from '../../../../src/adapters/kafka/transport-error.ts'
import type { ProduceAnswer } from '../../../../src/adapters/log-core/log-broker.ts'
import { type Asked, FakeLane } from './fake-lane.ts'

const at = { nodeId: 1, host: 'h', port: 1 }
const topicId = 'ab'.repeat(16)

function batchOf(partition: number, bytes = 10): OutgoingBatch {
  const record = { key: null, value: Buffer.alloc(bytes, `p${partition};`), header: null }
  const batch = encodeBatch([record], { pid: 1, epoch: 0, firstSequence: 0, timestampMs: 5 })
  return { topic: 't', topicId, partition, acks: 'all', batch, timestampMs: 5 }
}

/** The partitions of a request, by the marks in their values. */
function partitionsOf({ bytes }: Asked): number[] {
  const marks = bytes.toString('latin1').matchAll(/p(\d+);/g)
  return [...new Set([...marks].map(([, mark]) => Number(mark)))]
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

describe('produce queue', () => {
  let clock: SimulatedClock
  let lanes: FakeLane[]
  let queue: ProduceQueue
  let moved: boolean
  let problems: unknown[]

  beforeEach(() => {
    clock = new SimulatedClock()
    lanes = [new FakeLane(), new FakeLane(), new FakeLane()]
    moved = false
    problems = []
    queue = new ProduceQueue(at, {
      lanes: lanes.map(({ lane }) => lane),
      clock,
      settings,
      metrics: noMetrics,
      onProblem: (problem) => problems.push(problem),
      onVersion: () => {},
      hasMoved: async () => moved,
    })
  })

  const requests = (): Asked[] => lanes.flatMap(({ asked }) => asked)
  const answer = (
    asked: Asked | undefined,
    each: Record<number, Partial<{ error: number; baseOffset: number }>>,
  ): void => {
    if (asked === undefined) throw new Error('nothing was asked')
    const answers = Object.entries(each).map(([partition, one]) => ({
      topic: topicId,
      partition: Number(partition),
      error: 0,
      baseOffset: -1,
      appendTimeMs: 77,
      ...one,
    }))
    asked.answer({ throttleMs: 0, answers })
  }

  it('Given batches of several partitions in one moment, then they are one request, and each has its own answer', async () => {
    const all = Promise.all([1, 2, 3, 4, 5].map((partition) => queue.produce(at, batchOf(partition))))
    await turn()
    expect(requests().map(partitionsOf)).toEqual([[1, 2, 3, 4, 5]])
    answer(requests()[0], {
      1: { baseOffset: 10 },
      2: { error: 6 },
      3: { error: 6, baseOffset: 7 },
      4: { error: 19 },
    })
    expect(await all).toEqual<ProduceAnswer[]>([
      { kind: 'landed', baseOffset: 10, appendTimeMs: 77 },
      { kind: 'failed', code: 'NOT_LEADER_OR_FOLLOWER', appended: false },
      { kind: 'failed', code: 'NOT_LEADER_OR_FOLLOWER', appended: true },
      { kind: 'failed', code: 'NOT_ENOUGH_REPLICAS', appended: false },
      { kind: 'uncertain', why: 'a partition was not answered' },
    ])
  })

  it('Given two requests under way, then what comes meanwhile waits and goes together', async () => {
    void queue.produce(at, batchOf(1))
    await turn()
    void queue.produce(at, batchOf(2))
    await turn()
    for (const partition of [3, 4, 5]) void queue.produce(at, batchOf(partition))
    await turn()
    expect(requests().map(partitionsOf)).toEqual([[1], [2]])
    answer(lanes[0]?.asked[0], { 1: { baseOffset: 0 } })
    await turn()
    expect(lanes[0]?.asked.map(partitionsOf)).toEqual([[1], [3, 4, 5]])
  })

  it('Given two batches of one partition, then the second is not sent before the first is answered, nor with it', async () => {
    const first = queue.produce(at, batchOf(1))
    const second = queue.produce(at, batchOf(1))
    const other = queue.produce(at, batchOf(2))
    await turn()
    await turn()
    expect(requests().map(partitionsOf)).toEqual([[1, 2]])
    answer(requests()[0], { 1: { baseOffset: 0 }, 2: { baseOffset: 0 } })
    expect(await first).toMatchObject({ kind: 'landed' })
    expect(await other).toMatchObject({ kind: 'landed' })
    await turn()
    expect(requests()).toHaveLength(2)
    answer(requests()[1], { 1: { baseOffset: 1 } })
    expect(await second).toMatchObject({ kind: 'landed', baseOffset: 1 })
  })

  it('Given a partition whose last answer was no landing, then it goes by a connection of its own, until it lands', async () => {
    const first = queue.produce(at, batchOf(1))
    await turn()
    answer(requests()[0], { 1: { error: 7 } })
    await first
    const again = queue.produce(at, batchOf(1))
    void queue.produce(at, batchOf(2))
    await turn()
    expect(lanes.map(({ asked }) => asked.map(partitionsOf))).toEqual([[[1], [2]], [], [[1]]])
    answer(lanes[2]?.asked[0], { 1: { baseOffset: 3 } })
    await again
    void queue.produce(at, batchOf(1))
    await turn()
    expect(lanes[2]?.asked).toHaveLength(1)
  })

  it('Given more than one request holds, then the rest goes in another', async () => {
    for (let partition = 0; partition < 10; partition++) void queue.produce(at, batchOf(partition, 1_000_000))
    await turn()
    expect(requests().map((one) => partitionsOf(one).length)).toEqual([8, 2])
  })

  it('Given more waits than may, then it is answered as throttled, certainly not sent', async () => {
    const answers: ProduceAnswer[] = []
    for (let partition = 0; partition < 80; partition++) {
      void queue.produce(at, batchOf(partition, 1_000_000)).then((one) => answers.push(one))
    }
    await turn()
    expect(answers.length).toBeGreaterThan(10)
    expect(new Set(answers.map((one) => JSON.stringify(one)))).toEqual(
      new Set([JSON.stringify({ kind: 'failed', code: 'THROTTLING_QUOTA_EXCEEDED', appended: false })]),
    )
  })

  it('Given no connection, then it is certain that nothing was sent', async () => {
    for (const lane of lanes) lane.reachable = false
    expect(await queue.produce(at, batchOf(1))).toEqual({ kind: 'failed', code: 'NOT_SENT', appended: false })
    expect(requests()).toEqual([])
  })

  it('Given a connection that ends without an answer, then each batch on it is uncertain', async () => {
    const all = Promise.all([queue.produce(at, batchOf(1)), queue.produce(at, batchOf(2))])
    await turn()
    requests()[0]?.fail(new TransportError('timeout', 'no answer in time'))
    expect(await all).toEqual([
      { kind: 'uncertain', why: 'no answer in time' },
      { kind: 'uncertain', why: 'no answer in time' },
    ])
  })

  it('Given a connection that was closed before anything was handed over, then it is certain that nothing was sent', async () => {
    const first = queue.produce(at, batchOf(1))
    await turn()
    requests()[0]?.fail(new TransportError('unreachable', 'closed before'))
    expect(await first).toEqual({ kind: 'failed', code: 'NOT_SENT', appended: false })
  })

  it('Given a silent leader, when another one leads by then, then the connection is given up at once', async () => {
    const first = queue.produce(at, batchOf(1))
    await turn()
    await clock.advance(settings.produceDoubtMs)
    await turn()
    expect(lanes[0]?.destroyed).toEqual([])
    moved = true
    await clock.advance(settings.produceDoubtMs)
    expect(await first).toMatchObject({ kind: 'uncertain' })
    expect(lanes[0]?.destroyed).toHaveLength(1)
  })

  it('Given a process that stood still while a batch waited, then the batch is not sent any more', async () => {
    const first = queue.produce(at, batchOf(1))
    await turn()
    const waits = queue.produce(at, batchOf(1))
    await turn()
    await clock.advance(31_000)
    answer(requests()[0], { 1: { baseOffset: 0 } })
    await first
    expect(await waits).toEqual({ kind: 'failed', code: 'NOT_SENT', appended: false })
    expect(requests()).toHaveLength(1)
  })

  it('Given a fault of our own while sending, then it is told and each batch is uncertain', async () => {
    const first = queue.produce(at, batchOf(1))
    await turn()
    requests()[0]?.fail(new RangeError('a bug') as unknown as TransportError)
    expect(await first).toMatchObject({ kind: 'uncertain' })
    expect(problems).toHaveLength(1)
  })
})

// Owns: every row of how a fence ends: raising, the barrier and its re-sends, somebody else's barrier.
import { beforeEach, describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../../src/adapters/clock/simulated-clock.ts'
import { FencedLog } from '../../../../src/adapters/log-core/fenced-log.ts'
import type { BrokerRecord, ProduceAnswer } from '../../../../src/adapters/log-core/log-broker.ts'
import { SeededRandom } from '../../../../src/adapters/random/seeded-random.ts'
import { makeIncarnation, parseTopicId } from '../../../../src/protocol/ids.ts'
import { decodeRecordHeader, encodeRecordHeader } from '../../../../src/protocol/record-header.ts'
import { drive } from '../../../support/sim-log/drive.ts'
import { at, info, landed, ScriptedBroker, topic } from './scripted-broker.ts'

const target = { identity: makeIncarnation('old', 'a'), pid: 7 }
const refusedAsFenced: ProduceAnswer = { kind: 'failed', code: 'INVALID_PRODUCER_EPOCH', appended: false }
const uncertain: ProduceAnswer = { kind: 'uncertain', why: 'test' }

function stored(offset: number, pid: number, epoch: number, barrier = false): BrokerRecord {
  const header = barrier ? encodeRecordHeader({ kind: 'barrier' }) : null
  return { offset, pid, epoch, header, key: null, value: new Uint8Array(0), appendTimeMs: 0 }
}

describe('a fence', () => {
  let clock: SimulatedClock
  let broker: ScriptedBroker
  let log: FencedLog
  const run = <T>(work: Promise<T>): Promise<T> => drive(clock, work)

  beforeEach(() => {
    clock = new SimulatedClock()
    broker = new ScriptedBroker()
    broker.raised = [{ kind: 'ok', pid: 7, epoch: 1 }]
    log = new FencedLog({ broker, clock, random: new SeededRandom('fence') })
  })

  it('Given a raised epoch, then the barrier is its first record, empty, with acks=all', async () => {
    broker.answers = [landed(9)]
    expect(await run(log.fence(target, [at]))).toEqual([{ at, barrierOffset: 9 }])
    const [request] = broker.requests
    expect(request).toMatchObject({ purpose: 'barrier', acks: 'all', pid: 7, epoch: 1, firstSequence: 0 })
    expect(request?.records).toHaveLength(1)
    expect(request?.records[0]?.value).toHaveLength(0)
    expect(decodeRecordHeader(request?.records[0]?.header ?? new Uint8Array(0))).toEqual({ kind: 'barrier' })
  })

  it('Given no answers, then the same barrier goes again under the same numbers, and nothing is raised again', async () => {
    broker.answers = [
      uncertain,
      { kind: 'failed', code: 'NOT_LEADER_OR_FOLLOWER', appended: true },
      { kind: 'failed', code: 'STORAGE_FULL', appended: false },
      landed(4),
    ]
    expect(await run(log.fence(target, [at]))).toEqual([{ at, barrierOffset: 4 }])
    for (const request of broker.requests) expect(request).toEqual(broker.requests[0])
    expect(broker.raisedCount).toBe(1)
  })

  it('Given many who ask, then one epoch is raised and one barrier is sent for each partition', async () => {
    broker.answers = [landed(4)]
    const other = { topic, partition: 1 }
    await run(Promise.all([log.fence(target, [at]), log.fence(target, [at, other]), log.fence(target, [other])]))
    await run(log.fence(target, [other, at]))
    expect(broker.raisedCount).toBe(1)
    expect(broker.requests.map((request) => request.at.partition).toSorted((a, b) => a - b)).toEqual([0, 1])
  })

  it('Given a coordinator that is gone for a while, then it is asked again', async () => {
    broker.raised = [
      { kind: 'failed', code: 'COORDINATOR_LOAD_IN_PROGRESS' },
      { kind: 'failed', code: 'REQUEST_TIMED_OUT' },
      { kind: 'ok', pid: 7, epoch: 3 },
    ]
    broker.answers = [landed(1)]
    await run(log.fence(target, [at]))
    expect(broker.requests[0]).toMatchObject({ epoch: 3 })
  })

  it('Given a coordinator that stays gone, then UNAVAILABLE, and the next fence begins anew', async () => {
    broker.raised = [{ kind: 'failed', code: 'COORDINATOR_NOT_AVAILABLE' }]
    await expect(run(log.fence(target, [at]))).rejects.toMatchObject({ name: 'UNAVAILABLE' })
    broker.raised = [{ kind: 'ok', pid: 7, epoch: 9 }]
    broker.answers = [landed(1)]
    expect(await run(log.fence(target, [at]))).toEqual([{ at, barrierOffset: 1 }])
    expect(broker.requests[0]).toMatchObject({ epoch: 9 })
  })

  it('Given a refused barrier, then the log is read until the higher one is seen, and its offset is answered', async () => {
    broker.records = Array.from({ length: 500 }, (_, offset) => stored(offset, offset % 2 === 0 ? 7 : 8, 0))
    broker.records[490] = stored(490, 7, 2)
    broker.answers = [refusedAsFenced]
    expect(await run(log.fence(target, [at]))).toEqual([{ at, barrierOffset: 490 }])
    expect(broker.raisedCount).toBe(1)
  })

  it('Given a higher barrier far back, or alone at the start, then it is found', async () => {
    broker.records = Array.from({ length: 1_000 }, (_, offset) => stored(offset, 8, 0))
    broker.records[3] = stored(3, 7, 2)
    broker.answers = [refusedAsFenced]
    expect(await run(log.fence(target, [at]))).toEqual([{ at, barrierOffset: 3 }])
  })

  it('Given a higher barrier that is not visible yet, then it is waited for', async () => {
    broker.records = [stored(0, 7, 0), stored(1, 8, 5), stored(2, 9, 1)]
    broker.answers = [refusedAsFenced]
    const fencing = log.fence(target, [at])
    await clock.advance(500)
    broker.records.push(stored(3, 7, 2))
    expect(await run(fencing)).toEqual([{ at, barrierOffset: 3 }])
  })

  it('Given a higher barrier that a failover dropped, then our own lands in its place', async () => {
    broker.answers = [refusedAsFenced, refusedAsFenced, landed(6)]
    expect(await run(log.fence(target, [at]))).toEqual([{ at, barrierOffset: 6 }])
  })

  it('Given a refusal and never a barrier, then UNAVAILABLE, and the next fence raises a new epoch', async () => {
    broker.records = [stored(0, 8, 1, true), stored(1, 7, 0)]
    broker.answers = [refusedAsFenced]
    await expect(run(log.fence(target, [at]))).rejects.toMatchObject({ name: 'UNAVAILABLE' })
    broker.answers = [landed(2)]
    expect(await run(log.fence(target, [at]))).toEqual([{ at, barrierOffset: 2 }])
    expect(broker.raisedCount).toBe(2)
  })

  it('Given an identity that the log forgot, then the barrier goes under the new PID, also found at epoch 0', async () => {
    broker.raised = [{ kind: 'ok', pid: 70, epoch: 0 }]
    broker.answers = [landed(5)]
    await run(log.fence(target, [at]))
    expect(broker.requests[0]).toMatchObject({ pid: 70, epoch: 0 })
    broker.records = [stored(0, 7, 0), stored(1, 70, 0, true)]
    broker.answers = [refusedAsFenced]
    const other = { topic, partition: 1 }
    expect(await run(log.fence(target, [other]))).toEqual([{ at: other, barrierOffset: 1 }])
  })

  it('Given no such topic or partition, then it says so and raises nothing', async () => {
    await expect(run(log.fence(target, [{ topic, partition: 2 }]))).rejects.toMatchObject({ name: 'UNKNOWN_PARTITION' })
    broker.topicInfo = undefined
    await expect(run(log.fence(target, [at]))).rejects.toMatchObject({ name: 'UNKNOWN_TOPIC' })
    expect(broker.raisedCount).toBe(0)
  })

  it('Given a topic that goes while its barrier is on its way, then UNKNOWN_TOPIC', async () => {
    broker.answers = [{ kind: 'failed', code: 'UNKNOWN_TOPIC_OR_PARTITION', appended: false }]
    const fencing = log.fence(target, [at])
    fencing.catch(() => {})
    await clock.advance(100)
    broker.topicInfo = undefined
    await expect(run(fencing)).rejects.toMatchObject({ name: 'UNKNOWN_TOPIC' })
  })

  it('Given a topic made anew under its name, then its barrier is sent again', async () => {
    broker.answers = [landed(4)]
    await run(log.fence(target, [at]))
    broker.topicInfo = { ...info, topicId: parseTopicId('1'.repeat(32)) }
    broker.answers = [landed(0)]
    expect(await run(log.fence(target, [at]))).toEqual([{ at, barrierOffset: 0 }])
  })

  it('Given more fences than are remembered, then the oldest is raised again, and all are answered', async () => {
    const small = new FencedLog({ broker, clock, random: new SeededRandom('fence'), settings: { fencesMax: 2 } })
    broker.answers = [landed(4)]
    for (const name of ['a', 'b', 'c', 'c', 'a']) {
      await run(small.fence({ identity: makeIncarnation(name, 'x'), pid: 7 }, [at]))
    }
    expect(broker.raisedCount).toBe(4)
  })

  it('Given a log that closes, then a fence under way is UNAVAILABLE', async () => {
    broker.answers = [uncertain]
    const fencing = log.fence(target, [at])
    fencing.catch(() => {})
    await clock.advance(50)
    await log.close()
    await expect(run(fencing)).rejects.toMatchObject({ name: 'UNAVAILABLE' })
  })
})

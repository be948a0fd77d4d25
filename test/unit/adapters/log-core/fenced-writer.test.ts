// Owns: every row of how an append ends: numbers, re-sending, refusal, retirement.
import { beforeEach, describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../../src/adapters/clock/simulated-clock.ts'
import { FencedLog } from '../../../../src/adapters/log-core/fenced-log.ts'
import { type BrokerCode, type ProduceAnswer, sequenceAfter } from '../../../../src/adapters/log-core/log-broker.ts'
import { SeededRandom } from '../../../../src/adapters/random/seeded-random.ts'
import type { AppendRecord, LogWriter } from '../../../../src/ports/event-log.ts'
import { makeIncarnation } from '../../../../src/protocol/ids.ts'
import { drive } from '../../../support/sim-log/drive.ts'
import { at, landed, ScriptedBroker, topic } from './scripted-broker.ts'

const one: readonly AppendRecord[] = [{ key: null, value: new Uint8Array([1]), header: null }]
const two = [...one, ...one]
const uncertain: ProduceAnswer = { kind: 'uncertain', why: 'test' }
const failed = (code: BrokerCode, appended = false): ProduceAnswer => ({ kind: 'failed', code, appended })

describe('a writer', () => {
  let clock: SimulatedClock
  let broker: ScriptedBroker
  let log: FencedLog
  let writer: LogWriter
  const run = <T>(work: Promise<T>): Promise<T> => drive(clock, work)

  beforeEach(async () => {
    clock = new SimulatedClock()
    broker = new ScriptedBroker()
    log = new FencedLog({ broker, clock, random: new SeededRandom('writer') })
    writer = await log.open(makeIncarnation('node', 'a'))
  })

  it('Given batches that land, then numbers go on by their counts, per partition, at epoch 0, with acks=all', async () => {
    broker.answers = [landed(0)]
    await run(writer.append(at, two))
    await run(writer.append(at, one))
    await run(writer.append({ topic, partition: 1 }, one))
    await run(writer.append(at, one))
    expect(broker.requests.map(({ firstSequence, at: where }) => [where.partition, firstSequence])).toEqual([
      [0, 0],
      [0, 2],
      [1, 0],
      [0, 3],
    ])
    for (const request of broker.requests) {
      expect(request).toMatchObject({ purpose: 'data', acks: 'all', pid: 7, epoch: 0 })
    }
  })

  it('Given no answers, then the very same batch goes again under the same numbers until an offset comes', async () => {
    broker.answers = [uncertain, failed('REQUEST_TIMED_OUT'), failed('NOT_LEADER_OR_FOLLOWER', true), landed(5)]
    expect(await run(writer.append(at, two))).toMatchObject({ kind: 'landed', baseOffset: 5 })
    expect(broker.requests).toHaveLength(4)
    for (const request of broker.requests) {
      expect(request).toEqual(broker.requests[0])
      expect(request.records).toBe(two)
    }
  })

  it.each([
    ['MESSAGE_TOO_LARGE', 'BLOCK_TOO_LARGE'],
    ['INVALID_RECORD', 'WRITE_REFUSED'],
    ['STORAGE_FULL', 'STORAGE_FULL'],
  ] as const)('Given %s first, then it is refused at once and its numbers are used again', async (code, error) => {
    broker.answers = [failed(code), landed(0)]
    expect(await run(writer.append(at, two))).toEqual({ kind: 'refused', error })
    await run(writer.append(at, one))
    expect(broker.requests.map((request) => request.firstSequence)).toEqual([0, 0])
  })

  it.each(['MESSAGE_TOO_LARGE', 'STORAGE_FULL', 'NOT_ENOUGH_REPLICAS', 'NOT_LEADER_OR_FOLLOWER'] as const)(
    'Given one uncertain answer and then %s, then only an offset ends it',
    async (code) => {
      broker.answers = [uncertain, failed(code), failed(code), landed(2)]
      expect(await run(writer.append(at, one))).toMatchObject({ kind: 'landed', baseOffset: 2 })
    },
  )

  it('Given one uncertain answer and then definite ones for ever, then it retires: nobody can tell', async () => {
    broker.answers = [uncertain, failed('NOT_ENOUGH_REPLICAS')]
    expect(await run(writer.append(at, one))).toEqual({ kind: 'retired', reason: 'deadline' })
    expect(await writer.retired).toBe('deadline')
    expect(clock.monotonicMs()).toBeGreaterThan(28_000)
    expect(clock.monotonicMs()).toBeLessThan(31_000)
  })

  it.each(['NOT_ENOUGH_REPLICAS', 'NOT_LEADER_OR_FOLLOWER', 'THROTTLING_QUOTA_EXCEEDED'] as const)(
    'Given %s, then it is sent again; given it for ever, then it is refused and the writer goes on',
    async (code) => {
      broker.answers = [failed(code), failed(code), landed(0)]
      expect(await run(writer.append(at, one))).toMatchObject({ kind: 'landed' })
      broker.answers = [failed(code)]
      expect(await run(writer.append(at, two))).toEqual({ kind: 'refused', error: 'UNAVAILABLE' })
      broker.answers = [landed(1)]
      expect(await run(writer.append(at, one))).toMatchObject({ kind: 'landed', baseOffset: 1 })
      expect(broker.requests.at(-1)?.firstSequence).toBe(1)
    },
  )

  it('Given silence, then it retires at the deadline, not later', async () => {
    broker.answers = ['never']
    expect(await run(writer.append(at, one))).toEqual({ kind: 'retired', reason: 'deadline' })
    expect(clock.monotonicMs()).toBeLessThanOrEqual(30_010)
  })

  it.each([
    ['INVALID_PRODUCER_EPOCH', 'fenced'],
    ['PRODUCER_FENCED', 'fenced'],
    ['OUT_OF_ORDER_SEQUENCE_NUMBER', 'sequence-forgotten'],
    ['UNKNOWN_PRODUCER_ID', 'sequence-forgotten'],
    ['DUPLICATE_SEQUENCE_NUMBER', 'sequence-forgotten'],
  ] as const)('Given %s, then it retires as %s, for good, in every partition', async (code, reason) => {
    broker.answers = [failed(code), landed(0)]
    expect(await run(writer.append(at, one))).toEqual({ kind: 'retired', reason })
    expect(await writer.retired).toBe(reason)
    expect(await run(writer.append({ topic, partition: 1 }, one))).toEqual({ kind: 'retired', reason })
    expect(broker.requests).toHaveLength(1)
  })

  it.each([
    ['in silence', 'never'],
    ['between two sendings', uncertain],
  ] as const)(
    'Given an append in doubt %s, when another partition is fenced, then it ends too, unsent',
    async (_, doubt) => {
      broker.answers = [doubt, failed('INVALID_PRODUCER_EPOCH'), landed(0)]
      const doubtful = writer.append(at, one)
      await clock.settle()
      await writer.append({ topic, partition: 1 }, one)
      expect(await run(doubtful)).toEqual({ kind: 'retired', reason: 'fenced' })
      await clock.advance(60_000)
      expect(broker.requests).toHaveLength(2)
    },
  )

  it('Given no such topic, then the log is asked: refused when it does not list it, sent again when it does', async () => {
    broker.answers = [failed('UNKNOWN_TOPIC_OR_PARTITION'), landed(0)]
    expect(await run(writer.append(at, one))).toMatchObject({ kind: 'landed' })
    broker.answers = [failed('UNKNOWN_TOPIC_OR_PARTITION')]
    broker.topicInfo = undefined
    expect(await run(writer.append(at, one))).toEqual({ kind: 'refused', error: 'UNKNOWN_TOPIC' })
  })

  it.each([
    ['forwards', 10 * 60_000 + 1],
    ['backwards', -(10 * 60_000 + 1)],
  ])('Given a wall clock that jumped %s by more than 10 min, then nothing is sent any more', async (_, ms) => {
    broker.answers = [landed(0)]
    await run(writer.append(at, one))
    clock.jumpWall(ms)
    expect(await run(writer.append(at, one))).toEqual({ kind: 'retired', reason: 'stand-still' })
    expect(broker.requests).toHaveLength(1)
  })

  it('Given a stand-still in the middle of re-sending, then the re-send is not sent', async () => {
    broker.answers = [uncertain, landed(0)]
    const appending = writer.append(at, one)
    await clock.settle()
    clock.jumpWall(11 * 60_000)
    expect(await run(appending)).toEqual({ kind: 'retired', reason: 'stand-still' })
    expect(broker.requests).toHaveLength(1)
  })

  it('Given hours without an append, then it is no stand-still', async () => {
    broker.answers = [landed(0)]
    await clock.advance(6 * 60 * 60_000)
    clock.jumpWall(9 * 60_000)
    expect(await run(writer.append(at, one))).toMatchObject({ kind: 'landed' })
  })

  it('Given five days, then it retires before the log can forget its identity', async () => {
    broker.answers = [landed(0)]
    await clock.advance(5 * 24 * 60 * 60_000 - 1_000)
    expect(await run(writer.append(at, one))).toMatchObject({ kind: 'landed' })
    await clock.advance(2_000)
    expect(await run(writer.append(at, one))).toEqual({ kind: 'retired', reason: 'deadline' })
  })

  it('Given a second batch for a busy partition or an empty one, then that is an Error', async () => {
    broker.answers = ['never']
    const appending = writer.append(at, one)
    expect(() => writer.append(at, one)).toThrow('in flight')
    expect(() => writer.append({ topic, partition: 1 }, [])).toThrow('without records')
    await run(writer.close())
    expect(await appending).toEqual({ kind: 'retired', reason: 'closed' })
  })

  it('Given a broker that rejects, then the append rejects: that is a defect, not an answer', async () => {
    broker.answers = []
    await expect(run(writer.append(at, one))).rejects.toThrow('nothing scripted')
  })

  it('Given 2^31 records, then the numbers wrap to 0', () => {
    expect(sequenceAfter(2 ** 31 - 1, 1)).toBe(0)
    expect(sequenceAfter(2 ** 31 - 2, 5)).toBe(3)
  })
})

describe('opening', () => {
  it('Given an epoch above 0, then the identity was used and opening is an Error', async () => {
    const clock = new SimulatedClock()
    const broker = new ScriptedBroker()
    broker.raised = [{ kind: 'ok', pid: 7, epoch: 1 }]
    const log = new FencedLog({ broker, clock, random: new SeededRandom('open') })
    await expect(log.open(makeIncarnation('node', 'a'))).rejects.toThrow('used before')
  })

  it('Given a coordinator that is gone, then it is asked again, and UNAVAILABLE after the deadline', async () => {
    const clock = new SimulatedClock()
    const broker = new ScriptedBroker()
    const log = new FencedLog({ broker, clock, random: new SeededRandom('open') })
    broker.raised = [
      { kind: 'failed', code: 'COORDINATOR_NOT_AVAILABLE' },
      { kind: 'ok', pid: 3, epoch: 0 },
    ]
    expect((await drive(clock, log.open(makeIncarnation('node', 'a')))).pid).toBe(3)
    broker.raised = [{ kind: 'failed', code: 'NOT_COORDINATOR' }]
    await expect(drive(clock, log.open(makeIncarnation('node', 'b')))).rejects.toMatchObject({ name: 'UNAVAILABLE' })
  })

  it('Given closesBroker false, then closing the log leaves the broker open', async () => {
    const clock = new SimulatedClock()
    const broker = new ScriptedBroker()
    const random = new SeededRandom('open')
    await new FencedLog({ broker, clock, random, closesBroker: false }).close()
    expect(broker.closed).toBe(0)
    await new FencedLog({ broker, clock, random }).close()
    expect(broker.closed).toBe(1)
  })
})

import { beforeEach, describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../../src/adapters/clock/simulated-clock.ts'
import { noTracing, type Span } from '../../../../src/observability/tracing.ts'
import { parseIncarnation, parseSessionId } from '../../../../src/protocol/ids.ts'
import { partState } from '../../../../src/protocol/messages.ts'
import {
  type ReleaseAnswer,
  type TakeOverOutcome,
  type TakeOverRequest,
  TakeOvers,
} from '../../../../src/stream-tier/write/take-over.ts'
import {
  barrierRecord,
  blockValue,
  dataRecord,
  hashOne,
  producerA,
  producerB,
  TinyLog,
  topicInfo,
  topicName,
} from '../read/tiny-log.ts'

const self = parseIncarnation('n2.e1')
const dead = parseIncarnation('n1.e1')
const sessionId = parseSessionId('session-1')
const { landed, missing, unknown } = partState

describe('taking over a producer', () => {
  let clock: SimulatedClock
  let log: TinyLog
  let answers: ReleaseAnswer[]
  let asked: string[]
  let localAnswers: boolean[]
  let takeOvers: TakeOvers
  /** Runs while the old node is being asked. */
  let whileAsking: (() => void | Promise<void>) | undefined

  beforeEach(() => {
    clock = new SimulatedClock()
    log = new TinyLog(clock, 3)
    answers = []
    asked = []
    localAnswers = []
    whileAsking = undefined
    takeOvers = new TakeOvers({
      log,
      clock,
      self,
      localRelease: () => localAnswers.shift() ?? true,
      switchboardCall: async (incarnation) => {
        asked.push(incarnation)
        await whileAsking?.()
        return answers.shift() ?? 'silent'
      },
    })
  })

  function request(
    changes: Partial<TakeOverRequest> = {},
    token: Partial<TakeOverRequest['token']> = {},
  ): TakeOverRequest {
    return {
      token: {
        sessionId,
        incarnation: dead,
        pid: 11,
        topic: topicName,
        topicId: topicInfo(3).topicId,
        producerId: producerA,
        partitions: 3,
        ...token,
      },
      from: [0, 0, 0],
      writes: [{ n: 4, partitions: [0, 1] }],
      nextN: 5,
      deadlineAtMs: clock.monotonicMs() + 5_000,
      ...changes,
    }
  }

  /** The outcome, with all the time it needs. */
  async function run(asking: Promise<TakeOverOutcome>): Promise<TakeOverOutcome> {
    let settled = false
    asking.then(
      () => {
        settled = true
      },
      () => {
        settled = true
      },
    )
    for (let step = 0; step < 2_000 && !settled; step += 1) await clock.advance(50)
    return asking
  }

  const statesOf = ({ outcomes }: TakeOverOutcome): (readonly (number | undefined)[])[][] =>
    outcomes.map(({ parts }) => parts.map(({ state, offset }) => [state, offset]))

  it('asks the old node first: released means a scan to the end and no fence', async () => {
    answers = ['released']
    log.put(0, dataRecord(producerA, 3), dataRecord(producerA, 4, 0))
    const outcome = await run(takeOvers.takeOver(request()))
    expect(outcome.how).toBe('released')
    expect(statesOf(outcome)).toEqual([
      [
        [landed, 1],
        [missing, undefined],
      ],
    ])
    expect(outcome.hashes).toEqual(new Map([[4, hashOne]]))
    expect(log.calls.fence).toBe(0)
  })

  it('reads the end after the release answer: what lands before it is found', async () => {
    answers = ['released']
    whileAsking = () => {
      log.put(0, dataRecord(producerA, 4, 0))
      log.put(1, dataRecord(producerA, 4, 1))
    }
    expect(statesOf(await run(takeOvers.takeOver(request())))).toEqual([
      [
        [landed, 0],
        [landed, 0],
      ],
    ])
  })

  it('asks again while something is in flight there, and never fences a node that answers', async () => {
    answers = ['pending', 'pending', 'released']
    const outcome = await run(takeOvers.takeOver(request()))
    expect(outcome.how).toBe('released')
    expect(asked).toHaveLength(3)
    expect(log.calls.fence).toBe(0)
  })

  it('answers PENDING at the deadline of the caller, and the repeat joins what goes on', async () => {
    answers = Array.from({ length: 300 }, () => 'pending')
    const first = takeOvers.takeOver(request())
    await expect(run(first)).rejects.toMatchObject({ name: 'PENDING' })
    const askedByThen = asked.length
    answers = ['pending', 'released']
    expect((await run(takeOvers.takeOver(request()))).how).toBe('released')
    expect(asked.length).toBe(askedByThen + 2)
  })

  it('is bounded in the background too', async () => {
    answers = Array.from({ length: 3_000 }, () => 'pending')
    await expect(run(takeOvers.takeOver(request({ deadlineAtMs: Number.MAX_SAFE_INTEGER })))).rejects.toMatchObject({
      name: 'PENDING',
    })
    expect(asked.length).toBeLessThan(1_300)
    expect(log.calls.fence).toBe(0)
  })

  it.each(['silent', 'unroutable'] as const)(
    'fences each partition of the unanswered writes when the old node is %s',
    async (answer) => {
      answers = [answer]
      log.put(0, dataRecord(producerA, 4, 0), dataRecord(producerB, 9))
      const outcome = await run(takeOvers.takeOver(request()))
      expect(outcome.how).toBe('fenced')
      expect(log.fences).toEqual([{ target: { identity: dead, pid: 11 }, partitions: [0, 1] }])
      expect(statesOf(outcome)).toEqual([
        [
          [landed, 0],
          [missing, undefined],
        ],
      ])
      // p0: below the part that landed, since the write comes again; p1: behind the barrier; p2: the end.
      expect(outcome.writeCursor).toEqual([0, 1, 0])
    },
  )

  it('moves the cursor behind everything when nothing comes again', async () => {
    log.put(0, dataRecord(producerA, 4, 0))
    log.put(1, dataRecord(producerA, 4, 1), dataRecord(producerB, 1))
    log.put(2, dataRecord(producerB, 2))
    expect((await run(takeOvers.takeOver(request()))).writeCursor).toEqual([2, 3, 1])
  })

  it('reads on until the barrier is seen although the high watermark lags behind it', async () => {
    log.put(0, dataRecord(producerA, 4, 0))
    log.hideFrom(0, 0)
    log.hideFrom(1, 0)
    const outcome = takeOvers.takeOver(request())
    await clock.advance(3_000)
    log.hideFrom(0, 10)
    log.hideFrom(1, 10)
    expect(statesOf(await run(outcome))).toEqual([
      [
        [landed, 0],
        [missing, undefined],
      ],
    ])
  })

  it('Given a take-over that is traced, when the old node is asked, then that is below its span', async () => {
    const parents: (string | undefined)[] = []
    const span: Span = { traceparent: 'of the take-over', set: () => {}, end: () => {} }
    takeOvers = new TakeOvers({
      log,
      clock,
      self,
      tracing: { ...noTracing, start: (_, __, parent) => (parent === undefined ? undefined : span) },
      localRelease: () => true,
      switchboardCall: async (_, __, ___, traceparent) => {
        parents.push(traceparent)
        return 'released'
      },
    })
    await run(takeOvers.takeOver(request({ traceparent: 'of the caller' })))
    await run(takeOvers.takeOver(request({}, { sessionId: parseSessionId('session-2') })))
    expect(parents).toEqual(['of the take-over', undefined])
  })

  it('ignores a release answer that comes after the fence began', async () => {
    let answerFirst: (answer: ReleaseAnswer) => void = () => {}
    const slow = new Promise<ReleaseAnswer>((resolve) => {
      answerFirst = resolve
    })
    const calls: Promise<ReleaseAnswer>[] = [slow, Promise.resolve('silent')]
    takeOvers = new TakeOvers({
      log,
      clock,
      self,
      localRelease: () => true,
      switchboardCall: () => calls.shift() ?? Promise.resolve('silent'),
    })
    const first = takeOvers.takeOver(request())
    const second = await run(
      takeOvers.takeOver(request({}, { sessionId: parseSessionId('session-2'), producerId: producerB })),
    )
    expect(second.how).toBe('fenced')
    answerFirst('released')
    expect((await run(first)).how).toBe('fenced')
    expect(log.calls.fence).toBe(1)
  })

  it('fences a dead incarnation once for all its producers, and scans each partition once', async () => {
    log.put(0, dataRecord(producerA, 4, 0), dataRecord(producerB, 4, 0))
    const first = await run(takeOvers.takeOver(request()))
    const scans = log.calls.lookup
    const second = await run(
      takeOvers.takeOver(request({}, { sessionId: parseSessionId('session-2'), producerId: producerB })),
    )
    expect(statesOf(first)).toEqual([
      [
        [landed, 0],
        [missing, undefined],
      ],
    ])
    expect(statesOf(second)).toEqual([
      [
        [landed, 1],
        [missing, undefined],
      ],
    ])
    expect(asked).toHaveLength(1)
    expect(log.calls.fence).toBe(1)
    expect(log.calls.lookup).toBe(scans)
  })

  it('extends a fence to further partitions, and a scan to earlier starts', async () => {
    log.put(0, dataRecord(producerB, 3, 0), dataRecord(producerA, 4, 0))
    await run(takeOvers.takeOver(request({ from: [1, 0, 0], writes: [{ n: 4, partitions: [0] }] })))
    const again = request(
      { from: [0, 0, 0], writes: [{ n: 3, partitions: [0, 2] }], nextN: 4 },
      { sessionId: parseSessionId('session-2'), producerId: producerB },
    )
    const second = await run(takeOvers.takeOver(again))
    expect(log.fences.map(({ partitions }) => partitions)).toEqual([[0], [2]])
    expect(statesOf(second)).toEqual([
      [
        [landed, 0],
        [missing, undefined],
      ],
    ])
  })

  it('answers a failed fence as retryable, and tries again without asking the old node again', async () => {
    log.failFence = 'UNAVAILABLE'
    await expect(run(takeOvers.takeOver(request()))).rejects.toMatchObject({ name: 'UNAVAILABLE' })
    log.failFence = undefined
    expect((await run(takeOvers.takeOver(request()))).how).toBe('fenced')
    expect(asked).toHaveLength(1)
  })

  it('does not fence for a producer with nothing unanswered', async () => {
    log.put(1, dataRecord())
    const outcome = await run(takeOvers.takeOver(request({ writes: [] })))
    expect(outcome).toMatchObject({ how: 'unneeded', outcomes: [], writeCursor: [0, 1, 0] })
    expect(log.calls.fence).toBe(0)
  })

  it('releases its own session in the process, and waits for what is in flight', async () => {
    localAnswers = [false, true]
    const outcome = await run(takeOvers.takeOver(request({}, { incarnation: self })))
    expect(outcome.how).toBe('released')
    expect(asked).toEqual([])
    localAnswers = Array.from({ length: 200 }, () => false)
    await expect(
      run(takeOvers.takeOver(request({}, { incarnation: self, sessionId: parseSessionId('session-3') }))),
    ).rejects.toMatchObject({ name: 'PENDING' })
    expect(log.calls.fence).toBe(0)
  })

  it('does not know what retention has removed, unless a later write of the producer is there', async () => {
    log.put(0, dataRecord(producerB, 1), dataRecord(producerB, 2), dataRecord(producerA, 5, 0))
    log.put(1, dataRecord(producerB, 3), dataRecord(producerB, 4))
    log.truncateTo(0, 2)
    log.truncateTo(1, 1)
    const writes = [
      { n: 3, partitions: [1] },
      { n: 4, partitions: [0] },
      { n: 5, partitions: [0, 2] },
    ]
    const outcome = await run(takeOvers.takeOver(request({ writes, nextN: 6 })))
    expect(statesOf(outcome)).toEqual([
      [[unknown, undefined]],
      [[landed, undefined]],
      [
        [landed, 2],
        [missing, undefined],
      ],
    ])
  })

  it('leaves a write to the application when a part of it landed where nobody can tell any more', async () => {
    log.put(0, dataRecord(producerB, 1), dataRecord(producerA, 5, 0))
    log.truncateTo(0, 1)
    const writes = [
      { n: 4, partitions: [0, 1] },
      { n: 5, partitions: [0] },
    ]
    expect(statesOf(await run(takeOvers.takeOver(request({ writes, nextN: 6 }))))).toEqual([
      [
        [unknown, undefined],
        [missing, undefined],
      ],
      [[landed, 1]],
    ])
  })

  it('does not call a hole in the order missing', async () => {
    log.put(0, dataRecord(producerA, 5, 0))
    const writes = [
      { n: 4, partitions: [0] },
      { n: 5, partitions: [0] },
    ]
    expect(statesOf(await run(takeOvers.takeOver(request({ writes, nextN: 6 }))))).toEqual([
      [[unknown, undefined]],
      [[landed, 0]],
    ])
  })

  it('knows that nothing of a fenced node lies between its barrier and a later cursor', async () => {
    await run(takeOvers.takeOver(request({ writes: [{ n: 4, partitions: [0] }] })))
    log.put(0, dataRecord(producerB, 7), dataRecord(producerB, 8))
    const late = request(
      { from: [3, 0, 0], writes: [{ n: 6, partitions: [0] }], nextN: 7 },
      { sessionId: parseSessionId('session-4') },
    )
    const outcome = await run(takeOvers.takeOver(late))
    expect(statesOf(outcome)).toEqual([[[missing, undefined]]])
    expect(outcome.writeCursor).toEqual([3, 0, 0])
  })

  it('tells a topic that was made anew, before and under the scan', async () => {
    log.topicNow = topicInfo(3, '2')
    await expect(run(takeOvers.takeOver(request()))).rejects.toMatchObject({ name: 'TOPIC_CHANGED' })
    log.topicNow = undefined
    await expect(run(takeOvers.takeOver(request()))).rejects.toMatchObject({ name: 'UNKNOWN_TOPIC' })
    log.topicNow = topicInfo(3)
    await expect(run(takeOvers.takeOver(request({ from: [99, 0, 0] })))).rejects.toMatchObject({
      name: 'TOPIC_CHANGED',
    })
  })

  it('notices a topic that is made anew while it scans', async () => {
    whileAsking = () => {
      log.topicNow = topicInfo(3, '3')
    }
    await expect(run(takeOvers.takeOver(request()))).rejects.toMatchObject({ name: 'TOPIC_CHANGED' })
  })

  it('fences a topic of the same name that was made anew again', async () => {
    await run(takeOvers.takeOver(request()))
    log.topicNow = topicInfo(3, '2')
    await run(
      takeOvers.takeOver(request({}, { topicId: topicInfo(3, '2').topicId, sessionId: parseSessionId('session-5') })),
    )
    expect(log.calls.fence).toBe(2)
  })

  it.each<[string, Partial<TakeOverRequest>]>([
    ['a cursor of another size', { from: [0] }],
    [
      'numbers out of order',
      {
        writes: [
          { n: 4, partitions: [0] },
          { n: 3, partitions: [0] },
        ],
      },
    ],
    ['a number that was never used', { writes: [{ n: 5, partitions: [0] }] }],
    ['a partition that is not there', { writes: [{ n: 4, partitions: [3] }] }],
    ['a write without parts', { writes: [{ n: 4, partitions: [] }] }],
    ['too many writes', { nextN: 100, writes: Array.from({ length: 65 }, (_, n) => ({ n: n + 1, partitions: [0] })) }],
  ])('refuses %s', async (_, changes) => {
    await expect(run(takeOvers.takeOver(request(changes)))).rejects.toMatchObject({ name: 'BAD_REQUEST' })
    expect(asked).toEqual([])
  })

  it('scans past 1 MiB of others, and keeps to the range', async () => {
    for (let i = 0; i < 40; i += 1) log.put(0, dataRecord(producerB, i + 1, 0, blockValue(1, 100_000)))
    log.put(0, dataRecord(producerA, 4, 0), barrierRecord)
    answers = ['released']
    expect(statesOf(await run(takeOvers.takeOver(request({ writes: [{ n: 4, partitions: [0] }] }))))).toEqual([
      [[landed, 40]],
    ])
    expect(log.calls.lookup).toBeGreaterThan(3)
  })
})

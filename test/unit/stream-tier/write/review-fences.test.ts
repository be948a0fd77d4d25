// One fence shared by producers of several topics: what goes wrong with one topic is that topic's alone.
import { describe, expect, it } from 'vitest'
import type { FenceAnswer, FenceTarget, TopicPartition } from '../../../../src/ports/event-log.ts'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import { parseIncarnation, parseTopicId, parseTopicName } from '../../../../src/protocol/ids.ts'
import { type FencePlace, Fences } from '../../../../src/stream-tier/write/fences.ts'

const target: FenceTarget = { identity: parseIncarnation('n1.e1'), pid: 1 }
const gone: FencePlace = { topic: parseTopicName('gone'), topicId: parseTopicId('a'.repeat(32)), partition: 0 }
const kept: FencePlace = { topic: parseTopicName('kept'), topicId: parseTopicId('b'.repeat(32)), partition: 0 }

/** A log that answers the topic `gone` when the test says so, every other at once. */
class SlowFence {
  readonly asked: string[] = []
  refuse: (error: unknown) => void = () => {}

  fence(_: FenceTarget, at: readonly TopicPartition[]): Promise<FenceAnswer> {
    this.asked.push(at.map(({ topic }) => topic).join())
    if (at.some(({ topic }) => topic === gone.topic))
      return new Promise((_resolve, reject) => {
        this.refuse = reject
      })
    return Promise.resolve(at.map((one) => ({ at: one, barrierOffset: 7 })))
  }
}

describe('a fence that is shared', () => {
  it('given a topic that was deleted, then who asked for it hears so, and another topic gets its barrier', async () => {
    const log = new SlowFence()
    const fences = new Fences(log, parseIncarnation('n2.e1'))
    const ofGone = expect(fences.fence(target, [gone])).rejects.toMatchObject({ name: 'UNKNOWN_TOPIC' })
    const ofKept = fences.fence(target, [kept])
    log.refuse(new TrunklineError('UNKNOWN_TOPIC'))
    await ofGone
    expect(await ofKept).toEqual([7])
    expect(log.asked).toEqual(['gone', 'kept'])
  })

  it('given a log that fails, then everybody who asked for that topic hears so, and the next one asks again', async () => {
    const log = new SlowFence()
    const fences = new Fences(log, parseIncarnation('n2.e1'))
    const both = [fences.fence(target, [gone]), fences.fence(target, [gone])]
    const heard = both.map((one) => expect(one).rejects.toMatchObject({ name: 'UNAVAILABLE' }))
    log.refuse(new TrunklineError('UNAVAILABLE'))
    await Promise.all(heard)
    void fences.fence(target, [gone])
    expect(log.asked).toEqual(['gone', 'gone'])
  })
})

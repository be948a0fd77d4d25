// Owns: the suite's part on fences (port invariant 3).
import { describe, expect, it } from 'vitest'
import { makeIncarnation } from '../../src/protocol/ids.ts'
import type { Bench } from './event-log-suite.ts'
import { isBarrier, land, readAll, record, texts } from './event-log-suite-helpers.ts'

export function describeFences(bench: () => Bench): void {
  describe('fence', () => {
    it('Given a writer, when another handle fences it, then its next append retires it as fenced', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      await land(bench(), writer, at(0), 'a', 'b')
      const other = await harness.another()
      const answer = await harness.run(other.fence(writer, [at(0)]))
      expect(answer).toEqual([{ at: at(0), barrierOffset: 2 }])
      const outcome = await harness.run(writer.append(at(0), [record('c')]))
      expect(outcome).toEqual({ kind: 'retired', reason: 'fenced' })
      expect(await writer.retired).toBe('fenced')
      expect(await texts(bench(), at(0))).toEqual(['a', 'b'])
    })

    it('Given a fence, then the barrier is a visible record with an empty value', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      await land(bench(), writer, at(0), 'a')
      const [fence] = await harness.run(harness.log.fence(writer, [at(0)]))
      const all = await readAll(bench(), at(0))
      expect(all.map(isBarrier)).toEqual([false, true])
      expect(all[1]).toMatchObject({ offset: fence?.barrierOffset })
      expect(all[1]?.value.length).toBe(0)
    })

    it('Given a barrier in one partition, then the other partitions still take the old identity until they have one', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      const other = await harness.another()
      await land(bench(), writer, at(0), 'a')
      await harness.run(other.fence(writer, [at(0)]))
      await land(bench(), writer, at(1), 'b')
      const [second] = await harness.run(other.fence(writer, [at(1)]))
      expect(second?.barrierOffset).toBe(1)
      const outcome = await harness.run(writer.append(at(1), [record('c')]))
      expect(outcome).toEqual({ kind: 'retired', reason: 'fenced' })
      expect(await texts(bench(), at(1))).toEqual(['b'])
    })

    it('Given many partitions, then the answer has one barrier each, in the order asked', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      await land(bench(), writer, at(3), 'a')
      const answer = await harness.run(harness.log.fence(writer, [at(3), at(0), at(2)]))
      expect(answer).toEqual([
        { at: at(3), barrierOffset: 1 },
        { at: at(0), barrierOffset: 0 },
        { at: at(2), barrierOffset: 0 },
      ])
    })

    it('Given the same fence again at the same handle, then the same barrier is answered', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      const first = await harness.run(harness.log.fence(writer, [at(0)]))
      const again = await harness.run(
        Promise.all([harness.log.fence(writer, [at(0)]), harness.log.fence(writer, [at(0)])]),
      )
      expect(again).toEqual([first, first])
      expect(await readAll(bench(), at(0))).toHaveLength(1)
    })

    it('Given three nodes that fence one at once, then each is answered a barrier behind all its records', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      await land(bench(), writer, at(0), 'a')
      await land(bench(), writer, at(1), 'b')
      const nodes = [harness.log, await harness.another(), await harness.another()]
      const answers = await harness.run(Promise.all(nodes.map((node) => node.fence(writer, [at(0), at(1)]))))
      for (const partition of [0, 1]) {
        const all = await readAll(bench(), at(partition))
        for (const answer of answers) {
          const offset = answer[partition]?.barrierOffset ?? -1
          expect(all.find((one) => one.offset === offset)).toSatisfy(isBarrier)
          expect(all.filter((one) => one.offset >= offset).every(isBarrier)).toBe(true)
        }
      }
      expect(await harness.run(writer.append(at(0), [record('late')]))).toMatchObject({ kind: 'retired' })
    })

    it('Given an identity that never appended, then its first append is refused after the fence', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      await harness.run(harness.log.fence(writer, [at(0)]))
      const outcome = await harness.run(writer.append(at(0), [record('a')]))
      expect(outcome).toEqual({ kind: 'retired', reason: 'fenced' })
    })

    it('Given an identity that nobody ever took, then the fence is answered and it can never be opened', async () => {
      const { harness, at } = bench()
      const unknown = makeIncarnation('ghost', 'never')
      const answer = await harness.run(harness.log.fence({ identity: unknown, pid: 4_711 }, [at(0)]))
      expect(answer).toEqual([{ at: at(0), barrierOffset: 0 }])
      await expect(harness.run(harness.log.open(unknown))).rejects.toThrow('used before')
    })

    it('Given a target with another PID than its identity has, then the barrier goes under the identity', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      await land(bench(), writer, at(0), 'a')
      await harness.run(harness.log.fence({ identity: writer.identity, pid: writer.pid + 1_000 }, [at(0)]))
      const outcome = await harness.run(writer.append(at(0), [record('b')]))
      expect(outcome).toEqual({ kind: 'retired', reason: 'fenced' })
    })

    it('Given a fence, then other identities are not touched', async () => {
      const { harness, at, identity } = bench()
      const old = await harness.run(harness.log.open(identity()))
      const young = await harness.run(harness.log.open(identity()))
      await land(bench(), young, at(0), 'a')
      await harness.run(harness.log.fence(old, [at(0)]))
      await land(bench(), young, at(0), 'b')
      expect(await texts(bench(), at(0))).toEqual(['a', 'b'])
    })

    it('Given no such topic or partition, then the fence says so', async () => {
      const { harness, topic, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      const nowhere = { topic: `${topic}x` as typeof topic, partition: 0 }
      await expect(harness.run(harness.log.fence(writer, [nowhere]))).rejects.toMatchObject({ name: 'UNKNOWN_TOPIC' })
      await expect(harness.run(harness.log.fence(writer, [at(99)]))).rejects.toMatchObject({
        name: 'UNKNOWN_PARTITION',
      })
      expect(await harness.run(harness.log.fence(writer, [at(0)]))).toHaveLength(1)
    })

    it('Given a topic made anew under its old name, then a fence puts a barrier there too', async () => {
      const { harness, topic, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      await harness.run(harness.log.fence(writer, [at(0)]))
      await harness.run(harness.log.deleteTopic(topic))
      await harness.run(harness.log.createTopic({ name: topic, partitions: 1, format: 'sealed' }))
      const answer = await harness.run(harness.log.fence(writer, [at(0)]))
      expect(answer).toEqual([{ at: at(0), barrierOffset: 0 }])
      expect(await readAll(bench(), at(0))).toHaveLength(1)
    })
  })
}

// Owns: the suite's part on appends whose answer is late, lost or wrong: each lands once, in order, or not at all.
import { describe, expect, it } from 'vitest'
import type { AppendFault } from '../support/sim-log/faulty-broker.ts'
import type { Bench } from './event-log-suite.ts'
import { isBarrier, land, landedAt, readAll, record, textOf, texts } from './event-log-suite-helpers.ts'

const survivable: readonly AppendFault[] = [
  'landed-not-answered',
  'answered-late',
  'lost',
  'arrives-late',
  'landed-then-not-leader',
  'landed-then-not-enough-replicas',
  'not-leader',
]

export function describeFaults(bench: () => Bench): void {
  describe('faults', () => {
    for (const fault of survivable) {
      it(`Given an append that is ${fault}, then it lands once, with its own offset, and the next follows`, async (context) => {
        const { harness, at, identity } = bench()
        if (harness.faults === undefined) return context.skip()
        const writer = await harness.run(harness.log.open(identity()))
        await land(bench(), writer, at(0), 'a')
        harness.faults.script(fault)
        expect(await land(bench(), writer, at(0), 'b', 'c')).toBe(1)
        expect(await land(bench(), writer, at(0), 'd')).toBe(3)
        // What is still under way arrives, and must change nothing.
        await harness.advance(10_000)
        expect(await texts(bench(), at(0))).toEqual(['a', 'b', 'c', 'd'])
      })
    }

    it('Given the very first append in doubt three times, then it still lands once', async (context) => {
      const { harness, at, identity } = bench()
      if (harness.faults === undefined) return context.skip()
      const writer = await harness.run(harness.log.open(identity()))
      harness.faults.script('arrives-late', 'lost', 'landed-not-answered')
      expect(await land(bench(), writer, at(0), 'a')).toBe(0)
      expect(await land(bench(), writer, at(0), 'b')).toBe(1)
      await harness.advance(10_000)
      expect(await texts(bench(), at(0))).toEqual(['a', 'b'])
    })

    it('Given an append that landed unanswered, when the writer is fenced, then its re-send is refused and it is there once', async (context) => {
      const { harness, at, identity } = bench()
      const { faults } = harness
      if (faults === undefined) return context.skip()
      const other = await harness.another()
      const writer = await harness.run(harness.log.open(identity()))
      faults.meanwhile(() => other.fence(writer, [at(0)]))
      faults.script('landed-not-answered', 'meanwhile')
      const outcome = await harness.run(writer.append(at(0), [record('a')]))
      expect(outcome).toEqual({ kind: 'retired', reason: 'fenced' })
      const all = await readAll(bench(), at(0))
      expect(all.map(isBarrier)).toEqual([false, true])
    })

    it('Given an append on its way, when the writer is fenced first, then it never lands', async (context) => {
      const { harness, at, identity } = bench()
      const { faults } = harness
      if (faults === undefined) return context.skip()
      const other = await harness.another()
      const writer = await harness.run(harness.log.open(identity()))
      faults.meanwhile(() => other.fence(writer, [at(0)]))
      faults.script('meanwhile')
      expect(await harness.run(writer.append(at(0), [record('a')]))).toEqual({ kind: 'retired', reason: 'fenced' })
      expect(await texts(bench(), at(0))).toEqual([])
    })

    it('Given an append in the air, when its writer closes and is fenced, then it lands nowhere behind the barrier', async (context) => {
      const { harness, at, identity } = bench()
      if (harness.faults === undefined) return context.skip()
      const other = await harness.another()
      const writer = await harness.run(harness.log.open(identity()))
      harness.faults.script('arrives-late', 'silence')
      const appending = writer.append(at(0), [record('zombie')])
      await harness.advance(1)
      await harness.run(writer.close())
      expect(await harness.run(appending)).toEqual({ kind: 'retired', reason: 'closed' })
      const [fence] = await harness.run(other.fence(writer, [at(0)]))
      await harness.advance(10_000)
      const behind = (await readAll(bench(), at(0))).filter((one) => one.offset > (fence?.barrierOffset ?? -1))
      expect(behind.map(textOf)).toEqual([])
    })

    it('Given 150 appends under faults by chance, then each lands once, in order, where its answer said', async (context) => {
      const { harness, at, identity } = bench()
      if (harness.faults === undefined) return context.skip()
      const writer = await harness.run(harness.log.open(identity()))
      harness.faults.chance(0.4)
      const work = [0, 1, 2].map(async (partition) => {
        const where: number[] = []
        for (let n = 0; n < 50; n++) where.push(landedAt(await writer.append(at(partition), [record(`${n}`)])))
        return where
      })
      const answers = await harness.run(Promise.all(work))
      await harness.advance(10_000)
      for (const [partition, where] of answers.entries()) {
        const all = await readAll(bench(), at(partition))
        expect(all.map(textOf)).toEqual(Array.from({ length: 50 }, (_, n) => `${n}`))
        expect(where).toEqual(all.map((one) => one.offset))
      }
    })
  })
}

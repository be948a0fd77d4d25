// Owns: that sealing and opening are counted with their time and change in nothing else.
import { beforeEach, describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { buildBlock } from '../../../src/protocol/block.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { parseProducerId, parseTopicId } from '../../../src/protocol/ids.ts'
import { encoding } from '../../../src/protocol/messages.ts'
import { timedOpener, timedSealer } from '../../../src/stream-tier/timed-crypto.ts'

const block = buildBlock(0, [{ payload: new Uint8Array([1]) }], encoding.none)
const ids = { topicId: parseTopicId('ab'.repeat(16)), producerId: parseProducerId('cd'.repeat(16)) }
const place = { ...ids, tenant: 'default', partition: 0, n: 1, part: 0 }
const sealed = new Uint8Array([7])
const away = new TrunklineError('KEY_UNAVAILABLE')

let clock: SimulatedClock
let seen: (readonly [string, number])[]
const metrics = {
  sealed: (outcome: string, durationMs: number) => void seen.push([outcome, durationMs]),
  openTook: (durationMs: number) => void seen.push(['opened', durationMs]),
}
beforeEach(() => {
  clock = new SimulatedClock()
  seen = []
})

const later = <T>(settle: () => T, delayMs: number): Promise<T> =>
  new Promise((resolve, reject) => {
    clock.after(delayMs, () => {
      try {
        resolve(settle())
      } catch (thrown) {
        reject(thrown instanceof Error ? thrown : new Error('odd'))
      }
    })
  })
const failing = (): never => {
  throw away
}

describe('a timed sealer', () => {
  const of = (seal: () => Uint8Array | Promise<Uint8Array>) =>
    timedSealer({ seal, prepare: async () => undefined }, { clock, metrics })

  it('Given a key at hand, then the answer comes at once, as it is, and is counted', () => {
    expect(of(() => sealed).seal(block, place)).toBe(sealed)
    expect(seen).toEqual([['ok', 0]])
  })

  it('Given a key that has to be asked for, then the wait is part of the time', async () => {
    const sealing = of(() => later(() => sealed, 30)).seal(block, place)
    await clock.advance(30)
    expect(await sealing).toBe(sealed)
    expect(seen).toEqual([['ok', 30]])
  })

  it('Given a failure, at once or late, then it is the same one, counted by its name', async () => {
    expect(() => of(failing).seal(block, place)).toThrow(away)
    const sealing = Promise.resolve(of(() => later(failing, 5)).seal(block, place))
    const failed = expect(sealing).rejects.toBe(away)
    await clock.advance(5)
    await failed
    expect(seen).toEqual([
      ['KEY_UNAVAILABLE', 0],
      ['KEY_UNAVAILABLE', 5],
    ])
  })
})

describe('a timed opener', () => {
  const of = (open: () => typeof block | Promise<typeof block>) => timedOpener({ open }, { clock, metrics })

  it('Given a block, at once or late, then it is the same one, and its time is counted', async () => {
    expect(of(() => block).open(place, sealed)).toBe(block)
    const opening = of(() => later(() => block, 8)).open(place, sealed)
    await clock.advance(8)
    expect(await opening).toBe(block)
    expect(seen).toEqual([
      ['opened', 0],
      ['opened', 8],
    ])
  })

  it('Given a block that does not open, then the failure is passed on and no time is counted', async () => {
    expect(() => of(failing).open(place, sealed)).toThrow(away)
    const failed = expect(Promise.resolve(of(() => later(failing, 1)).open(place, sealed))).rejects.toBe(away)
    await clock.advance(1)
    await failed
    expect(seen).toEqual([])
  })
})

// The demo's judgement: it has to see what it is there to see.
import { describe, expect, it } from 'vitest'
import type { Quake } from '../../../scripts/demo/quakes.ts'
import { readQuakes } from '../../../scripts/demo/quakes.ts'
import { judge, type ReadResult } from '../../../scripts/demo/reading.ts'
import { describeFigures, type Figures, wrongFigures } from '../../../scripts/demo/report.ts'

const quakes: readonly Quake[] = ['a1', 'b1', 'a2', 'b2'].map((id, index) => {
  const payload = `{"id":"${id}"}`
  return { id, network: id.charAt(0), event: { key: id.charAt(0), id, timestamp: index, payload } }
})
const positions = ['0:0:0', '1:0:0', '0:1:0', '1:1:0']
const all = new Set(quakes.map(({ id }) => id))

type ReadEvent = ReadResult['events'][number]

function read(...ids: readonly string[]): ReadEvent[] {
  return ids.map((id) => {
    const index = quakes.findIndex((quake) => quake.id === id)
    return { id, key: id.charAt(0), payload: `{"id":"${id}"}`, timestampMs: index, position: positions[index] ?? '' }
  })
}

const sound = { out: 4, lost: 0, duplicates: 0, outOfOrder: 0, changed: 0 }

describe('the demo', () => {
  it('publishes every earthquake once, with its network as the key', () => {
    const real = readQuakes()
    expect(real).toHaveLength(1_707)
    expect(new Set(real.map(({ id }) => id)).size).toBe(1_707)
    expect(real[0]).toMatchObject({
      id: 'ci37868143',
      network: 'ci',
      event: { key: 'ci', timestamp: 1_517_966_773_840 },
    })
  })

  it.each<[string, ReadEvent[], Partial<typeof sound>]>([
    ['everything in order', read('a1', 'b1', 'a2', 'b2'), {}],
    ['another order of the keys', read('b1', 'b2', 'a1', 'a2'), {}],
    ['one lost', read('a1', 'b1', 'b2'), { out: 3, lost: 1 }],
    ['one twice', read('a1', 'b1', 'b1', 'a2', 'b2'), { out: 5, duplicates: 1 }],
    ['one that nobody published', read('a1', 'b1', 'a2', 'b2', 'x'), { out: 5, duplicates: 1 }],
    ['one behind its successor', read('a2', 'a1', 'b1', 'b2'), { outOfOrder: 1 }],
  ])('given %s, says so', (_, events, verdict) => {
    expect(judge(events, quakes, positions, all)).toEqual({ ...sound, ...verdict })
  })

  it.each<[string, Partial<ReadEvent>]>([
    ['payload', { payload: '{}' }],
    ['key', { key: 'b' }],
    ['time', { timestampMs: 7 }],
    ['position', { position: '0:9:0' }],
  ])('given another %s, says that it changed', (_, change) => {
    const [first, ...rest] = read('a1', 'b1', 'a2', 'b2')
    if (first === undefined) throw new Error('there are four')
    expect(judge([{ ...first, ...change }, ...rest], quakes, positions, all).changed).toBe(1)
  })

  it('given an event from before the cursor, counts it as a duplicate', () => {
    expect(judge(read('a1', 'b2'), quakes, positions, new Set(['b2']))).toMatchObject({ lost: 0, duplicates: 1 })
  })

  it.each<[string, Partial<Figures>]>([
    ['nothing in flight', { inFlight: 0 }],
    ['no cursor in the middle', { beforeCursor: 0 }],
    ['an empty disk', { bytesOnDisk: 0 }],
    ['too few for the first reader', { first: { ...sound, out: 3 } }],
    ['a loss', { first: { ...sound, lost: 1 } }],
    ['a duplicate', { second: { ...sound, out: 3, duplicates: 1 } }],
    ['a wrong order', { second: { ...sound, out: 3, outOfOrder: 1 } }],
    ['a change', { second: { ...sound, out: 3, changed: 1 } }],
  ])('given %s, is wrong', (_, change) => {
    const right: Figures = {
      published: 4,
      publishMs: 1,
      readMs: 1,
      bytesOnDisk: 1,
      inFlight: 1,
      first: sound,
      beforeCursor: 1,
      second: { ...sound, out: 3 },
    }
    expect(wrongFigures(right)).toEqual([])
    expect(describeFigures(right)).toContain('events in')
    expect(wrongFigures({ ...right, ...change })).not.toEqual([])
  })
})

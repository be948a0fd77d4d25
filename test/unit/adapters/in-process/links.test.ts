// Owns: who is in the collection after any order of coming and leaving, and that who left holds on to nothing.
import { describe, expect, test } from 'vitest'
import { type Link, Links } from '../../../../src/adapters/in-process/links.ts'
import { SeededRandom } from '../../../../src/adapters/random/seeded-random.ts'

describe('links', () => {
  test('given items that leave from the start, the middle and the end, then the others stay in their order', () => {
    const links = new Links<string>()
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((item) => links.add(item)) as [Link<string>, ...Link<string>[]]
    for (const [link, left] of [
      [b, 'acd'],
      [a, 'cd'],
      [d, 'c'],
      [c, ''],
    ] as const) {
      if (link === undefined) throw new Error('four were added')
      links.delete(link)
      expect([links.items().join(''), links.size]).toEqual([left, left.length])
      expect([link.previous, link.next]).toEqual([undefined, undefined])
    }
    links.add('e')
    expect(links.items()).toEqual(['e'])
  })

  test('given a link that has left, when it leaves again, then nothing changes', () => {
    const links = new Links<string>()
    const first = links.add('a')
    links.delete(first)
    links.add('b')
    links.delete(first)
    expect([links.items(), links.size]).toEqual([['b'], 1])
  })

  test('given any order of coming and leaving, then it holds what a Set holds', () => {
    const random = new SeededRandom('links')
    const links = new Links<number>()
    const held = new Map<number, Link<number>>()
    for (let step = 0; step < 5_000; step += 1) {
      const one = [...held][Math.floor(random.fraction() * held.size)]
      if (one === undefined || random.fraction() < 0.5) held.set(step, links.add(step))
      else {
        links.delete(one[1])
        held.delete(one[0])
      }
      expect(links.size).toBe(held.size)
    }
    expect(links.items()).toEqual([...held.keys()])
  })
})

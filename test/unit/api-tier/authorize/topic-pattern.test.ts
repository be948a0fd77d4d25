// Patterns of topics: the table that people rely on, and a model that is too slow to be the product.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { matchesTopic, parseTopicPattern } from '../../../../src/api-tier/authorize/topic-pattern.ts'
import { forAll } from '../../protocol/support/seed.ts'

const matches = (text: string, name: string): boolean => {
  const pattern = parseTopicPattern(text)
  if (pattern === undefined) throw new Error(`${text} is no pattern`)
  return matchesTopic(pattern, name)
}

/** Segment by segment, with every way of ending; never used on long names. */
function modelMatches(text: string, name: string): boolean {
  if (text.endsWith('*')) {
    const head = text.slice(0, -1)
    return Array.from({ length: name.length + 1 }, (_, end) => name.slice(0, end)).some((start) => exact(head, start))
  }
  return exact(text, name)
}

function exact(text: string, name: string): boolean {
  const [wanted, given] = [text.split('.'), name.split('.')]
  return (
    wanted.length === given.length &&
    wanted.every((segment, at) => (segment === '*' ? given[at] !== '' : segment === given[at]))
  )
}

describe('a pattern of topics', () => {
  test.each([
    ['orders', 'orders', true],
    ['orders', 'orders.eu', false],
    ['orders', 'Orders', false],
    ['orders.*', 'orders.eu', true],
    ['orders.*', 'orders.eu.north', true],
    ['orders.*', 'orders', false],
    ['orders*', 'orders', true],
    ['orders*', 'orders-eu', true],
    ['*', 'anything.at-all', true],
    ['*.audit', 'eu.audit', true],
    ['*.audit', 'eu.north.audit', false],
    ['*.audit', '.audit', false],
    ['eu.*.orders', 'eu.north.orders', true],
    ['eu.*.orders', 'eu.orders', false],
    ['*.*', 'plain', false],
    ['*.*', 'a.b.c', true],
  ])('%s on %s: %s', (pattern, name, expected) => {
    expect(matches(pattern, name)).toBe(expected)
  })

  test.each(['', 'a*b', 'a*.b', '**', 'a.**', '*a', 'a b', 'a/b', '^a$', 'a'.repeat(257), '*a*'])(
    'refuses %j',
    (text) => {
      expect(parseTopicPattern(text)).toBeUndefined()
    },
  )

  test('given any pattern and name, then it says what the model says', () => {
    const alphabet = fc.constantFrom('a', 'b', '.', '*')
    const pattern = fc.string({ unit: alphabet, minLength: 1, maxLength: 8 })
    const name = fc.string({ unit: fc.constantFrom('a', 'b', '.'), minLength: 1, maxLength: 10 })
    let met = 0
    forAll(20_000, fc.tuple(pattern, name), ([text, topic]) => {
      if (parseTopicPattern(text) === undefined) return
      met += 1
      expect(matches(text, topic), `${text} on ${topic}`).toBe(modelMatches(text, topic))
    })
    expect(met).toBeGreaterThan(2_000)
  })
})

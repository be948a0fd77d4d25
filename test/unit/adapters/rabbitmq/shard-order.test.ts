// Owns: which shard a cookie prefers.
import { describe, expect, test } from 'vitest'
import { orderByCookie } from '../../../../src/adapters/rabbitmq/shard-order.ts'

const shards = ['a', 'b', 'c', 'd'].map((name) => ({ name }))
const cookies = Array.from({ length: 4_000 }, (_, index) => `cookie-${index}`)
const first = (from: readonly { readonly name: string }[], cookie: string): string =>
  orderByCookie(from, cookie)[0]?.name ?? ''

describe('the order of shards', () => {
  test('given many cookies, then they spread evenly', () => {
    for (const { name } of shards) {
      const share = cookies.filter((cookie) => first(shards, cookie) === name).length
      expect(share).toBeGreaterThan(850)
      expect(share).toBeLessThan(1_150)
    }
  })

  test('given another order of the configuration, then the order is the same', () => {
    for (const cookie of cookies.slice(0, 100))
      expect(orderByCookie([...shards].reverse(), cookie)).toEqual(orderByCookie(shards, cookie))
  })

  test('given a shard that is missing, then only its own cookies move', () => {
    const rest = shards.slice(1)
    for (const cookie of cookies) {
      const [before, next] = orderByCookie(shards, cookie)
      expect(first(rest, cookie)).toBe(before?.name === 'a' ? next?.name : before?.name)
    }
  })
})

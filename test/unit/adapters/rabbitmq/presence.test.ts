// Owns: who counts as there, and when a node goes.
import { beforeEach, describe, expect, test } from 'vitest'
import { SimulatedClock } from '../../../../src/adapters/clock/simulated-clock.ts'
import { PresenceTable } from '../../../../src/adapters/rabbitmq/presence.ts'
import { makeIncarnation } from '../../../../src/protocol/ids.ts'

const key = makeIncarnation('node', 'e1')
const other = makeIncarnation('other', 'e1')

describe('the presence table', () => {
  let clock: SimulatedClock
  let table: PresenceTable
  beforeEach(() => {
    clock = new SimulatedClock()
    table = new PresenceTable(clock, 15_000)
  })

  test('given a node on two shards, when both queues go, then it goes with the second', () => {
    table.here('a', key, 'q1')
    table.here('b', key, 'q2')
    expect(table.list()).toEqual([{ key, shards: ['a', 'b'] }])
    expect(table.queueDeleted('a', 'q1')).toBe(key)
    expect(table.list()).toEqual([{ key, shards: ['b'] }])
    table.queueDeleted('b', 'q2')
    table.queueDeleted('b', 'q2')
    expect(table.list()).toEqual([])
    expect(table.wasHereLately(key)).toBe(true)
  })

  test('given a node that says goodbye, then it is not looked for', () => {
    table.here('a', key, 'q1')
    table.bye('a', 'q1')
    expect([table.list(), table.wasHereLately(key)]).toEqual([[], false])
  })

  test('given a node that says goodbye on one shard, when it is heard from another one only then, then it goes with its queue there', () => {
    table.here('a', key, 'q1')
    table.bye('a', 'q1')
    table.here('b', key, 'q2')
    expect(table.isOn('b', key)).toBe(true)
    expect(table.bye('b', 'q2')).toBe(key)
    expect([table.list(), table.wasHereLately(key)]).toEqual([[], false])
  })

  test('given a node that was not heard for too long, when its queue goes later, then it is still known whose that was', async () => {
    table.here('a', key, 'q1')
    await clock.advance(15_000)
    expect(table.expire('a')).toEqual([{ key, queue: 'q1' }])
    expect(table.isOn('a', key)).toBe(false)
    // What was sent there on the chance is lost with it.
    expect(table.queueDeleted('a', 'q1')).toBe(key)
    expect(table.queueDeleted('a', 'q1')).toBeUndefined()
    expect([table.list(), table.wasHereLately(key)]).toEqual([[], false])
  })

  test('given as many silent queues as are remembered, when one more falls silent, then the oldest is forgotten for it', async () => {
    for (let index = 0; index < 10_000; index += 1) table.here('a', makeIncarnation(`n${index}`, 'e1'), `q${index}`)
    await clock.advance(15_000)
    table.expire('a')
    table.here('a', key, 'newest')
    await clock.advance(15_000)
    table.expire('a')
    expect(table.queueDeleted('a', 'newest')).toBe(key)
    expect(table.queueDeleted('a', 'q0')).toBeUndefined()
    expect(table.queueDeleted('a', 'q1')).toBe(makeIncarnation('n1', 'e1'))
  })

  test('given a queue that was deleted, then a word that comes late does not revive it, and a new queue does', () => {
    table.here('a', key, 'q1')
    table.queueDeleted('a', 'q1')
    table.here('a', key, 'q1')
    expect(table.list()).toEqual([])
    table.here('a', key, 'q2')
    expect([table.list(), table.queueOf('a', key)]).toEqual([[{ key, shards: ['a'] }], 'q2'])
    // Deleted before anybody heard of it.
    table.queueDeleted('a', 'q3')
    table.here('a', other, 'q3')
    expect(table.isOn('a', other)).toBe(false)
  })

  test('given a node with a new queue, when its old one is deleted, then it stays', () => {
    table.here('a', key, 'q1')
    table.here('a', key, 'q2')
    expect(table.queueDeleted('a', 'q1')).toBeUndefined()
    expect(table.queueOf('a', key)).toBe('q2')
  })

  test('given a shard out of sight, then its nodes have not gone, until they are silent for too long', async () => {
    table.here('a', key, 'q1')
    table.here('b', other, 'q2')
    table.shardLost('a')
    expect([table.list(), table.wasHereLately(key)]).toEqual([[{ key: other, shards: ['b'] }], true])
    await clock.advance(14_999)
    table.here('b', other, 'q2')
    table.expire('b')
    expect(table.wasHereLately(key)).toBe(true)
    await clock.advance(1)
    table.expire('b')
    expect([table.list(), table.wasHereLately(key)]).toEqual([[{ key: other, shards: ['b'] }], false])
  })

  test('given a node on a lost shard and on another, when its queue there goes, then it goes', () => {
    table.here('a', key, 'q1')
    table.here('b', key, 'q2')
    table.shardLost('a')
    table.queueDeleted('b', 'q2')
    expect(table.list()).toEqual([])
  })

  test('given silence, then a node goes, and is there again when it speaks', async () => {
    table.here('a', key, 'q1')
    await clock.advance(15_000)
    expect(table.expire('b')).toEqual([])
    expect(table.expire('a')).toEqual([{ key, queue: 'q1' }])
    expect(table.list()).toEqual([])
    table.here('a', key, 'q1')
    expect(table.list()).toEqual([{ key, shards: ['a'] }])
  })
})

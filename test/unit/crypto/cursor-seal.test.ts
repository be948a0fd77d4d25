import { describe, expect, test } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { type CursorScope, CursorSealer, cursorOverheadBytes, openCursor } from '../../../src/crypto/cursor-seal.ts'
import { GatewayKeys } from '../../../src/crypto/gateway-keys.ts'
import { errorOf, everyBitFlip, hex, topicA, topicB } from './crypto-fixtures.ts'

const clock = new SimulatedClock()
const random = new SeededRandom('cursors')
const keys = GatewayKeys.generate(random, clock)
const scope: CursorScope = { clusterId: 'cluster-1', tenant: 'acme', topicId: topicA }
const content = Uint8Array.of(1, 2, 3, 4, 5)

describe('sealed cursors', () => {
  test('given a sealed cursor, when any node opens it, then the content comes back', () => {
    const cursor = new CursorSealer(keys, scope, random).seal(content)
    expect(openCursor(keys, scope, cursor)).toEqual(content)
    expect(openCursor(GatewayKeys.parse(keys.toText()), scope, cursor)).toEqual(content)
    expect(cursor).toHaveLength(content.length + cursorOverheadBytes)
  })

  test('given an empty content, then it is sealed as well', () => {
    expect(openCursor(keys, scope, new CursorSealer(keys, scope, random).seal(new Uint8Array(0)))).toHaveLength(0)
  })

  test('given many cursors of two sessions, then no (salt, counter) comes twice and all open', () => {
    const seen = new Set<string>()
    for (const sealer of [new CursorSealer(keys, scope, random, 100), new CursorSealer(keys, scope, random, 100)]) {
      for (let step = 0; step < 1_000; step += 1) {
        const cursor = sealer.seal(content)
        seen.add(hex(cursor.subarray(13, 33)))
        expect(openCursor(keys, scope, cursor)).toEqual(content)
      }
    }
    expect(seen.size).toBe(2_000)
    expect(new Set([...seen].map((one) => one.slice(0, 32))).size).toBe(20)
  })

  test('given a sealer that was closed, when it seals again, then with a new salt', () => {
    const sealer = new CursorSealer(keys, scope, random)
    const before = sealer.seal(content)
    sealer.close()
    const after = sealer.seal(content)
    expect(hex(after.subarray(13, 29))).not.toBe(hex(before.subarray(13, 29)))
    expect(openCursor(keys, scope, after)).toEqual(content)
  })

  test.each<[string, Partial<CursorScope>]>([
    ['topic', { topicId: topicB }],
    ['tenant', { tenant: 'acmf' }],
    ['cluster', { clusterId: 'cluster-2' }],
    ['split of the names', { clusterId: 'cluster-1a', tenant: 'cme' }],
  ])('given another %s, then the cursor is foreign', async (_, other) => {
    const cursor = new CursorSealer(keys, scope, random).seal(content)
    expect(await errorOf(() => openCursor(keys, { ...scope, ...other }, cursor))).toBe('CURSOR_FOREIGN')
  })

  test('given a cursor of another cluster with other keys, then it is foreign, not forged', async () => {
    const otherKeys = GatewayKeys.generate(random, clock)
    const cursor = new CursorSealer(otherKeys, { ...scope, clusterId: 'cluster-2' }, random).seal(content)
    expect(await errorOf(() => openCursor(keys, scope, cursor))).toBe('CURSOR_FOREIGN')
  })

  test('given a foreign cursor whose scope hash was corrected, then it is still refused', async () => {
    const foreign = new CursorSealer(keys, { ...scope, topicId: topicB }, random).seal(content)
    foreign.set(new CursorSealer(keys, scope, random).seal(content).subarray(1, 9), 1)
    expect(await errorOf(() => openCursor(keys, scope, foreign))).toBe('BAD_CURSOR')
  })

  test('given any single flipped bit, then the cursor is refused, cached subkey or not', async () => {
    const cursor = new CursorSealer(keys, scope, random).seal(content)
    for (const warm of [false, true]) {
      if (warm) openCursor(keys, scope, cursor)
      for (const { bit, flipped } of everyBitFlip(cursor)) {
        const expected = bit < 8 ? 'CURSOR_VERSION' : bit < 72 ? 'CURSOR_FOREIGN' : 'BAD_CURSOR'
        expect(await errorOf(() => openCursor(keys, scope, flipped)), `bit ${bit}`).toBe(expected)
      }
    }
    expect(openCursor(keys, scope, cursor)).toEqual(content)
  })

  test('given any truncation, or a byte more, then the cursor is refused', async () => {
    const cursor = new CursorSealer(keys, scope, random).seal(content)
    for (let size = 0; size < cursor.length; size += 1) {
      expect(await errorOf(() => openCursor(keys, scope, cursor.subarray(0, size))), `${size}`).toBe('BAD_CURSOR')
    }
    expect(await errorOf(() => openCursor(keys, scope, Uint8Array.from([...cursor, 0])))).toBe('BAD_CURSOR')
  })

  test('given rotations, then the cursor opens; given its key was dropped, then it is refused', async () => {
    const cursor = new CursorSealer(keys, scope, random).seal(content)
    const twice = keys.rotated(random, clock).rotated(random, clock)
    expect(openCursor(twice, scope, cursor)).toEqual(content)
    expect(await errorOf(() => openCursor(twice.without(keys.currentId), scope, cursor))).toBe('BAD_CURSOR')
  })

  test('given another current key was adopted, then the sealer goes on with it, and what was kept of a dropped one is gone', async () => {
    const held = GatewayKeys.parse(keys.toText())
    const sealer = new CursorSealer(held, scope, random)
    const before = sealer.seal(content)
    expect(openCursor(held, scope, before)).toEqual(content)
    const rotated = held.rotated(random, clock)
    const { currentId } = rotated
    held.adopt(rotated.without(held.currentId))
    const after = sealer.seal(content)
    expect(Buffer.from(after.subarray(9, 13)).toString('hex')).toBe(currentId)
    expect(openCursor(held, scope, after)).toEqual(content)
    expect(await errorOf(() => openCursor(held, scope, before))).toBe('BAD_CURSOR')
  })

  test('given more sessions than subkeys are kept, then their cursors still open', () => {
    const own = GatewayKeys.generate(random, clock)
    const cursors = Array.from({ length: 4_200 }, () => new CursorSealer(own, scope, random).seal(content))
    for (const cursor of cursors) openCursor(own, scope, cursor)
    for (const cursor of cursors.slice(0, 10)) expect(openCursor(own, scope, cursor)).toEqual(content)
  })
})

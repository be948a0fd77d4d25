import { describe, expect, test } from 'vitest'
import { BlockOpener, readSealedHeader } from '../../../src/crypto/block-opener.ts'
import { BlockSealer, type DataKeyLimits } from '../../../src/crypto/block-sealer.ts'
import { sealedBlockBytesMax } from '../../../src/protocol/limits.ts'
import { blockOf, type CryptoWorld, cryptoWorld, errorOf, hex, place, topicA, topicB } from './crypto-fixtures.ts'

const hourMs = 3_600_000

function sealerIn(world: CryptoWorld, limits: Partial<DataKeyLimits> = {}, topicsMax?: number): BlockSealer {
  return new BlockSealer({ ...world, tenant: 'acme', limits, topicsMax })
}

/** The seal must be synchronous. */
function sealNow(sealer: BlockSealer, text = 'x', at = place): Uint8Array {
  const sealed = sealer.seal(blockOf(text, at.partition), at)
  if (sealed instanceof Promise) throw new Error('sealing took a promise')
  return sealed
}

function keyNameOf(sealed: Uint8Array): string {
  return hex(readSealedHeader(sealed).wrapped)
}

describe('sealing blocks', () => {
  test('given a prepared topic, when a block is sealed, then it is synchronous and opens at its place', async () => {
    const world = cryptoWorld('seal')
    const sealer = sealerIn(world)
    await sealer.prepare(topicA)
    const sealed = sealNow(sealer, 'hello')
    const opened = await new BlockOpener({ ...world, tenant: 'acme' }).open(place, sealed)
    expect(new TextDecoder().decode(opened.data)).toBe('hello')
    expect(world.clock.pendingCount).toBe(0)
    expect(opened).toMatchObject({ partition: 3, packing: 1, count: 2, encoding: 0, rawSize: 5 })
  })

  test('given no key yet, when many blocks are sealed at once, then one key is generated for all', async () => {
    const world = cryptoWorld('together')
    const sealer = sealerIn(world)
    const sealed = await Promise.all(Array.from({ length: 20 }, async () => sealer.seal(blockOf('x'), place)))
    expect(world.keys.generated).toBe(1)
    expect(new Set(sealed.map(keyNameOf)).size).toBe(1)
    expect(new Set(sealed.map((block) => hex(readSealedHeader(block).nonce))).size).toBe(20)
  })

  test('given the plain text, then no part of it stands in the sealed block', async () => {
    const sealer = sealerIn(cryptoWorld('canary'))
    const sealed = await sealer.seal(blockOf('CANARY-CANARY-CANARY'), place)
    expect(Buffer.from(sealed).toString('latin1')).not.toContain('CANARY')
  })

  test('given several rotations, then no (key, nonce) is ever used twice', async () => {
    const world = cryptoWorld('nonces')
    const sealer = sealerIn(world, { blocksMax: 50 })
    const other = sealerIn(world, { blocksMax: 50 })
    const seen = new Set<string>()
    const names = new Set<string>()
    for (let n = 1; n <= 1_000; n += 1) {
      for (const one of [sealer, other]) {
        const sealed = await one.seal(blockOf('same text'), place)
        const { wrapped, nonce } = readSealedHeader(sealed)
        names.add(hex(wrapped))
        seen.add(`${hex(wrapped)} ${hex(nonce)}`)
      }
    }
    expect(seen.size).toBe(2_000)
    expect(names.size).toBe(40)
  })

  test('given two topics, then each has a key of its own', async () => {
    const sealer = sealerIn(cryptoWorld('topics'))
    const one = await sealer.seal(blockOf('x'), place)
    const two = await sealer.seal(blockOf('x'), { ...place, topicId: topicB })
    expect(keyNameOf(one)).not.toBe(keyNameOf(two))
  })

  test('given a block that would be too large sealed, then it is refused', async () => {
    const sealer = sealerIn(cryptoWorld('large'))
    await sealer.prepare(topicA)
    const overhead = sealNow(sealer, 'x').length - 1
    const fits = 'x'.repeat(sealedBlockBytesMax - overhead)
    expect(sealNow(sealer, fits)).toHaveLength(sealedBlockBytesMax)
    expect(await errorOf(() => sealer.seal(blockOf(`${fits}x`), place))).toBe('BLOCK_TOO_LARGE')
  })
})

describe('replacing data keys', () => {
  test.each<[string, Partial<DataKeyLimits>]>([
    ['blocks', { blocksMax: 10 }],
    ['bytes', { bytesMax: 10 }],
  ])('given the limit of %s, then the next key is fetched ahead and taken without waiting', async (_, limits) => {
    const world = cryptoWorld('rotate')
    const sealer = sealerIn(world, limits)
    await sealer.prepare(topicA)
    const names: string[] = []
    for (let n = 0; n < 20; n += 1) {
      names.push(keyNameOf(sealNow(sealer)))
      await world.clock.settle()
    }
    expect(new Set(names.slice(0, 10)).size).toBe(1)
    expect(new Set(names.slice(10)).size).toBe(1)
    expect(names[10]).not.toBe(names[9])
  })

  test('given 54 minutes, then the next key is fetched; given 60, then it is used', async () => {
    const world = cryptoWorld('age')
    const sealer = sealerIn(world)
    await sealer.prepare(topicA)
    const first = keyNameOf(sealNow(sealer))
    await world.clock.advance(0.9 * hourMs - 1)
    sealNow(sealer)
    expect(world.keys.generated).toBe(1)
    await world.clock.advance(1)
    expect(keyNameOf(sealNow(sealer))).toBe(first)
    expect(world.keys.generated).toBe(2)
    await world.clock.advance(0.1 * hourMs)
    expect(keyNameOf(sealNow(sealer))).not.toBe(first)
  })

  test('given a topic that was idle for hours, then neither its old nor its stale next key is used', async () => {
    const world = cryptoWorld('idle')
    const sealer = sealerIn(world)
    await sealer.prepare(topicA)
    await world.clock.advance(0.95 * hourMs)
    const first = keyNameOf(sealNow(sealer))
    await world.clock.settle()
    expect(world.keys.generated).toBe(2)
    await world.clock.advance(2 * hourMs)
    const later = keyNameOf(await sealer.seal(blockOf('x'), place))
    expect(world.keys.generated).toBe(3)
    expect(later).not.toBe(first)
    expect(world.keys.plaintexts.every((key) => key.every((byte) => byte === 0))).toBe(true)
  })

  test('given the provider is away at the limit, then the old key goes on to twice the limit and no further', async () => {
    const world = cryptoWorld('away')
    const sealer = sealerIn(world, { blocksMax: 10 })
    await sealer.prepare(topicA)
    world.keys.fault = 'unavailable'
    const names = new Set<string>()
    for (let n = 0; n < 20; n += 1) names.add(keyNameOf(await sealer.seal(blockOf('x'), place)))
    expect(names.size).toBe(1)
    expect(await errorOf(() => sealer.seal(blockOf('x'), place))).toBe('KEY_UNAVAILABLE')
    world.keys.fault = 'none'
    await world.clock.advance(1_000)
    expect(names.has(keyNameOf(await sealer.seal(blockOf('x'), place)))).toBe(false)
  })

  test('given the provider is away for two hours, then writing ends', async () => {
    const world = cryptoWorld('away long')
    const sealer = sealerIn(world)
    await sealer.prepare(topicA)
    world.keys.fault = 'unavailable'
    await world.clock.advance(2 * hourMs - 1)
    await sealer.seal(blockOf('x'), place)
    await world.clock.advance(1)
    expect(await errorOf(() => sealer.seal(blockOf('x'), place))).toBe('KEY_UNAVAILABLE')
  })

  test('given the provider is away, then it is asked at most once a second', async () => {
    const world = cryptoWorld('bounded')
    const sealer = sealerIn(world)
    world.keys.fault = 'unavailable'
    for (let n = 0; n < 50; n += 1)
      expect(await errorOf(() => sealer.seal(blockOf('x'), place))).toBe('KEY_UNAVAILABLE')
    expect(world.keys.generated).toBe(1)
    await world.clock.advance(1_000)
    expect(await errorOf(() => sealer.prepare(topicA))).toBe('KEY_UNAVAILABLE')
    expect(world.keys.generated).toBe(2)
  })

  test('given a slow provider at the limit, then sealing waits 5 s once and goes on with the old key', async () => {
    const world = cryptoWorld('slow')
    const sealer = sealerIn(world, { blocksMax: 10 })
    await sealer.prepare(topicA)
    world.keys.fault = 'slow'
    for (let n = 0; n < 10; n += 1) sealNow(sealer)
    const waiting = Promise.resolve(sealer.seal(blockOf('x'), place))
    await world.clock.advance(5_000)
    const old = keyNameOf(await waiting)
    expect(keyNameOf(sealNow(sealer))).toBe(old)
    // The late answer is still taken.
    world.keys.fault = 'none'
    world.keys.release()
    await world.clock.settle()
    expect(keyNameOf(sealNow(sealer))).not.toBe(old)
    expect(world.keys.generated).toBe(2)
  })

  test('given a provider that never answers, then the first seal fails after 5 s', async () => {
    const world = cryptoWorld('hung')
    const sealer = sealerIn(world)
    world.keys.fault = 'slow'
    const failed = errorOf(() => sealer.seal(blockOf('x'), place))
    await world.clock.advance(5_000)
    expect(await failed).toBe('KEY_UNAVAILABLE')
    expect(world.clock.pendingCount).toBe(0)
  })

  test('given more blocks waiting than one key may seal, then they wait for as many keys as it takes', async () => {
    const world = cryptoWorld('crowd')
    const sealer = sealerIn(world, { blocksMax: 3 })
    const sealed = await Promise.all(Array.from({ length: 10 }, async () => sealer.seal(blockOf('x'), place)))
    expect(new Set(sealed.map(keyNameOf)).size).toBe(4)
  })

  test('given a provider that breaks, then its text does not travel', async () => {
    const world = cryptoWorld('broken')
    world.keys.fault = 'broken'
    const sealer = sealerIn(world)
    await expect(sealer.seal(blockOf('x'), place)).rejects.toMatchObject({
      name: 'KEY_UNAVAILABLE',
      message: expect.not.stringContaining('kms.internal') as string,
    })
  })

  test('given more topics than the bound, then the topic used longest ago gets a new key', async () => {
    const world = cryptoWorld('many topics')
    const sealer = sealerIn(world, {}, 1)
    const first = keyNameOf(await sealer.seal(blockOf('x'), place))
    await sealer.prepare(topicB)
    expect(keyNameOf(await sealer.seal(blockOf('x'), place))).not.toBe(first)
  })
})

describe('closing the sealer', () => {
  test('given it is closed, then nothing is sealed any more', async () => {
    const sealer = sealerIn(cryptoWorld('closed'))
    await sealer.prepare(topicA)
    sealer.close()
    sealer.close()
    expect(await errorOf(() => sealer.seal(blockOf('x'), place))).toBe('KEY_UNAVAILABLE')
    expect(await errorOf(() => sealer.prepare(topicA))).toBe('KEY_UNAVAILABLE')
  })

  test('given a seal that waits for its key, when it is closed, then the seal fails and the late key is wiped', async () => {
    const world = cryptoWorld('closing')
    const sealer = sealerIn(world)
    world.keys.fault = 'slow'
    const waiting = errorOf(() => sealer.seal(blockOf('x'), place))
    sealer.close()
    world.keys.release()
    expect(await waiting).toBe('KEY_UNAVAILABLE')
    expect(world.keys.plaintexts).toHaveLength(1)
    expect(world.keys.plaintexts.every((key) => key.every((byte) => byte === 0))).toBe(true)
  })

  test('given a close right after the key came, then no block is sealed with a wiped key', async () => {
    // Every order of closing and sealing around the provider's answer: open what came, with the real key.
    for (let turns = 0; turns < 12; turns += 1) {
      const world = cryptoWorld('close race')
      const sealer = sealerIn(world)
      const outcome = Promise.resolve(sealer.seal(blockOf('x'), place)).then(
        (sealed) => sealed,
        () => undefined,
      )
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve()
      sealer.close()
      const sealed = await outcome
      if (sealed === undefined) continue
      const opened = await new BlockOpener({ ...world, tenant: 'acme' }).open(place, sealed)
      expect(new TextDecoder().decode(opened.data)).toBe('x')
    }
  })
})

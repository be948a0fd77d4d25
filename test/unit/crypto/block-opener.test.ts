import { describe, expect, test } from 'vitest'
import { encryptInto } from '../../../src/crypto/aes-gcm.ts'
import { aadOfSealed, frameOf } from '../../../src/crypto/block-format.ts'
import { BlockOpener, readSealedHeader } from '../../../src/crypto/block-opener.ts'
import { type BlockPlace, BlockSealer } from '../../../src/crypto/block-sealer.ts'
import {
  blockOf,
  type CryptoWorld,
  cryptoWorld,
  errorOf,
  everyBitFlip,
  place,
  producerB,
  topicA,
  topicB,
} from './crypto-fixtures.ts'

const hourMs = 3_600_000
const minuteMs = 60_000

interface Opening {
  readonly world: CryptoWorld
  readonly opener: BlockOpener
  readonly sealed: Uint8Array
  readonly sealAnother: (at?: BlockPlace) => Promise<Uint8Array>
}

async function opening(seed: string, dataKeysMax?: number): Promise<Opening> {
  const world = cryptoWorld(seed)
  const opener = new BlockOpener({ ...world, tenant: 'acme', dataKeysMax })
  // Another incarnation each time, so another data key.
  const sealAnother = async (at = place): Promise<Uint8Array> =>
    new BlockSealer({ ...world, tenant: 'acme' }).seal(blockOf('hello', at.partition), at)
  return { world, opener, sealed: await sealAnother(), sealAnother }
}

describe('opening blocks', () => {
  test('given the key is cached, when a block is opened, then it is synchronous', async () => {
    const { world, opener, sealed } = await opening('sync')
    await opener.open(place, sealed)
    expect(opener.open(place, sealed)).not.toBeInstanceOf(Promise)
    expect(world.keys.unwrapped).toBe(1)
  })

  test('given a Buffer, when it is opened, then the data is an array of its own', async () => {
    const { opener, sealed } = await opening('buffer')
    const buffer = Buffer.concat([Buffer.from('before'), sealed, Buffer.from('behind')]).subarray(6, 6 + sealed.length)
    const { data } = await opener.open(place, buffer)
    buffer.fill(0)
    expect(new TextDecoder().decode(data)).toBe('hello')
    expect(Buffer.isBuffer(data)).toBe(false)
  })

  test.each<[string, Partial<BlockPlace>]>([
    ['topic', { topicId: topicB }],
    ['partition', { partition: 4 }],
    ['producer', { producerId: producerB }],
    ['write', { n: 8 }],
    ['part', { part: 2 }],
  ])('given another %s, when the block is opened there, then it is damaged, cached key or not', async (_, other) => {
    const { opener, sealed } = await opening('moved')
    expect(await errorOf(() => opener.open({ ...place, ...other }, sealed))).toBe('BLOCK_DAMAGED')
    await opener.open(place, sealed)
    expect(await errorOf(() => opener.open({ ...place, ...other }, sealed))).toBe('BLOCK_DAMAGED')
  })

  test('given another tenant, when the block is opened, then it is damaged', async () => {
    const { world, sealed } = await opening('tenant')
    const opener = new BlockOpener({ ...world, tenant: 'other' })
    expect(await errorOf(() => opener.open(place, sealed))).toBe('BLOCK_DAMAGED')
  })

  test('given a place that names its tenant, then the data key is wrapped for that one, and for no other', async () => {
    const { world, opener } = await opening('owned')
    const owned = { ...place, tenant: 'blue' }
    const sealed = await new BlockSealer({ ...world, tenant: 'acme' }).seal(blockOf('hello', place.partition), owned)
    expect(await errorOf(() => opener.open(place, sealed))).toBe('BLOCK_DAMAGED')
    expect((await opener.open(owned, sealed)).data).toHaveLength(5)
    expect((await new BlockOpener({ ...world, tenant: 'blue' }).open(place, sealed)).data).toHaveLength(5)
  })

  test('given any single flipped bit, then the block does not open, cached key or not', async () => {
    const { opener, sealed } = await opening('flips')
    const { kekId } = readSealedHeader(sealed)
    const kekIdBits = { from: 6 * 8, to: (6 + kekId.length) * 8 }
    for (const warm of [false, true]) {
      if (warm) await opener.open(place, sealed)
      for (const { bit, flipped } of everyBitFlip(sealed)) {
        const error = await errorOf(() => opener.open(place, flipped))
        const inKekId = bit >= kekIdBits.from && bit < kekIdBits.to
        if (inKekId) expect(['BLOCK_DAMAGED', 'KEY_UNAVAILABLE'], `bit ${bit}`).toContain(error)
        else expect(error, `bit ${bit}`).toBe('BLOCK_DAMAGED')
      }
    }
    await opener.open(place, sealed)
  })

  test('given any truncation, or a byte more, then the block does not open', async () => {
    const { opener, sealed } = await opening('truncated')
    await opener.open(place, sealed)
    for (let size = 0; size < sealed.length; size += 1) {
      expect(await errorOf(() => opener.open(place, sealed.subarray(0, size))), `${size} bytes`).toBe('BLOCK_DAMAGED')
    }
    expect(await errorOf(() => opener.open(place, Uint8Array.from([...sealed, 0])))).toBe('BLOCK_DAMAGED')
  })

  test('given random bytes behind a sound start, then nothing but a typed error comes', async () => {
    const { world, opener, sealed } = await opening('fuzz')
    for (let run = 0; run < 2_000; run += 1) {
      const start = sealed.subarray(0, world.random.below(sealed.length))
      const bytes = Uint8Array.from([...start, ...world.random.bytes(world.random.below(300))])
      const error = await errorOf(() => opener.open(place, bytes))
      expect(['BLOCK_DAMAGED', 'KEY_UNAVAILABLE'], `seed ${world.random.seed}, run ${run}`).toContain(error)
    }
  })

  test('given a wrong commitment under a right tag, then the block does not open', async () => {
    const { world, opener, sealed } = await opening('commitment')
    const frame = frameOf(sealed)
    if (frame === undefined) throw new Error('no frame')
    const { kekId, wrapped, nonce, headerSize } = readSealedHeader(sealed)
    const key = await world.keys.unwrap(kekId, wrapped, { topicId: topicA, tenant: 'acme' })
    // As one who knows the key would forge it: everything fits but the commitment.
    const forge = (commitmentBit: number): Uint8Array => {
      const forged = Uint8Array.from(sealed)
      forged[frame.commitmentAt] = (forged[frame.commitmentAt] ?? 0) ^ commitmentBit
      encryptInto(forged, headerSize, key, nonce, aadOfSealed(forged, frame, place), new Uint8Array(5))
      return forged
    }
    expect((await opener.open(place, forge(0))).data).toEqual(new Uint8Array(5))
    expect(await errorOf(() => opener.open(place, forge(1)))).toBe('BLOCK_DAMAGED')
    const cold = new BlockOpener({ ...world, tenant: 'acme' })
    expect(await errorOf(() => cold.open(place, forge(1)))).toBe('BLOCK_DAMAGED')
  })

  test('given a block of another topic, then the provider is not even asked', async () => {
    const { world, opener, sealed } = await opening('not asked')
    expect(await errorOf(() => opener.open({ ...place, topicId: topicB }, sealed))).toBe('BLOCK_DAMAGED')
    expect(world.keys.unwrapped).toBe(0)
  })
})

describe('the cache of data keys', () => {
  test('given many blocks of one unknown key at once, then one unwrap is made and all open', async () => {
    const { world, opener, sealed } = await opening('dedupe')
    world.keys.fault = 'slow'
    const waiting = Array.from({ length: 50 }, async () => opener.open(place, sealed))
    const wrong = errorOf(() => opener.open({ ...place, n: 99 }, sealed))
    expect(world.keys.held).toBe(1)
    world.keys.release()
    for (const opened of await Promise.all(waiting)) expect(opened.data).toHaveLength(5)
    expect(await wrong).toBe('BLOCK_DAMAGED')
    expect(world.keys.unwrapped).toBe(1)
  })

  test.each(['unavailable', 'shredded', 'broken'] as const)(
    'given the provider is %s, then all waiting blocks fail, and the next one asks again',
    async (fault) => {
      const { world, opener, sealed } = await opening('failing')
      world.keys.fault = fault
      const expected = fault === 'shredded' ? 'KEY_SHREDDED' : 'KEY_UNAVAILABLE'
      const errors = await Promise.all(Array.from({ length: 5 }, () => errorOf(() => opener.open(place, sealed))))
      expect(errors).toEqual(Array.from({ length: 5 }, () => expected))
      expect(world.keys.unwrapped).toBe(1)
      world.keys.fault = 'none'
      expect((await opener.open(place, sealed)).data).toHaveLength(5)
    },
  )

  test('given a provider that does not answer, then a block fails after 5 s and no timer is left', async () => {
    const { world, opener, sealed } = await opening('hung')
    world.keys.fault = 'slow'
    const error = errorOf(() => opener.open(place, sealed))
    await world.clock.advance(5_000)
    expect(await error).toBe('KEY_UNAVAILABLE')
    expect(world.clock.pendingCount).toBe(0)
  })

  test('given more keys than the bound, then the one used longest ago is unwrapped again', async () => {
    const { world, opener, sealed, sealAnother } = await opening('bounded', 2)
    const [second, third] = [await sealAnother(), await sealAnother()]
    for (const block of [sealed, second, sealed, third]) await opener.open(place, block)
    expect(world.keys.unwrapped).toBe(3)
    await opener.open(place, sealed)
    expect(world.keys.unwrapped).toBe(3)
    await opener.open(place, second)
    expect(world.keys.unwrapped).toBe(4)
  })

  test('given a bound of one key and blocks of many, when all are opened at once, then all open', async () => {
    const { opener, sealAnother } = await opening('evicting', 1)
    const blocks = await Promise.all(Array.from({ length: 20 }, () => sealAnother()))
    const opened = await Promise.all([...blocks, ...blocks].map(async (block) => opener.open(place, block)))
    for (const { data } of opened) expect(new TextDecoder().decode(data)).toBe('hello')
  })

  test('given an hour, then the key is asked for again behind the back of the reader', async () => {
    const { world, opener, sealed } = await opening('refresh')
    await opener.open(place, sealed)
    await world.clock.advance(hourMs - 1)
    void opener.open(place, sealed)
    expect(world.keys.unwrapped).toBe(1)
    await world.clock.advance(1)
    expect(opener.open(place, sealed)).not.toBeInstanceOf(Promise)
    void opener.open(place, sealed)
    expect(world.keys.unwrapped).toBe(2)
    await world.clock.advance(1.5 * hourMs)
    expect(opener.open(place, sealed)).not.toBeInstanceOf(Promise)
  })

  test('given the provider is away, then a cached key serves for two hours and is asked for once a minute', async () => {
    const { world, opener, sealed } = await opening('expire')
    await opener.open(place, sealed)
    world.keys.fault = 'unavailable'
    await world.clock.advance(hourMs)
    for (let second = 0; second < 120; second += 1) {
      void opener.open(place, sealed)
      await world.clock.advance(1_000)
    }
    expect(world.keys.unwrapped).toBe(3)
    await world.clock.advance(hourMs - 2 * minuteMs - 1)
    expect(opener.open(place, sealed)).not.toBeInstanceOf(Promise)
    await world.clock.advance(1)
    expect(await errorOf(() => opener.open(place, sealed))).toBe('KEY_UNAVAILABLE')
  })

  test('given the KEK was destroyed, when the key is refreshed, then it is dropped at once', async () => {
    const { world, opener, sealed } = await opening('shred')
    await opener.open(place, sealed)
    world.keys.fault = 'shredded'
    await world.clock.advance(hourMs)
    void opener.open(place, sealed)
    await world.clock.settle()
    expect(await errorOf(() => opener.open(place, sealed))).toBe('KEY_SHREDDED')
  })

  test('given unwrapped keys, then the copies the provider handed out are wiped', async () => {
    const { world, opener, sealed } = await opening('wipe')
    await opener.open(place, sealed)
    expect(world.keys.plaintexts).toHaveLength(2)
    expect(world.keys.plaintexts.every((key) => key.every((byte) => byte === 0))).toBe(true)
  })

  test('given it is closed while blocks wait, then they fail and nothing opens any more', async () => {
    const { world, opener, sealed } = await opening('close')
    world.keys.fault = 'slow'
    const waiting = errorOf(() => opener.open(place, sealed))
    opener.close()
    opener.close()
    expect(await waiting).toBe('KEY_UNAVAILABLE')
    world.keys.release()
    await world.clock.settle()
    expect(await errorOf(() => opener.open(place, sealed))).toBe('KEY_UNAVAILABLE')
  })
})

describe('reading the header of a sealed block', () => {
  test('given a sealed block, then tools see what is in the clear', async () => {
    const { sealed } = await opening('header')
    const header = readSealedHeader(sealed)
    expect(header).toMatchObject({
      version: 1,
      suite: 1,
      topicId: topicA,
      count: 2,
      packing: 1,
      encoding: 0,
      rawSize: 5,
      dataSize: 5,
    })
    expect(header.headerSize + header.dataSize + 16).toBe(sealed.length)
  })

  test('given other bytes, then they are damaged', async () => {
    expect(await errorOf(() => readSealedHeader(new Uint8Array(200)))).toBe('BLOCK_DAMAGED')
  })
})

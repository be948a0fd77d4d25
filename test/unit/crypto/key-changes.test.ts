// Rotation, revocation and shredding of a keyring under a sealer and an opener that go on meanwhile.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import {
  activateKek,
  bindTopic,
  type KeyringEdit,
  restoreKek,
  revokeKek,
  rotateKek,
  shredKek,
  shredTopic,
  stageKek,
} from '../../../src/adapters/keyring/keyring-edits.ts'
import { changeKeyring } from '../../../src/adapters/keyring/keyring-file.ts'
import { type KeyringProvider, openKeyring } from '../../../src/adapters/keyring/keyring-provider.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { BlockOpener, readSealedHeader } from '../../../src/crypto/block-opener.ts'
import { BlockSealer } from '../../../src/crypto/block-sealer.ts'
import type { TopicId } from '../../../src/protocol/ids.ts'
import { FaultyKeyProvider } from '../../conformance/key-provider-faulty.ts'
import { blockOf, errorOf, place, topicA, topicB } from './crypto-fixtures.ts'

const random = new SeededRandom('key changes')
let clock: SimulatedClock
let folder: string
let path: string
let keyring: KeyringProvider
let keys: FaultyKeyProvider
let sealer: BlockSealer
let opener: BlockOpener

beforeEach(async () => {
  clock = new SimulatedClock()
  folder = await mkdtemp(join(tmpdir(), 'trunkline-keys-'))
  path = join(folder, 'keyring.json')
  keyring = await openKeyring(path, { create: true, random, clock })
  keys = new FaultyKeyProvider(keyring)
  sealer = new BlockSealer({ keys, clock, random, tenant: 'acme' })
  opener = new BlockOpener({ keys, clock, tenant: 'acme' })
  keys.onChange((change) => {
    sealer.recheck()
    if (change === 'access') opener.recheck()
  })
})

afterEach(async () => rm(folder, { recursive: true }))

async function edit<T>(change: KeyringEdit<T>): Promise<T> {
  const value = await changeKeyring(path, { random, clock }, change)
  await keyring.reload()
  return value
}

const source = { random, clock: { nowMs: () => 1_000_000, monotonicMs: () => 0, after: () => ({ cancel: () => {} }) } }
const seal = async (topicId: TopicId = topicA): Promise<Uint8Array> =>
  sealer.seal(blockOf('hello'), { ...place, topicId })
const open = (sealed: Uint8Array, topicId: TopicId = topicA): Promise<string> =>
  errorOf(() => opener.open({ ...place, topicId }, sealed))
const kekOf = (sealed: Uint8Array): string => readSealedHeader(sealed).kekId

describe('a rotation', () => {
  test('given a key in use, then the very next block is under the new KEK, and old and new ones open', async () => {
    const before = await seal()
    const kekId = await edit(rotateKek(source))
    const after = await seal()
    expect(kekOf(after)).toBe(kekId)
    expect(kekOf(before)).not.toBe(kekId)
    for (const sealed of [before, after]) expect(await open(sealed)).toBe('none')
    expect(keys.plaintexts.every((key) => key.every((byte) => byte === 0))).toBe(true)
  })

  test('given a staged KEK, then it wraps nothing until it is activated', async () => {
    const first = kekOf(await seal())
    const staged = await edit(stageKek(source))
    expect(kekOf(await seal())).toBe(first)
    await edit(activateKek(staged))
    expect(kekOf(await seal())).toBe(staged)
  })

  test('given the provider is away just then, then the old data key goes on until it is back', async () => {
    const before = kekOf(await seal())
    const kekId = await edit(rotateKek(source))
    keys.fault = 'unavailable'
    expect(await errorOf(seal)).toBe('none')
    expect(kekOf(await seal())).toBe(before)
    keys.fault = 'none'
    await clock.advance(1_000)
    await seal()
    await clock.settle()
    expect(kekOf(await seal())).toBe(kekId)
  })

  test('given a data key that was asked for before the rotation and came behind it, then it is not used', async () => {
    keys.fault = 'slow'
    const sealing = seal()
    await clock.settle()
    // The provider has made the key by the time it answers; only its answer is late.
    const inner = keyring.generate.bind(keyring)
    const early = await inner({ topicId: topicA, tenant: 'acme' })
    let late = true
    keyring.generate = async (context) => {
      if (!late) return inner(context)
      late = false
      return early
    }
    const kekId = await edit(rotateKek(source))
    keys.fault = 'none'
    keys.release()
    expect(kekOf(await sealing)).toBe(kekId)
  })
})

describe('a revoked KEK', () => {
  test('given cached data keys, then blocks under it are unavailable at once, and open when it is given back', async () => {
    const sealed = await seal()
    expect(await open(sealed)).toBe('none')
    await edit(rotateKek(source))
    await edit(revokeKek(kekOf(sealed)))
    expect(await open(sealed)).toBe('KEY_UNAVAILABLE')
    await edit(restoreKek(kekOf(sealed)))
    expect(await open(sealed)).toBe('none')
  })

  test('given an unwrap that was out meanwhile, then its key is not used', async () => {
    const sealed = await seal()
    await edit(rotateKek(source))
    const plaintext = await keyring.unwrap(kekOf(sealed), readSealedHeader(sealed).wrapped, {
      topicId: topicA,
      tenant: 'acme',
    })
    keyring.unwrap = async () => plaintext
    keys.fault = 'slow'
    const opening = open(sealed)
    await clock.settle()
    await edit(revokeKek(kekOf(sealed)))
    keys.release()
    expect(await opening).toBe('KEY_UNAVAILABLE')
    expect(plaintext.every((byte) => byte === 0)).toBe(true)
  })

  test('given the current KEK, then revoking and shredding it are refused', async () => {
    const { kekId } = await keyring.generate({ topicId: topicA, tenant: 'acme' })
    const text = await readFile(path, 'utf8')
    await expect(edit(revokeKek(kekId))).rejects.toThrow('rotate first')
    await expect(edit(shredKek(kekId, true))).rejects.toThrow('rotate first')
    expect(await readFile(path, 'utf8')).toBe(text)
  })
})

describe('a shredded KEK', () => {
  test('given it was revoked, then what it wrapped is shredded for good', async () => {
    const sealed = await seal()
    const old = kekOf(sealed)
    await edit(rotateKek(source))
    await expect(edit(shredKek(old, true))).rejects.toThrow('revoke it')
    await edit(revokeKek(old))
    await expect(edit(shredKek(old, false))).rejects.toThrow('would be lost')
    await edit(shredKek(old, true))
    expect(await open(sealed)).toBe('KEY_SHREDDED')
    await expect(edit(restoreKek(old))).rejects.toThrow('nothing brings it back')
    expect(await readFile(path, 'utf8')).not.toContain(`"id": "${old}",\n      "key"`)
  })

  test('given a topic with a KEK of its own, then shredding it takes nothing of another topic', async () => {
    const shared = await seal()
    const own = await edit(bindTopic(source, topicA, 'orders'))
    const [a, b] = [await seal(), await seal(topicB)]
    expect(kekOf(a)).toBe(own)
    expect(kekOf(b)).toBe(kekOf(shared))
    expect([await open(a), await open(b, topicB)]).toEqual(['none', 'none'])
    expect(await edit(shredTopic(topicA))).toEqual([own])
    expect(await open(a)).toBe('KEY_SHREDDED')
    expect([await open(b, topicB), await open(shared)]).toEqual(['none', 'none'])
  })

  test('given its topic’s KEK is gone, then the topic is not written under the shared one', async () => {
    await edit(bindTopic(source, topicA, 'orders'))
    await seal()
    await edit(shredTopic(topicA))
    expect(await errorOf(seal)).toBe('KEY_UNAVAILABLE')
    expect(await errorOf(() => seal(topicB))).toBe('none')
    const again = await edit(bindTopic(source, topicA, 'orders'))
    await clock.advance(1_000)
    expect(kekOf(await seal())).toBe(again)
  })

  test('given a topic’s own KEK is rotated, then others keep theirs and all of its KEKs are shredded together', async () => {
    const first = await edit(bindTopic(source, topicA, 'orders'))
    const other = kekOf(await seal(topicB))
    const second = await edit(rotateKek(source, topicA))
    expect([kekOf(await seal()), kekOf(await seal(topicB))]).toEqual([second, other])
    await expect(edit(bindTopic(source, topicA, 'orders'))).rejects.toThrow('rotate that one')
    expect(await edit(shredTopic(topicA))).toEqual([first, second])
  })
})

describe('the file of a running process', () => {
  test('given an older copy, then it is wrong: a backup does not bring back what was shredded', async () => {
    const backup = await readFile(path, 'utf8')
    const old = kekOf(await seal())
    await edit(rotateKek(source))
    await edit(revokeKek(old))
    await writeFile(path, backup)
    expect(await errorOf(() => keyring.reload())).toBe('KEYRING_WRONG')
    expect(keyring.refusalOf(old)).toBe('KEY_UNAVAILABLE')
  })

  test('given a version 1 file, then it opens, and the first change writes version 2', async () => {
    const current = kekOf(await seal())
    const { kind, ringId, keks } = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>
    await writeFile(path, JSON.stringify({ kind, version: 1, ringId, current, keks }))
    const old = await openKeyring(path, { create: false, random, clock })
    expect(old.revision).toBe(0)
    expect((await old.describe()).map(({ kekId }) => kekId)).toEqual([current])
    await changeKeyring(path, { random, clock }, rotateKek(source))
    expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ version: 2, revision: 1, ringId })
    await old.reload()
    expect(old.isCurrent(current, { topicId: topicA, tenant: 'acme' })).toBe(false)
  })

  test('given a topic’s KEK without its topic, then the file is unreadable: the topic would fall to the shared KEK', async () => {
    await edit(bindTopic(source, topicA, 'orders'))
    const content = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>
    await writeFile(path, JSON.stringify({ ...content, topics: [] }))
    expect(await errorOf(() => keyring.reload())).toBe('KEYRING_UNREADABLE')
  })
})

describe('unwraps of many keys', () => {
  test('given a fetch full of new keys, then they are asked for ahead, at most 16 at a time, each once', async () => {
    const blocks: Uint8Array[] = []
    for (let index = 0; index < 40; index += 1)
      blocks.push(await new BlockSealer({ keys, clock, random, tenant: 'acme' }).seal(blockOf('hello'), place))
    keys.fault = 'slow'
    const opened = blocks.flatMap((sealed) => [open(sealed), open(sealed)])
    await clock.settle()
    expect(keys.held).toBe(16)
    keys.fault = 'none'
    keys.release()
    expect(new Set(await Promise.all(opened))).toEqual(new Set(['none']))
    expect(keys.unwrapped).toBe(40)
  })

  test('given a provider that hangs, then who waits in line is told, and the line moves when it is back', async () => {
    const one = new BlockOpener({ keys, clock, tenant: 'acme', unwrapsMax: 1 })
    const [first, second] = [
      await seal(),
      await new BlockSealer({ keys, clock, random, tenant: 'acme' }).seal(blockOf('x'), place),
    ]
    keys.fault = 'slow'
    const waiting = [first, second].map((sealed) => errorOf(() => one.open(place, sealed)))
    // Whoever gets the place in the last moment may ask for as long again.
    await clock.advance(5_000)
    await clock.advance(5_000)
    expect(await Promise.all(waiting)).toEqual(['KEY_UNAVAILABLE', 'KEY_UNAVAILABLE'])
    keys.fault = 'none'
    for (const sealed of [first, second]) expect(await errorOf(() => one.open(place, sealed))).toBe('none')
  })
})

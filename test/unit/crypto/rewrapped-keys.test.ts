// Re-wrapped keys beside a keyring: what opens by them, what does not any more, and what nobody can slip in.
import { copyFile, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parseKeyring } from '../../../src/adapters/keyring/keyring-content.ts'
import {
  bindTopic,
  restoreKek,
  retireKek,
  revokeKek,
  rotateKek,
  shredKek,
  shredTopic,
} from '../../../src/adapters/keyring/keyring-edits.ts'
import { changeKeyring, rewrappedPathOf } from '../../../src/adapters/keyring/keyring-file.ts'
import { openKeyring } from '../../../src/adapters/keyring/keyring-provider.ts'
import { added } from '../../../src/adapters/keyring/rewrap-edits.ts'
import { type RewrappedKey, RewrappedKeys, rewrappedBytes } from '../../../src/adapters/keyring/rewrapped-keys.ts'
import { readSealedHeader } from '../../../src/crypto/block-opener.ts'
import { BlockSealer } from '../../../src/crypto/block-sealer.ts'
import { checkRewrapped } from '../../../src/main/rewrap.ts'
import { blockOf, errorOf, place, topicA, topicB } from './crypto-fixtures.ts'
import { kekOf, RewrapWorld, random, source } from './rewrap-world.ts'

let at: RewrapWorld
beforeEach(async () => {
  at = await RewrapWorld.begin()
})
afterEach(async () => at.end())

describe('a KEK whose keys were re-wrapped', () => {
  test('given it is retired and its key is destroyed, then what it wrapped opens, also in a process that starts then', async () => {
    const [one, other] = [await at.seal(), await at.seal('tl-acme.other')]
    await at.edit(rotateKek(source))
    expect(await at.rewrap()).toEqual({ added: 2, movedOn: 0, left: [] })
    await at.edit(retireKek(kekOf(one)))
    expect([await at.open(one), await at.open(other, topicB)]).toEqual(['none', 'none'])
    await at.edit(shredKek(kekOf(one), false))
    expect(await readFile(at.path, 'utf8')).toContain('"state": "replaced"')
    expect([await at.open(one), await at.open(other, topicB)]).toEqual(['none', 'none'])
    await at.start()
    expect([await at.open(one), await at.open(other, topicB)]).toEqual(['none', 'none'])
  })

  test('given a block that no run saw, then it is unavailable once the KEK is retired, and the next run finds it', async () => {
    const seen = await at.seal()
    const laggard = new BlockSealer({ keys: at.keyring, clock: at.clock, random, tenant: 'acme' })
    const late = await laggard.seal(blockOf('late'), place)
    await at.edit(rotateKek(source))
    await at.rewrap()
    await at.edit(retireKek(kekOf(seen)))
    expect([await at.open(seen), await at.open(late)]).toEqual(['none', 'KEY_UNAVAILABLE'])
    at.log.push({ topic: 'tl-acme.orders', sealed: late })
    expect(await at.rewrap()).toEqual({ added: 1, movedOn: 0, left: [] })
    expect(await at.open(late)).toBe('none')
  })

  test('given it is retired, then it wraps no more, not even for a sealer that had its data key', async () => {
    const before = await at.seal()
    await at.edit(rotateKek(source))
    await at.rewrap()
    await at.edit(retireKek(kekOf(before)))
    expect(kekOf(await at.seal())).not.toBe(kekOf(before))
    await at.edit(restoreKek(kekOf(before)))
    expect(at.keyring.refusalOf(kekOf(before))).toBeUndefined()
  })

  test('given a further rotation, then a run moves the keys on, and only then the second KEK is retired', async () => {
    const first = await at.seal()
    const second = await at.edit(rotateKek(source))
    await at.rewrap()
    await at.edit(retireKek(kekOf(first)))
    await at.edit(shredKek(kekOf(first), false))
    const later = await at.seal()
    await at.edit(rotateKek(source))
    await expect(at.edit(retireKek(second))).rejects.toThrow('run keys rewrap first')
    expect(await at.rewrap()).toEqual({ added: 1, movedOn: 1, left: [] })
    await at.edit(retireKek(second))
    await at.edit(shredKek(second, false))
    await at.start()
    expect([await at.open(first), await at.open(later)]).toEqual(['none', 'none'])
  })

  test('given nothing was ever re-wrapped, then no KEK is retired', async () => {
    const before = await at.seal()
    await at.edit(rotateKek(source))
    await expect(at.edit(retireKek(kekOf(before)))).rejects.toThrow('run keys rewrap first')
  })

  test('given the file is not there any more, then a process does not start without it, and a running one goes on', async () => {
    const before = await at.seal()
    await at.edit(rotateKek(source))
    await at.rewrap()
    await at.edit(retireKek(kekOf(before)))
    await rm(rewrappedPathOf(at.path))
    expect(await errorOf(() => at.keyring.reloadRewrapped())).toBe('KEYRING_MISSING')
    expect(await at.open(before)).toBe('none')
    expect(await errorOf(at.start)).toBe('KEYRING_MISSING')
  })

  test('given more keys than the file may hold, then it stops there, and says so', async () => {
    const blocks = [await at.seal(), await at.seal('tl-acme.other')]
    await at.edit(rotateKek(source))
    const found = blocks.map((sealed) => ({ ...readSealedHeader(sealed), tenant: 'acme' }))
    const step = await added(at.keyring, RewrappedKeys.none(at.keyring.ringId), found, 1)
    expect([step.done, step.more]).toEqual([1, true])
  })
})

describe('revoking', () => {
  test('given the old KEK is revoked, then what was re-wrapped from it is unavailable too, until it is restored', async () => {
    const before = await at.seal()
    await at.edit(rotateKek(source))
    await at.rewrap()
    expect(await at.open(before)).toBe('none')
    await at.edit(revokeKek(kekOf(before)))
    expect(await at.open(before)).toBe('KEY_UNAVAILABLE')
    expect((await at.rewrap()).left).toEqual([])
    await at.edit(restoreKek(kekOf(before)))
    expect(await at.open(before)).toBe('none')
  })

  test('given a retired KEK is revoked, when it is restored, then it is retired again, and only then restored from that', async () => {
    const seen = await at.seal()
    const laggard = new BlockSealer({ keys: at.keyring, clock: at.clock, random, tenant: 'acme' })
    const late = await laggard.seal(blockOf('late'), place)
    await at.edit(rotateKek(source))
    await at.rewrap()
    await at.edit(retireKek(kekOf(seen)))
    await at.edit(revokeKek(kekOf(seen)))
    expect(await readFile(at.path, 'utf8')).toContain('"state": "revoked",\n      "retired": true')
    expect([await at.open(seen), await at.open(late)]).toEqual(['KEY_UNAVAILABLE', 'KEY_UNAVAILABLE'])
    await at.edit(restoreKek(kekOf(seen)))
    expect(await readFile(at.path, 'utf8')).not.toContain('"retired": true')
    expect([await at.open(seen), await at.open(late)]).toEqual(['none', 'KEY_UNAVAILABLE'])
    await at.edit(restoreKek(kekOf(seen)))
    expect([await at.open(seen), await at.open(late)]).toEqual(['none', 'none'])
  })

  test('given the new KEK is revoked, then data keys in memory that it re-wrapped are dropped at once', async () => {
    const before = await at.seal()
    const second = await at.edit(rotateKek(source))
    await at.rewrap()
    expect(await at.open(before)).toBe('none')
    await at.edit(rotateKek(source))
    await at.edit(revokeKek(second))
    expect(await at.open(before)).toBe('KEY_UNAVAILABLE')
    expect((await at.rewrap()).left).toEqual([`${second}: KEY_UNAVAILABLE, revoked KEK`])
  })
})

describe('shredding', () => {
  test('given a topic’s events under the shared KEK moved to its own, when it is shredded, then they are gone, whatever is there of the shared KEK, for good', async () => {
    const before = await at.seal()
    await at.edit(bindTopic(source, topicA, 'orders'))
    await at.rewrap()
    const kept = await at.seal('tl-acme.other')
    const own = await at.seal()
    await at.edit(shredTopic(topicA))
    expect([await at.open(before), await at.open(own)]).toEqual(['KEY_SHREDDED', 'KEY_SHREDDED'])
    expect(await at.open(kept, topicB)).toBe('none')
    await at.rewrap()
    await at.start()
    expect([await at.open(before), await at.open(own)]).toEqual(['KEY_SHREDDED', 'KEY_SHREDDED'])
    expect(await checkRewrapped(at.path, source)).toMatchObject({ count: 1 })
  })

  test('given a topic whose own KEK was rotated and re-wrapped, when it is shredded, then all of it is gone', async () => {
    await at.edit(bindTopic(source, topicA, 'orders'))
    const first = await at.seal()
    await at.edit(rotateKek(source, topicA))
    await at.rewrap()
    await at.edit(retireKek(kekOf(first)))
    const second = await at.seal()
    await at.edit(shredTopic(topicA))
    expect([await at.open(first), await at.open(second)]).toEqual(['KEY_SHREDDED', 'KEY_SHREDDED'])
    expect(await readFile(at.path, 'utf8')).not.toContain('"state": "retired"')
  })

  test('given a topic that was rotated is shredded, then a further run leaves its events as shredded', async () => {
    const first = await at.edit(bindTopic(source, topicA, 'orders'))
    await at.seal()
    const second = await at.edit(rotateKek(source, topicA))
    await at.seal()
    await at.edit(shredTopic(topicA))
    expect((await at.rewrap()).left).toEqual([`${first}: KEY_SHREDDED`])
    await at.edit(rotateKek(source))
    expect((await at.rewrap()).left).toEqual([`${first}: KEY_SHREDDED`])
    // With another KEK the topic is written to again, and both stand behind it.
    await at.edit(bindTopic(source, topicA, 'orders'))
    expect((await at.rewrap()).left).toEqual([`${first}: KEY_SHREDDED`, `${second}: KEY_SHREDDED`])
  })

  test('given a shredded topic’s events under a shared KEK that was never re-wrapped, then a run keeps them as readable until that is retired', async () => {
    const before = await at.seal()
    const old = kekOf(before)
    await at.edit(rotateKek(source))
    const unseen = at.log.splice(0)
    await at.rewrap()
    await at.edit(bindTopic(source, topicA, 'orders'))
    await at.edit(shredTopic(topicA))
    at.log.push(...unseen)
    expect(await at.open(before)).toBe('none')
    expect((await at.rewrap()).left).toEqual([`${old}: KEY_UNAVAILABLE, the current KEK is destroyed`])
    await at.edit(retireKek(old))
    expect(await at.open(before)).toBe('KEY_UNAVAILABLE')
    expect((await at.rewrap()).left).toEqual([`${old}: KEY_SHREDDED`])
    await at.edit(shredKek(old, false))
    expect((await at.rewrap()).left).toEqual([`${old}: KEY_SHREDDED`])
  })

  test('given one of a topic’s KEKs is destroyed, then what another of them wraps is kept, until the last one goes', async () => {
    const before = await at.seal()
    const first = await at.edit(bindTopic(source, topicA, 'orders'))
    await at.rewrap()
    const second = await at.edit(rotateKek(source, topicA))
    const own = await at.seal()
    await at.edit(shredKek(second, false))
    expect([await at.open(before), await at.open(own)]).toEqual(['none', 'KEY_SHREDDED'])
    await at.start()
    expect([await at.open(before), await at.open(own)]).toEqual(['none', 'KEY_SHREDDED'])
    await at.edit(shredKek(first, false))
    expect([await at.open(before), await at.open(own)]).toEqual(['KEY_SHREDDED', 'KEY_SHREDDED'])
  })

  test('given a topic’s only KEK is destroyed by its id, then what the shared KEK still wraps of it is gone too', async () => {
    const before = await at.seal()
    await at.edit(rotateKek(source))
    await at.rewrap()
    const own = await at.edit(bindTopic(source, topicA, 'orders'))
    expect(await at.open(before)).toBe('none')
    await at.edit(shredKek(own, false))
    expect(await at.open(before)).toBe('KEY_SHREDDED')
  })

  test('given a shared KEK is destroyed with all that it wrapped, then what was re-wrapped from it leaves the file', async () => {
    const before = await at.seal()
    await at.edit(rotateKek(source))
    await at.rewrap()
    await at.edit(revokeKek(kekOf(before)))
    await at.edit(shredKek(kekOf(before), true))
    expect(await at.open(before)).toBe('KEY_SHREDDED')
    expect(await checkRewrapped(at.path, source)).toMatchObject({ count: 0 })
  })

  test('given a retired KEK whose loss is named, then what was re-wrapped from it goes too', async () => {
    const before = await at.seal()
    await at.edit(rotateKek(source))
    await at.rewrap()
    await at.edit(retireKek(kekOf(before)))
    await at.edit(shredKek(kekOf(before), false))
    expect(await at.open(before)).toBe('none')
    await at.edit(shredKek(kekOf(before), true))
    expect(await at.open(before)).toBe('KEY_SHREDDED')
  })

  test('given it was cut off between the two files, then the same command goes on, and nothing is readable that was taken', async () => {
    const before = await at.seal()
    await at.edit(bindTopic(source, topicA, 'orders'))
    await at.rewrap()
    const cut = await readFile(at.path)
    await changeKeyring(at.path, source, shredTopic(topicA))
    await writeFile(at.path, cut)
    await at.start()
    expect(await at.open(before)).toBe('KEY_SHREDDED')
    await at.edit(shredTopic(topicA))
    expect(await at.open(before)).toBe('KEY_SHREDDED')
  })

  test('given the KEK that seals the file is destroyed, then the file is sealed by the current one before', async () => {
    const before = await at.seal()
    const second = await at.edit(rotateKek(source))
    await at.rewrap()
    await at.edit(rotateKek(source))
    await at.edit(revokeKek(second))
    await at.edit(shredKek(second, true))
    await at.start()
    expect(await at.open(before)).toBe('KEY_SHREDDED')
  })
})

describe('a file that others wrote', () => {
  /** Two topics re-wrapped, by two different data keys. */
  async function world(): Promise<readonly [Uint8Array, Uint8Array]> {
    const blocks = [await at.seal(), await at.seal('tl-acme.other')] as const
    await at.edit(rotateKek(source))
    await at.rewrap()
    return blocks
  }

  test('given any flipped byte, then it is refused, and the loaded one goes on', async () => {
    const [block] = await world()
    const sound = await at.fileBytes()
    for (let byte = 0; byte < sound.length; byte += 1) {
      const broken = Buffer.from(sound)
      broken[byte] = (broken[byte] ?? 0) ^ 1
      await writeFile(rewrappedPathOf(at.path), broken)
      expect(['KEYRING_UNREADABLE', 'KEYRING_WRONG'], `byte ${byte}`).toContain(
        await errorOf(() => at.keyring.reloadRewrapped()),
      )
    }
    expect(await at.open(block)).toBe('none')
  })

  test.each([0, 1, 31, 32, 57])('given it is cut to %s bytes, then it is refused', async (size) => {
    await world()
    await writeFile(rewrappedPathOf(at.path), (await at.fileBytes()).subarray(0, size))
    expect(await errorOf(() => at.keyring.reloadRewrapped())).toBe('KEYRING_UNREADABLE')
  })

  test('given a key of his that an attacker without our keys puts in for ours, then it is refused', async () => {
    await world()
    const ring = parseKeyring(await readFile(at.path, 'utf8'))
    const entries = [...RewrappedKeys.parse(await at.fileBytes(), ring).entries()]
    const his = {
      ...ring,
      keks: ring.keks.map((kek) => ({ ...kek, state: { kind: 'active', key: random.bytes(32) } as const })),
    }
    await writeFile(rewrappedPathOf(at.path), rewrappedBytes(his, 99, entries))
    expect(await errorOf(() => at.keyring.reloadRewrapped())).toBe('KEYRING_UNREADABLE')
  })

  test('given entries that swapped their keys, even under a good seal, then neither opens and verify tells', async () => {
    const blocks = await world()
    const ring = parseKeyring(await readFile(at.path, 'utf8'))
    const [one, other] = [...RewrappedKeys.parse(await at.fileBytes(), ring).entries()] as [RewrappedKey, RewrappedKey]
    const swapped = [
      { ...one, now: other.now },
      { ...other, now: one.now },
    ]
    await writeFile(rewrappedPathOf(at.path), rewrappedBytes(ring, 99, swapped))
    await at.keyring.reloadRewrapped()
    expect([await at.open(blocks[0]), await at.open(blocks[1], topicB)]).toEqual(['KEY_UNAVAILABLE', 'KEY_UNAVAILABLE'])
    expect(await errorOf(() => checkRewrapped(at.path, source))).toBe('KEYRING_UNREADABLE')
  })

  test('given an older copy, or none, then it is refused, at the start as well: what was shredded does not come back', async () => {
    const before = await at.seal()
    await at.edit(bindTopic(source, topicA, 'orders'))
    await at.rewrap()
    await copyFile(rewrappedPathOf(at.path), `${at.path}.backup`)
    await at.edit(shredTopic(topicA))
    await copyFile(`${at.path}.backup`, rewrappedPathOf(at.path))
    expect(await errorOf(() => at.keyring.reloadRewrapped())).toBe('KEYRING_WRONG')
    expect(await at.open(before)).toBe('KEY_SHREDDED')
    expect(await errorOf(at.start)).toBe('KEYRING_WRONG')
    await rm(rewrappedPathOf(at.path))
    expect(await errorOf(at.start)).toBe('KEYRING_MISSING')
  })

  test('given the file of another ring, then it is wrong', async () => {
    await world()
    const mine = await at.fileBytes()
    const other = join(at.folder, 'other.json')
    await openKeyring(other, { create: true, random, clock: at.clock })
    await writeFile(rewrappedPathOf(other), mine, { mode: 0o600 })
    expect(await errorOf(() => openKeyring(other, { create: false, random, clock: at.clock }))).toBe('KEYRING_WRONG')
  })
})

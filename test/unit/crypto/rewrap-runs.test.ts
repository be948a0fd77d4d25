// Re-wrapped keys while others are at work: runs beside other commands, files that are copied or replaced one after the other.
import { writeFileSync } from 'node:fs'
import { access, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { keyringText, parseKeyring } from '../../../src/adapters/keyring/keyring-content.ts'
import { bindTopic, retireKek, rotateKek, shredTopic } from '../../../src/adapters/keyring/keyring-edits.ts'
import { changeKeyring, rewrappedPathOf } from '../../../src/adapters/keyring/keyring-file.ts'
import { type KeyringProvider, openKeyring } from '../../../src/adapters/keyring/keyring-provider.ts'
import { readSealedHeader } from '../../../src/crypto/block-opener.ts'
import { checkRewrapped, FoundKeys, rewrapLog } from '../../../src/main/rewrap.ts'
import { errorOf, topicA, topicB } from './crypto-fixtures.ts'
import { kekOf, RewrapWorld, random, source } from './rewrap-world.ts'

let at: RewrapWorld
beforeEach(async () => {
  at = await RewrapWorld.begin()
})
afterEach(async () => at.end())

describe('a run', () => {
  test('given another command waits, then it has a turn between two changes of a run', async () => {
    const before = await at.seal()
    await at.edit(rotateKek(source))
    const lock: string[] = []
    at.meanwhile(async () => {
      lock.push(
        await access(`${at.path}.lock`).then(
          () => 'held',
          () => 'free',
        ),
      )
      if (lock.length === 1) await changeKeyring(at.path, source, bindTopic(source, topicB, 'other'))
    })
    expect(await at.rewrap()).toEqual({ added: 1, movedOn: 0, left: [] })
    expect(lock).toEqual(['free'])
    expect(await at.open(before)).toBe('none')
    expect(await readFile(at.path, 'utf8')).toContain('"topic": "other"')
  })

  test('given a run whose changes are kept from it, then it changes nothing: all of them go through `hold`', async () => {
    await at.seal()
    await at.edit(rotateKek(source))
    const before = await readdir(at.folder)
    const hold = async (): Promise<never> => {
      throw new Error('not now')
    }
    const run = rewrapLog(async () => [], { keyring: at.path, source, signal: new AbortController().signal, hold })
    await expect(run).rejects.toThrow('not now')
    expect(await readdir(at.folder)).toEqual(before)
  })

  test('given a run that finds nothing new, then the file stays as it is, byte for byte', async () => {
    await at.seal()
    await at.edit(rotateKek(source))
    await at.rewrap()
    const before = await at.fileBytes()
    expect(await at.rewrap()).toEqual({ added: 0, movedOn: 0, left: [] })
    expect((await at.fileBytes()).equals(before)).toBe(true)
  })
})

describe('a log with more data keys than a run remembers', () => {
  test('given most of them are under the current KEK, then those do not count', async () => {
    const old = await at.seal()
    const lasting = new FoundKeys(at.keyring, 1)
    await at.edit(rotateKek(source))
    await at.seal()
    await at.seal('tl-acme.other')
    at.foundIn(lasting)
    expect(lasting.take().map(({ kekId }) => kekId)).toEqual([kekOf(old)])
    await at.edit(rotateKek(source))
    expect(() => at.foundIn(lasting)).toThrow('more than 1 data keys under old KEKs')
  })

  test('given the walk fails on its way, then what it had found is re-wrapped', async () => {
    await at.seal()
    await at.edit(rotateKek(source))
    const failing = at.run(async (found) => {
      at.foundIn(found)
      throw new Error('away')
    })
    await expect(failing).rejects.toThrow('away')
    expect(await checkRewrapped(at.path, source)).toMatchObject({ count: 1 })
  })
})

describe('files that are copied one after the other', () => {
  /** orders moved from the shared KEK to the next one, which is current; then it got its own and was shredded. */
  async function world(): Promise<{ shredded: Uint8Array; old: Uint8Array; now: Uint8Array; rewrapped: Buffer }> {
    const [shredded, old] = [await at.seal(), await at.seal('tl-acme.other')]
    await at.edit(rotateKek(source))
    const now = await at.seal('tl-acme.other')
    await at.rewrap()
    await at.edit(retireKek(kekOf(shredded)))
    expect([await at.open(shredded), await at.open(old, topicB)]).toEqual(['none', 'none'])
    const before = await at.fileBytes()
    await changeKeyring(at.path, source, bindTopic(source, topicA, 'orders'))
    await changeKeyring(at.path, source, shredTopic(topicA))
    const rewrapped = await at.fileBytes()
    expect(rewrapped.equals(before)).toBe(false)
    await writeFile(rewrappedPathOf(at.path), before)
    return { shredded, old, now, rewrapped }
  }

  test('given the ring comes before the re-wrapped keys of a shredded topic, then nothing of it is readable, and every look says so', async () => {
    const { shredded, old, now, rewrapped } = await world()
    const { revision } = at.keyring
    expect(await errorOf(() => at.keyring.reload())).toBe('KEYRING_WRONG')
    expect(at.keyring.revision).toBe(revision + 2)
    expect(await at.open(shredded)).toBe('KEY_UNAVAILABLE')
    // Whether a mark is missing is not known of any old key; what is current goes on.
    expect([await at.open(old, topicB), await at.open(now, topicB)]).toEqual(['KEY_UNAVAILABLE', 'none'])
    expect(await errorOf(() => at.keyring.reload())).toBe('KEYRING_WRONG')
    await writeFile(rewrappedPathOf(at.path), rewrapped)
    expect(await errorOf(() => at.keyring.reload())).toBe('none')
    expect(await at.open(shredded)).toBe('KEY_SHREDDED')
    expect([await at.open(old, topicB), await at.open(now, topicB)]).toEqual(['none', 'none'])
  })

  test('given the re-wrapped keys come by themselves then, then they are used, and the ring is not refused any more', async () => {
    const { shredded, old, rewrapped } = await world()
    expect(await errorOf(() => at.keyring.reload())).toBe('KEYRING_WRONG')
    await writeFile(rewrappedPathOf(at.path), rewrapped)
    await at.keyring.reloadRewrapped()
    expect([await at.open(shredded), await at.open(old, topicB)]).toEqual(['KEY_SHREDDED', 'none'])
    expect(await errorOf(() => at.keyring.reload())).toBe('none')
  })

  test('given re-wrapped keys that were never copied, then the ring is used, and is missing them until they are there', async () => {
    const before = await at.seal()
    const unaware = await openKeyring(at.path, { create: false, random, clock: at.clock })
    await at.edit(rotateKek(source))
    await at.rewrap()
    await at.edit(retireKek(kekOf(before)))
    const rewrapped = await at.fileBytes()
    await rm(rewrappedPathOf(at.path))
    expect(await errorOf(() => unaware.reload())).toBe('KEYRING_MISSING')
    expect(await errorOf(() => unaware.reload())).toBe('KEYRING_MISSING')
    const { kekId, wrapped } = readSealedHeader(before)
    const context = { topicId: topicA, tenant: 'acme' }
    expect(unaware.refusalOf(kekId, { wrapped, context })).toBe('KEY_UNAVAILABLE')
    await writeFile(rewrappedPathOf(at.path), rewrapped, { mode: 0o600 })
    await unaware.reload()
    expect(unaware.refusalOf(kekId, { wrapped, context })).toBeUndefined()
  })

  test('given both are there, when the ring is read first, then nobody sees it without the re-wrapped keys', async () => {
    const { shredded, old, rewrapped } = await world()
    await writeFile(rewrappedPathOf(at.path), rewrapped)
    const refusals: unknown[] = []
    const { kekId, wrapped } = readSealedHeader(old)
    at.keyring.onChange(() =>
      refusals.push(at.keyring.refusalOf(kekId, { wrapped, context: { topicId: topicB, tenant: 'acme' } })),
    )
    await at.keyring.reload()
    expect(refusals).toEqual([undefined, undefined])
    expect([await at.open(shredded), await at.open(old, topicB)]).toEqual(['KEY_SHREDDED', 'none'])
  })
})

describe('a process that starts while the files are changed', () => {
  /** The ring as the process reads it, and re-wrapped keys sealed by a KEK that it does not hold yet. */
  async function between(): Promise<{ block: Uint8Array; before: string; now: string }> {
    const block = await at.seal()
    const before = await readFile(at.path, 'utf8')
    await at.edit(rotateKek(source))
    await at.rewrap()
    const now = await readFile(at.path, 'utf8')
    await writeFile(at.path, before)
    return { block, before, now }
  }

  /** `change` runs behind each reading of the ring, ahead of the re-wrapped keys. */
  const opened = (change: () => void): Promise<KeyringProvider> =>
    openKeyring(at.path, {
      create: false,
      random,
      clock: at.clock,
      get expectedRingId() {
        change()
        return undefined
      },
    })

  test('given the ring it has read is replaced ahead of the re-wrapped keys, then it reads the ring again, and starts', async () => {
    const { block, now } = await between()
    const { kekId, wrapped } = readSealedHeader(block)
    const started = await opened(() => writeFileSync(at.path, now))
    expect(started.revision).toBe(parseKeyring(now).revision)
    expect(started.refusalOf(kekId, { wrapped, context: { topicId: topicA, tenant: 'acme' } })).toBeUndefined()
  })

  test('given a ring that does not change, or changes for ever, then it is refused, at the latest behind three readings', async () => {
    const { before } = await between()
    let readings = 0
    const same = opened(() => {
      readings += 1
    })
    expect(await errorOf(() => same)).toBe('KEYRING_UNREADABLE')
    expect(readings).toBe(1)
    readings = 0
    const changing = opened(() => {
      readings += 1
      const ring = parseKeyring(before)
      writeFileSync(at.path, keyringText({ ...ring, revision: ring.revision + readings }))
    })
    expect(await errorOf(() => changing)).toBe('KEYRING_UNREADABLE')
    expect(readings).toBe(3)
  })
})

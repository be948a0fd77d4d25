// Re-wrapped keys beside a keyring: what opens by them, what does not any more, and what nobody can slip in.
import { writeFileSync } from 'node:fs'
import { access, copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { keyringText, parseKeyring } from '../../../src/adapters/keyring/keyring-content.ts'
import {
  bindTopic,
  type KeyringEdit,
  restoreKek,
  retireKek,
  revokeKek,
  rotateKek,
  shredKek,
  shredTopic,
} from '../../../src/adapters/keyring/keyring-edits.ts'
import { changeKeyring, rewrappedPathOf } from '../../../src/adapters/keyring/keyring-file.ts'
import { type KeyringProvider, openKeyring } from '../../../src/adapters/keyring/keyring-provider.ts'
import { added } from '../../../src/adapters/keyring/rewrap-edits.ts'
import { type RewrappedKey, RewrappedKeys, rewrappedBytes } from '../../../src/adapters/keyring/rewrapped-keys.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { BlockOpener, readSealedHeader } from '../../../src/crypto/block-opener.ts'
import { BlockSealer } from '../../../src/crypto/block-sealer.ts'
import { checkRewrapped, FoundKeys, type RewrapReport, rewrapLog } from '../../../src/main/rewrap.ts'
import type { TopicId } from '../../../src/protocol/ids.ts'
import { blockOf, errorOf, place, topicA, topicB } from './crypto-fixtures.ts'

const topics = { 'tl-acme.orders': topicA, 'tl-acme.other': topicB } as const
const random = new SeededRandom('re-wrapped keys')
/** What others do while somebody pauses. */
let meanwhile: () => Promise<unknown>
const source = {
  random,
  clock: {
    nowMs: () => 1_000_000,
    monotonicMs: () => 0,
    after: (_delayMs: number, callback: () => void) => {
      void meanwhile().then(callback)
      return { cancel: () => {} }
    },
  },
}
const atOnce = <T>(change: () => Promise<T>): Promise<T> => change()
let clock: SimulatedClock
let folder: string
let path: string
let keyring: KeyringProvider
let sealer: BlockSealer
let opener: BlockOpener
/** Every block that was sealed: the log. */
let log: { readonly topic: keyof typeof topics; readonly sealed: Uint8Array }[]

beforeEach(async () => {
  clock = new SimulatedClock()
  folder = await mkdtemp(join(tmpdir(), 'trunkline-rewrap-'))
  path = join(folder, 'keyring.json')
  log = []
  meanwhile = async () => {}
  await openKeyring(path, { create: true, random, clock })
  await start()
})

afterEach(async () => rm(folder, { recursive: true }))

/** A process that starts on the files as they are. */
async function start(): Promise<void> {
  keyring = await openKeyring(path, { create: false, random, clock })
  sealer = new BlockSealer({ keys: keyring, clock, random, tenant: 'acme' })
  opener = new BlockOpener({ keys: keyring, clock, tenant: 'acme' })
  keyring.onChange((change) => {
    sealer.recheck()
    if (change === 'access') opener.recheck()
  })
}

async function reload(): Promise<void> {
  await keyring.reload()
  await keyring.reloadRewrapped()
}

async function edit<T>(change: KeyringEdit<T>): Promise<T> {
  const value = await changeKeyring(path, source, change)
  await reload()
  return value
}

async function rewrap(): Promise<Pick<RewrapReport, 'added' | 'movedOn'> & { readonly left: readonly string[] }> {
  const report = await rewrapLog(
    async (found) => {
      for (const { topic, sealed } of log) found.add(topic, topics[topic], sealed)
      return []
    },
    { keyring: path, source, signal: new AbortController().signal, hold: atOnce },
  )
  await reload()
  return { added: report.added, movedOn: report.movedOn, left: [...report.left.keys()] }
}

async function seal(topic: keyof typeof topics = 'tl-acme.orders'): Promise<Uint8Array> {
  const sealed = await sealer.seal(blockOf('hello'), { ...place, topicId: topics[topic] })
  log.push({ topic, sealed })
  return sealed
}

const open = (sealed: Uint8Array, topicId: TopicId = topicA): Promise<string> =>
  errorOf(() => opener.open({ ...place, topicId }, sealed))
const kekOf = (sealed: Uint8Array): string => readSealedHeader(sealed).kekId
const fileBytes = (): Promise<Buffer> => readFile(rewrappedPathOf(path))

describe('a KEK whose keys were re-wrapped', () => {
  test('given it is retired and its key is destroyed, then what it wrapped opens, also in a process that starts then', async () => {
    const [one, other] = [await seal(), await seal('tl-acme.other')]
    await edit(rotateKek(source))
    expect(await rewrap()).toEqual({ added: 2, movedOn: 0, left: [] })
    await edit(retireKek(kekOf(one)))
    expect([await open(one), await open(other, topicB)]).toEqual(['none', 'none'])
    await edit(shredKek(kekOf(one), false))
    expect(await readFile(path, 'utf8')).toContain('"state": "replaced"')
    expect([await open(one), await open(other, topicB)]).toEqual(['none', 'none'])
    await start()
    expect([await open(one), await open(other, topicB)]).toEqual(['none', 'none'])
  })

  test('given a block that no run saw, then it is unavailable once the KEK is retired, and the next run finds it', async () => {
    const seen = await seal()
    const laggard = new BlockSealer({ keys: keyring, clock, random, tenant: 'acme' })
    const late = await laggard.seal(blockOf('late'), place)
    await edit(rotateKek(source))
    await rewrap()
    await edit(retireKek(kekOf(seen)))
    expect([await open(seen), await open(late)]).toEqual(['none', 'KEY_UNAVAILABLE'])
    log.push({ topic: 'tl-acme.orders', sealed: late })
    expect(await rewrap()).toEqual({ added: 1, movedOn: 0, left: [] })
    expect(await open(late)).toBe('none')
  })

  test('given it is retired, then it wraps no more, not even for a sealer that had its data key', async () => {
    const before = await seal()
    await edit(rotateKek(source))
    await rewrap()
    await edit(retireKek(kekOf(before)))
    expect(kekOf(await seal())).not.toBe(kekOf(before))
    await edit(restoreKek(kekOf(before)))
    expect(keyring.refusalOf(kekOf(before))).toBeUndefined()
  })

  test('given a further rotation, then a run moves the keys on, and only then the second KEK is retired', async () => {
    const first = await seal()
    const second = await edit(rotateKek(source))
    await rewrap()
    await edit(retireKek(kekOf(first)))
    await edit(shredKek(kekOf(first), false))
    const later = await seal()
    await edit(rotateKek(source))
    await expect(edit(retireKek(second))).rejects.toThrow('run keys rewrap first')
    expect(await rewrap()).toEqual({ added: 1, movedOn: 1, left: [] })
    await edit(retireKek(second))
    await edit(shredKek(second, false))
    await start()
    expect([await open(first), await open(later)]).toEqual(['none', 'none'])
  })

  test('given another command waits, then it has a turn between two changes of a run', async () => {
    const before = await seal()
    await edit(rotateKek(source))
    const lock: string[] = []
    meanwhile = async () => {
      lock.push(
        await access(`${path}.lock`).then(
          () => 'held',
          () => 'free',
        ),
      )
      if (lock.length === 1) await changeKeyring(path, source, bindTopic(source, topicB, 'other'))
    }
    expect(await rewrap()).toEqual({ added: 1, movedOn: 0, left: [] })
    expect(lock).toEqual(['free'])
    expect(await open(before)).toBe('none')
    expect(await readFile(path, 'utf8')).toContain('"topic": "other"')
  })

  test('given a run whose changes are kept from it, then it changes nothing: all of them go through `hold`', async () => {
    await seal()
    await edit(rotateKek(source))
    const before = await readdir(folder)
    const hold = async (): Promise<never> => {
      throw new Error('not now')
    }
    const run = rewrapLog(async () => [], { keyring: path, source, signal: new AbortController().signal, hold })
    await expect(run).rejects.toThrow('not now')
    expect(await readdir(folder)).toEqual(before)
  })

  test('given a run that finds nothing new, then the file stays as it is, byte for byte', async () => {
    await seal()
    await edit(rotateKek(source))
    await rewrap()
    const before = await fileBytes()
    expect(await rewrap()).toEqual({ added: 0, movedOn: 0, left: [] })
    expect((await fileBytes()).equals(before)).toBe(true)
  })

  test('given nothing was ever re-wrapped, then no KEK is retired', async () => {
    const before = await seal()
    await edit(rotateKek(source))
    await expect(edit(retireKek(kekOf(before)))).rejects.toThrow('run keys rewrap first')
  })

  test('given the file is not there any more, then a process does not start without it, and a running one goes on', async () => {
    const before = await seal()
    await edit(rotateKek(source))
    await rewrap()
    await edit(retireKek(kekOf(before)))
    await rm(rewrappedPathOf(path))
    expect(await errorOf(() => keyring.reloadRewrapped())).toBe('KEYRING_MISSING')
    expect(await open(before)).toBe('none')
    expect(await errorOf(start)).toBe('KEYRING_MISSING')
  })

  test('given more keys than the file may hold, then it stops there, and says so', async () => {
    const blocks = [await seal(), await seal('tl-acme.other')]
    await edit(rotateKek(source))
    const found = blocks.map((sealed) => ({ ...readSealedHeader(sealed), tenant: 'acme' }))
    const step = await added(keyring, RewrappedKeys.none(keyring.ringId), found, 1)
    expect([step.done, step.more]).toEqual([1, true])
  })
})

describe('a log with more data keys than a run remembers', () => {
  const foundIn = (found: FoundKeys, blocks: typeof log): void => {
    for (const { topic, sealed } of blocks) found.add(topic, topics[topic], sealed)
  }

  test('given most of them are under the current KEK, then those do not count', async () => {
    const old = await seal()
    const lasting = new FoundKeys(keyring, 1)
    await edit(rotateKek(source))
    await seal()
    await seal('tl-acme.other')
    foundIn(lasting, log)
    expect(lasting.take().map(({ kekId }) => kekId)).toEqual([kekOf(old)])
    await edit(rotateKek(source))
    expect(() => foundIn(lasting, log)).toThrow('more than 1 data keys under old KEKs')
  })

  test('given the walk fails on its way, then what it had found is re-wrapped', async () => {
    await seal()
    await edit(rotateKek(source))
    const failing = rewrapLog(
      async (found) => {
        foundIn(found, log)
        throw new Error('away')
      },
      { keyring: path, source, signal: new AbortController().signal, hold: atOnce },
    )
    await expect(failing).rejects.toThrow('away')
    expect(await checkRewrapped(path, source)).toMatchObject({ count: 1 })
  })
})

describe('revoking', () => {
  test('given the old KEK is revoked, then what was re-wrapped from it is unavailable too, until it is restored', async () => {
    const before = await seal()
    await edit(rotateKek(source))
    await rewrap()
    expect(await open(before)).toBe('none')
    await edit(revokeKek(kekOf(before)))
    expect(await open(before)).toBe('KEY_UNAVAILABLE')
    expect((await rewrap()).left).toEqual([])
    await edit(restoreKek(kekOf(before)))
    expect(await open(before)).toBe('none')
  })

  test('given a retired KEK is revoked, when it is restored, then it is retired again, and only then restored from that', async () => {
    const seen = await seal()
    const laggard = new BlockSealer({ keys: keyring, clock, random, tenant: 'acme' })
    const late = await laggard.seal(blockOf('late'), place)
    await edit(rotateKek(source))
    await rewrap()
    await edit(retireKek(kekOf(seen)))
    await edit(revokeKek(kekOf(seen)))
    expect(await readFile(path, 'utf8')).toContain('"state": "revoked",\n      "retired": true')
    expect([await open(seen), await open(late)]).toEqual(['KEY_UNAVAILABLE', 'KEY_UNAVAILABLE'])
    await edit(restoreKek(kekOf(seen)))
    expect(await readFile(path, 'utf8')).not.toContain('"retired": true')
    expect([await open(seen), await open(late)]).toEqual(['none', 'KEY_UNAVAILABLE'])
    await edit(restoreKek(kekOf(seen)))
    expect([await open(seen), await open(late)]).toEqual(['none', 'none'])
  })

  test('given the new KEK is revoked, then data keys in memory that it re-wrapped are dropped at once', async () => {
    const before = await seal()
    const second = await edit(rotateKek(source))
    await rewrap()
    expect(await open(before)).toBe('none')
    await edit(rotateKek(source))
    await edit(revokeKek(second))
    expect(await open(before)).toBe('KEY_UNAVAILABLE')
    expect((await rewrap()).left).toEqual([`${second}: KEY_UNAVAILABLE, revoked KEK`])
  })
})

describe('shredding', () => {
  test('given a topic’s events under the shared KEK moved to its own, when it is shredded, then they are gone, whatever is there of the shared KEK, for good', async () => {
    const before = await seal()
    await edit(bindTopic(source, topicA, 'orders'))
    await rewrap()
    const kept = await seal('tl-acme.other')
    const own = await seal()
    await edit(shredTopic(topicA))
    expect([await open(before), await open(own)]).toEqual(['KEY_SHREDDED', 'KEY_SHREDDED'])
    expect(await open(kept, topicB)).toBe('none')
    await rewrap()
    await start()
    expect([await open(before), await open(own)]).toEqual(['KEY_SHREDDED', 'KEY_SHREDDED'])
    expect(await checkRewrapped(path, source)).toMatchObject({ count: 1 })
  })

  test('given a topic whose own KEK was rotated and re-wrapped, when it is shredded, then all of it is gone', async () => {
    await edit(bindTopic(source, topicA, 'orders'))
    const first = await seal()
    await edit(rotateKek(source, topicA))
    await rewrap()
    await edit(retireKek(kekOf(first)))
    const second = await seal()
    await edit(shredTopic(topicA))
    expect([await open(first), await open(second)]).toEqual(['KEY_SHREDDED', 'KEY_SHREDDED'])
    expect(await readFile(path, 'utf8')).not.toContain('"state": "retired"')
  })

  test('given a topic that was rotated is shredded, then a further run leaves its events as shredded', async () => {
    const first = await edit(bindTopic(source, topicA, 'orders'))
    await seal()
    const second = await edit(rotateKek(source, topicA))
    await seal()
    await edit(shredTopic(topicA))
    expect((await rewrap()).left).toEqual([`${first}: KEY_SHREDDED`])
    await edit(rotateKek(source))
    expect((await rewrap()).left).toEqual([`${first}: KEY_SHREDDED`])
    // With another KEK the topic is written to again, and both stand behind it.
    await edit(bindTopic(source, topicA, 'orders'))
    expect((await rewrap()).left).toEqual([`${first}: KEY_SHREDDED`, `${second}: KEY_SHREDDED`])
  })

  test('given a shredded topic’s events under a shared KEK that was never re-wrapped, then a run keeps them as readable until that is retired', async () => {
    const before = await seal()
    const old = kekOf(before)
    await edit(rotateKek(source))
    const unseen = log.splice(0)
    await rewrap()
    await edit(bindTopic(source, topicA, 'orders'))
    await edit(shredTopic(topicA))
    log.push(...unseen)
    expect(await open(before)).toBe('none')
    expect((await rewrap()).left).toEqual([`${old}: KEY_UNAVAILABLE, the current KEK is destroyed`])
    await edit(retireKek(old))
    expect(await open(before)).toBe('KEY_UNAVAILABLE')
    expect((await rewrap()).left).toEqual([`${old}: KEY_SHREDDED`])
    await edit(shredKek(old, false))
    expect((await rewrap()).left).toEqual([`${old}: KEY_SHREDDED`])
  })

  test('given one of a topic’s KEKs is destroyed, then what another of them wraps is kept, until the last one goes', async () => {
    const before = await seal()
    const first = await edit(bindTopic(source, topicA, 'orders'))
    await rewrap()
    const second = await edit(rotateKek(source, topicA))
    const own = await seal()
    await edit(shredKek(second, false))
    expect([await open(before), await open(own)]).toEqual(['none', 'KEY_SHREDDED'])
    await start()
    expect([await open(before), await open(own)]).toEqual(['none', 'KEY_SHREDDED'])
    await edit(shredKek(first, false))
    expect([await open(before), await open(own)]).toEqual(['KEY_SHREDDED', 'KEY_SHREDDED'])
  })

  test('given a topic’s only KEK is destroyed by its id, then what the shared KEK still wraps of it is gone too', async () => {
    const before = await seal()
    await edit(rotateKek(source))
    await rewrap()
    const own = await edit(bindTopic(source, topicA, 'orders'))
    expect(await open(before)).toBe('none')
    await edit(shredKek(own, false))
    expect(await open(before)).toBe('KEY_SHREDDED')
  })

  test('given a shared KEK is destroyed with all that it wrapped, then what was re-wrapped from it leaves the file', async () => {
    const before = await seal()
    await edit(rotateKek(source))
    await rewrap()
    await edit(revokeKek(kekOf(before)))
    await edit(shredKek(kekOf(before), true))
    expect(await open(before)).toBe('KEY_SHREDDED')
    expect(await checkRewrapped(path, source)).toMatchObject({ count: 0 })
  })

  test('given a retired KEK whose loss is named, then what was re-wrapped from it goes too', async () => {
    const before = await seal()
    await edit(rotateKek(source))
    await rewrap()
    await edit(retireKek(kekOf(before)))
    await edit(shredKek(kekOf(before), false))
    expect(await open(before)).toBe('none')
    await edit(shredKek(kekOf(before), true))
    expect(await open(before)).toBe('KEY_SHREDDED')
  })

  test('given it was cut off between the two files, then the same command goes on, and nothing is readable that was taken', async () => {
    const before = await seal()
    await edit(bindTopic(source, topicA, 'orders'))
    await rewrap()
    const cut = await readFile(path)
    await changeKeyring(path, source, shredTopic(topicA))
    await writeFile(path, cut)
    await start()
    expect(await open(before)).toBe('KEY_SHREDDED')
    await edit(shredTopic(topicA))
    expect(await open(before)).toBe('KEY_SHREDDED')
  })

  test('given the KEK that seals the file is destroyed, then the file is sealed by the current one before', async () => {
    const before = await seal()
    const second = await edit(rotateKek(source))
    await rewrap()
    await edit(rotateKek(source))
    await edit(revokeKek(second))
    await edit(shredKek(second, true))
    await start()
    expect(await open(before)).toBe('KEY_SHREDDED')
  })
})

describe('files that are copied one after the other', () => {
  /** orders moved from the shared KEK to the next one, which is current; then it got its own and was shredded. */
  async function world(): Promise<{ shredded: Uint8Array; old: Uint8Array; now: Uint8Array; rewrapped: Buffer }> {
    const [shredded, old] = [await seal(), await seal('tl-acme.other')]
    await edit(rotateKek(source))
    const now = await seal('tl-acme.other')
    await rewrap()
    await edit(retireKek(kekOf(shredded)))
    expect([await open(shredded), await open(old, topicB)]).toEqual(['none', 'none'])
    const before = await fileBytes()
    await changeKeyring(path, source, bindTopic(source, topicA, 'orders'))
    await changeKeyring(path, source, shredTopic(topicA))
    const rewrapped = await fileBytes()
    expect(rewrapped.equals(before)).toBe(false)
    await writeFile(rewrappedPathOf(path), before)
    return { shredded, old, now, rewrapped }
  }

  test('given the ring comes before the re-wrapped keys of a shredded topic, then nothing of it is readable, and every look says so', async () => {
    const { shredded, old, now, rewrapped } = await world()
    const { revision } = keyring
    expect(await errorOf(() => keyring.reload())).toBe('KEYRING_WRONG')
    expect(keyring.revision).toBe(revision + 2)
    expect(await open(shredded)).toBe('KEY_UNAVAILABLE')
    // Whether a mark is missing is not known of any old key; what is current goes on.
    expect([await open(old, topicB), await open(now, topicB)]).toEqual(['KEY_UNAVAILABLE', 'none'])
    expect(await errorOf(() => keyring.reload())).toBe('KEYRING_WRONG')
    await writeFile(rewrappedPathOf(path), rewrapped)
    expect(await errorOf(() => keyring.reload())).toBe('none')
    expect(await open(shredded)).toBe('KEY_SHREDDED')
    expect([await open(old, topicB), await open(now, topicB)]).toEqual(['none', 'none'])
  })

  test('given the re-wrapped keys come by themselves then, then they are used, and the ring is not refused any more', async () => {
    const { shredded, old, rewrapped } = await world()
    expect(await errorOf(() => keyring.reload())).toBe('KEYRING_WRONG')
    await writeFile(rewrappedPathOf(path), rewrapped)
    await keyring.reloadRewrapped()
    expect([await open(shredded), await open(old, topicB)]).toEqual(['KEY_SHREDDED', 'none'])
    expect(await errorOf(() => keyring.reload())).toBe('none')
  })

  test('given re-wrapped keys that were never copied, then the ring is used, and is missing them until they are there', async () => {
    const before = await seal()
    const unaware = await openKeyring(path, { create: false, random, clock })
    await edit(rotateKek(source))
    await rewrap()
    await edit(retireKek(kekOf(before)))
    const rewrapped = await fileBytes()
    await rm(rewrappedPathOf(path))
    expect(await errorOf(() => unaware.reload())).toBe('KEYRING_MISSING')
    expect(await errorOf(() => unaware.reload())).toBe('KEYRING_MISSING')
    const { kekId, wrapped } = readSealedHeader(before)
    const context = { topicId: topicA, tenant: 'acme' }
    expect(unaware.refusalOf(kekId, { wrapped, context })).toBe('KEY_UNAVAILABLE')
    await writeFile(rewrappedPathOf(path), rewrapped, { mode: 0o600 })
    await unaware.reload()
    expect(unaware.refusalOf(kekId, { wrapped, context })).toBeUndefined()
  })

  test('given both are there, when the ring is read first, then nobody sees it without the re-wrapped keys', async () => {
    const { shredded, old, rewrapped } = await world()
    await writeFile(rewrappedPathOf(path), rewrapped)
    const refusals: unknown[] = []
    const { kekId, wrapped } = readSealedHeader(old)
    keyring.onChange(() =>
      refusals.push(keyring.refusalOf(kekId, { wrapped, context: { topicId: topicB, tenant: 'acme' } })),
    )
    await keyring.reload()
    expect(refusals).toEqual([undefined, undefined])
    expect([await open(shredded), await open(old, topicB)]).toEqual(['KEY_SHREDDED', 'none'])
  })
})

describe('a process that starts while the files are changed', () => {
  /** The ring as the process reads it, and re-wrapped keys sealed by a KEK that it does not hold yet. */
  async function between(): Promise<{ block: Uint8Array; before: string; now: string }> {
    const block = await seal()
    const before = await readFile(path, 'utf8')
    await edit(rotateKek(source))
    await rewrap()
    const now = await readFile(path, 'utf8')
    await writeFile(path, before)
    return { block, before, now }
  }

  /** `change` runs behind each reading of the ring, ahead of the re-wrapped keys. */
  const opened = (change: () => void): Promise<KeyringProvider> =>
    openKeyring(path, {
      create: false,
      random,
      clock,
      get expectedRingId() {
        change()
        return undefined
      },
    })

  test('given the ring it has read is replaced ahead of the re-wrapped keys, then it reads the ring again, and starts', async () => {
    const { block, now } = await between()
    const { kekId, wrapped } = readSealedHeader(block)
    const started = await opened(() => writeFileSync(path, now))
    expect(started.revision).toBe(parseKeyring(now).revision)
    expect(started.refusalOf(kekId, { wrapped, context: { topicId: topicA, tenant: 'acme' } })).toBeUndefined()
  })

  test('given a ring that does not change, or changes for ever, then it is refused, at the latest behind three readings', async () => {
    const { before } = await between()
    let readings = 0
    expect(await errorOf(() => opened(() => void (readings += 1)))).toBe('KEYRING_UNREADABLE')
    expect(readings).toBe(1)
    readings = 0
    const changing = opened(() => {
      readings += 1
      const ring = parseKeyring(before)
      writeFileSync(path, keyringText({ ...ring, revision: ring.revision + readings }))
    })
    expect(await errorOf(() => changing)).toBe('KEYRING_UNREADABLE')
    expect(readings).toBe(3)
  })
})

describe('a file that others wrote', () => {
  /** Two topics re-wrapped, by two different data keys. */
  async function world(): Promise<readonly [Uint8Array, Uint8Array]> {
    const blocks = [await seal(), await seal('tl-acme.other')] as const
    await edit(rotateKek(source))
    await rewrap()
    return blocks
  }

  test('given any flipped byte, then it is refused, and the loaded one goes on', async () => {
    const [block] = await world()
    const sound = await fileBytes()
    for (let at = 0; at < sound.length; at += 1) {
      const broken = Buffer.from(sound)
      broken[at] = (broken[at] ?? 0) ^ 1
      await writeFile(rewrappedPathOf(path), broken)
      expect(['KEYRING_UNREADABLE', 'KEYRING_WRONG'], `byte ${at}`).toContain(
        await errorOf(() => keyring.reloadRewrapped()),
      )
    }
    expect(await open(block)).toBe('none')
  })

  test.each([0, 1, 31, 32, 57])('given it is cut to %s bytes, then it is refused', async (size) => {
    await world()
    await writeFile(rewrappedPathOf(path), (await fileBytes()).subarray(0, size))
    expect(await errorOf(() => keyring.reloadRewrapped())).toBe('KEYRING_UNREADABLE')
  })

  test('given a key of his that an attacker without our keys puts in for ours, then it is refused', async () => {
    await world()
    const ring = parseKeyring(await readFile(path, 'utf8'))
    const entries = [...RewrappedKeys.parse(await fileBytes(), ring).entries()]
    const his = {
      ...ring,
      keks: ring.keks.map((kek) => ({ ...kek, state: { kind: 'active', key: random.bytes(32) } as const })),
    }
    await writeFile(rewrappedPathOf(path), rewrappedBytes(his, 99, entries))
    expect(await errorOf(() => keyring.reloadRewrapped())).toBe('KEYRING_UNREADABLE')
  })

  test('given entries that swapped their keys, even under a good seal, then neither opens and verify tells', async () => {
    const blocks = await world()
    const ring = parseKeyring(await readFile(path, 'utf8'))
    const [one, other] = [...RewrappedKeys.parse(await fileBytes(), ring).entries()] as [RewrappedKey, RewrappedKey]
    const swapped = [
      { ...one, now: other.now },
      { ...other, now: one.now },
    ]
    await writeFile(rewrappedPathOf(path), rewrappedBytes(ring, 99, swapped))
    await keyring.reloadRewrapped()
    expect([await open(blocks[0]), await open(blocks[1], topicB)]).toEqual(['KEY_UNAVAILABLE', 'KEY_UNAVAILABLE'])
    expect(await errorOf(() => checkRewrapped(path, source))).toBe('KEYRING_UNREADABLE')
  })

  test('given an older copy, or none, then it is refused, at the start as well: what was shredded does not come back', async () => {
    const before = await seal()
    await edit(bindTopic(source, topicA, 'orders'))
    await rewrap()
    await copyFile(rewrappedPathOf(path), `${path}.backup`)
    await edit(shredTopic(topicA))
    await copyFile(`${path}.backup`, rewrappedPathOf(path))
    expect(await errorOf(() => keyring.reloadRewrapped())).toBe('KEYRING_WRONG')
    expect(await open(before)).toBe('KEY_SHREDDED')
    expect(await errorOf(start)).toBe('KEYRING_WRONG')
    await rm(rewrappedPathOf(path))
    expect(await errorOf(start)).toBe('KEYRING_MISSING')
  })

  test('given the file of another ring, then it is wrong', async () => {
    await world()
    const mine = await fileBytes()
    const other = join(folder, 'other.json')
    await openKeyring(other, { create: true, random, clock })
    await writeFile(rewrappedPathOf(other), mine, { mode: 0o600 })
    expect(await errorOf(() => openKeyring(other, { create: false, random, clock }))).toBe('KEYRING_WRONG')
  })
})

import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import {
  changeGatewayKeys,
  loadOrCreateGatewayKeys,
  reloadGatewayKeys,
} from '../../../src/adapters/keyring/key-files.ts'
import { rotateKek, shredKek } from '../../../src/adapters/keyring/keyring-edits.ts'
import { changeKeyring } from '../../../src/adapters/keyring/keyring-file.ts'
import { openKeyring } from '../../../src/adapters/keyring/keyring-provider.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { GatewayKeys } from '../../../src/crypto/gateway-keys.ts'
import { errorOf, topicA } from './crypto-fixtures.ts'

const clock = new SimulatedClock()
const random = new SeededRandom('key files')
const make = { create: true, random, clock }
const load = { create: false, random, clock }
const source = { random, clock }
const context = { topicId: topicA, tenant: 'acme' }

let folder: string
let path: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trunkline-keys-'))
  path = join(folder, 'keys.json')
})

afterEach(async () => rm(folder, { recursive: true }))

const kinds: readonly [string, (options: typeof make) => Promise<{ close(): unknown }>][] = [
  ['gateway key file', (options) => loadOrCreateGatewayKeys(path, options)],
  ['keyring', (options) => openKeyring(path, options)],
]

describe.each(kinds)('a %s on disk', (_, open) => {
  test('given none, when it may be created, then it is made whole, 0600, with nothing left beside it', async () => {
    path = join(folder, 'deeper', 'still', 'keys.json')
    await open(make)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect(await readdir(join(folder, 'deeper', 'still'))).toEqual(['keys.json'])
  })

  test('given one, when it is opened again, then it is not changed', async () => {
    await open(make)
    const text = await readFile(path, 'utf8')
    await open(make)
    await open(load)
    expect(await readFile(path, 'utf8')).toBe(text)
  })

  test('given none, when it may not be created, then it is missing and stays so', async () => {
    expect(await errorOf(() => open(load))).toBe('KEYRING_MISSING')
    expect(await readdir(folder)).toEqual([])
  })

  test('given a dozen starts at once, then they agree on one file', async () => {
    await Promise.all(Array.from({ length: 12 }, () => open(make)))
    expect(await readdir(folder)).toEqual(['keys.json'])
  })

  test.each([0o640, 0o604, 0o644, 0o660, 0o601])('given mode %o, then it is refused and not repaired', async (mode) => {
    await open(make)
    await chmod(path, mode)
    expect(await errorOf(() => open(make))).toBe('KEYRING_UNREADABLE')
    expect((await stat(path)).mode & 0o777).toBe(mode)
  })

  test.each([
    ['nothing', ''],
    ['no JSON', '{"kind"'],
    ['a list', '[]'],
    ['null', 'null'],
    ['no kind', '{}'],
    ['a foreign kind', '{"kind":"package.json","version":1}'],
    ['too much', ' '.repeat(1024 * 1024 + 1)],
  ])('given a file with %s in it, then it is unreadable and left alone', async (__, text) => {
    await writeFile(path, text, { mode: 0o600 })
    expect(await errorOf(() => open(make))).toBe('KEYRING_UNREADABLE')
    expect(await readFile(path, 'utf8')).toBe(text)
  })

  test('given a half of the file, at any length, then it is unreadable', async () => {
    await open(make)
    const text = (await readFile(path, 'utf8')).trimEnd()
    for (let size = 0; size < text.length; size += 7) {
      await writeFile(path, text.slice(0, size))
      expect(await errorOf(() => open(load)), `${size} characters`).toBe('KEYRING_UNREADABLE')
    }
  })

  test('given a newer version, a short key or an unknown current key, then it is unreadable', async () => {
    await open(make)
    const text = await readFile(path, 'utf8')
    const changes: readonly [RegExp, string][] = [
      [/"version": \d/, '"version": 4'],
      [/"current": "[^"]+"/, '"current": "00000000"'],
      [/("key"|"secret"): "..../, '$1: "'],
      [/"createdAt": "/, '"createdAt": "x'],
      [/"id": "/, '"id": "?'],
    ]
    for (const [find, replace] of changes) {
      const changed = text.replace(find, replace)
      expect(changed).not.toBe(text)
      await writeFile(path, changed)
      expect(await errorOf(() => open(load)), `${find}`).toBe('KEYRING_UNREADABLE')
    }
  })

  test('given a folder in its place, then it is unreadable', async () => {
    await mkdir(path, { mode: 0o700 })
    expect(await errorOf(() => open(make))).toBe('KEYRING_UNREADABLE')
  })

  test('given a file where its folder should be, then creating fails typed', async () => {
    await writeFile(join(folder, 'file'), '')
    path = join(folder, 'file', 'keys.json')
    expect(await errorOf(() => open(load))).toBe('KEYRING_MISSING')
    expect(await errorOf(() => open(make))).toBe('KEYRING_UNREADABLE')
  })
})

describe('two kinds of key files', () => {
  test('given the files in each other’s place, then they are wrong, not unreadable', async () => {
    const other = join(folder, 'other.json')
    await loadOrCreateGatewayKeys(path, make)
    await openKeyring(other, make)
    expect(await errorOf(() => openKeyring(path, load))).toBe('KEYRING_WRONG')
    expect(await errorOf(() => loadOrCreateGatewayKeys(other, load))).toBe('KEYRING_WRONG')
  })
})

describe('the keyring of a data folder', () => {
  test('given the ring it was made with, also rotated, then it opens; given another, then it is wrong', async () => {
    const { ringId } = await openKeyring(path, make)
    await changeKeyring(path, source, rotateKek(source))
    expect((await openKeyring(path, { ...load, expectedRingId: ringId })).ringId).toBe(ringId)
    const other = join(folder, 'other.json')
    await openKeyring(other, make)
    expect(await errorOf(() => openKeyring(other, { ...load, expectedRingId: ringId }))).toBe('KEYRING_WRONG')
  })

  test('given the file became another ring, when it is reloaded, then it is wrong and the old one goes on', async () => {
    const keyring = await openKeyring(path, make)
    const key = await keyring.generate(context)
    await rm(path)
    await (await openKeyring(path, make)).close()
    expect(await errorOf(() => keyring.reload())).toBe('KEYRING_WRONG')
    expect(await keyring.unwrap(key.kekId, key.wrapped, context)).toEqual(key.plaintext)
  })

  test('given the current KEK, when it is to be destroyed, then that is refused and the file stays', async () => {
    const keyring = await openKeyring(path, make)
    const { kekId } = await keyring.generate(context)
    const text = await readFile(path, 'utf8')
    await expect(changeKeyring(path, source, shredKek(kekId, true))).rejects.toThrow('is the current KEK')
    expect(await readFile(path, 'utf8')).toBe(text)
  })

  test('given a rotation, then the file stays 0600 and nothing is left beside it', async () => {
    await openKeyring(path, make)
    await changeKeyring(path, source, rotateKek(source))
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect(await readdir(folder)).toEqual(['keys.json'])
  })
})

describe('gateway keys', () => {
  test('given rotations on disk, then all keys live and the newest is current', async () => {
    const first = await loadOrCreateGatewayKeys(path, make)
    const ids = [first.currentId]
    for (let turn = 0; turn < 4; turn += 1)
      ids.unshift(
        await changeGatewayKeys(path, source, (keys) => {
          const rotated = keys.rotated(random, clock)
          return { keys: rotated, value: rotated.currentId }
        }),
      )
    const read = await loadOrCreateGatewayKeys(path, load)
    expect(read.ids).toEqual(ids)
    expect(read.currentId).toBe(ids[0])
    expect(read.revision).toBe(5)
    await reloadGatewayKeys(path, first)
    expect(first.toText()).toBe(read.toText())
  })

  test('given an older copy of the file, when it is reloaded, then it is wrong and the loaded keys go on', async () => {
    const keys = await loadOrCreateGatewayKeys(path, make)
    const older = await readFile(path, 'utf8')
    await changeGatewayKeys(path, source, (former) => ({ keys: former.rotated(random, clock), value: undefined }))
    await reloadGatewayKeys(path, keys)
    const { currentId } = keys
    await writeFile(path, older)
    expect(await errorOf(() => reloadGatewayKeys(path, keys))).toBe('KEYRING_WRONG')
    expect(keys.currentId).toBe(currentId)
  })

  test('given 64 keys, then there is no room for one more, and a file with 65 is unreadable', async () => {
    let keys = GatewayKeys.generate(random, clock)
    while (!keys.isFull) keys = keys.rotated(random, clock)
    expect(keys.ids).toHaveLength(64)
    expect(() => keys.rotated(random, clock)).toThrow('no room')
    const text = keys.toText()
    const extra = GatewayKeys.generate(random, clock).toText()
    const entry = /\{\s+"id"[^}]+\}/.exec(extra)?.[0] ?? ''
    expect(GatewayKeys.parse(text).ids).toHaveLength(64)
    expect(await errorOf(() => GatewayKeys.parse(text.replace('"keys": [', `"keys": [${entry},`)))).toBe(
      'KEYRING_UNREADABLE',
    )
  })

  test('given no key or the same id twice in the text, then it is unreadable', async () => {
    const keys = GatewayKeys.generate(random, clock)
    const parsed: unknown = JSON.parse(keys.toText())
    if (typeof parsed !== 'object' || parsed === null || !('keys' in parsed) || !Array.isArray(parsed.keys))
      throw new Error()
    const list: unknown[] = parsed.keys
    const [key] = list
    expect(await errorOf(() => GatewayKeys.parse(JSON.stringify({ ...parsed, keys: [key, key] })))).toBe(
      'KEYRING_UNREADABLE',
    )
    expect(await errorOf(() => GatewayKeys.parse(JSON.stringify({ ...parsed, keys: [] })))).toBe('KEYRING_UNREADABLE')
  })

  test('given a logger that prints everything it finds, then no secret shows', async () => {
    const keys = GatewayKeys.generate(random, clock)
    const secret = /"secret": "([^"]+)"/.exec(keys.toText())?.[1] ?? ''
    expect(secret).not.toBe('')
    const keyring = await openKeyring(path, make)
    const ringText = await readFile(path, 'utf8')
    const kek = /"key": "([^"]+)"/.exec(ringText)?.[1] ?? ''
    expect(kek).not.toBe('')
    for (const print of [
      (value: unknown) => JSON.stringify(value),
      (value: unknown) => inspect(value, { depth: 9, showHidden: true }),
    ]) {
      expect(print(keys)).not.toContain(secret)
      expect(print(keyring)).not.toContain(kek)
      expect(print(keys)).not.toMatch(/Uint8Array\(32\)/)
    }
  })
})

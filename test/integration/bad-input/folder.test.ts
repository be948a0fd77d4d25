// A data folder that is not as the gateway left it: keyrings that are missing, unreadable or of another ring, a second
// process, and bits that turned inside blocks on disk. Typed, nothing overwritten, nothing damaged is ever served.
import { createHash } from 'node:crypto'
import { chmod, copyFile, cp, mkdtemp, readdir, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connect } from '../../../sdk/typescript/src/index.ts'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { openLmdbBroker } from '../../../src/adapters/embedded/open.ts'
import { systemRandom } from '../../../src/adapters/random/system-random.ts'
import { startGateway } from '../../../src/main/gateway.ts'
import { nullLogger } from '../../../src/observability/log.ts'
import { isErrorNamed } from '../../../src/protocol/errors.ts'
import { parseTopicName } from '../../../src/protocol/ids.ts'
import { blockOf, Harness, payloadsOf, refused } from '../sessions/harness.ts'
import { GatewayRun } from './gateway-run.ts'

let at: Harness
beforeEach(async () => {
  at = await Harness.start()
})
afterEach(() => at.end())

const start = (dir: string): Promise<unknown> =>
  startGateway({ dataDir: dir, httpPort: 0, thriftPort: 0, adminPort: 0, logger: nullLogger })

describe('key files', () => {
  const keyFiles = ['keyring.json', 'gateway-keys.json', 'signing-key.json', 'dev-client.json'] as const

  it('Given a keyring that is gone, then KEYRING_MISSING, and none is made in its place', async () => {
    await at.publish('kept', blockOf(0, 'a'))
    const kept = join(at.dir, 'elsewhere.json')
    const ring = join(at.dir, 'keyring.json')
    await at.restart(async () => {
      await rename(ring, kept)
      const before = await hashes(at.dir)
      await refused(start(at.dir), 'KEYRING_MISSING')
      expect(await hashes(at.dir)).toEqual(before)
      await rename(kept, ring)
    })
    expect(await at.everything('kept')).toEqual(new Map([[0, ['a']]]))
  })

  it('Given a key file that others may read, or that is garbage, then KEYRING_UNREADABLE, and it stays as it is', async () => {
    await at.publish('kept', blockOf(0, 'a'))
    await at.restart(async () => {
      for (const name of keyFiles) {
        const path = join(at.dir, name)
        const good = await readFile(path, 'utf8')
        await chmod(path, 0o640)
        const before = await hashes(at.dir)
        const open = await refused(start(at.dir), 'KEYRING_UNREADABLE')
        expect(JSON.stringify(open.details)).not.toContain(good.slice(20, 60))
        for (const bad of ['', 'garbage', '{', '[]', 'null', '{}', good.slice(0, good.length >> 1)]) {
          await chmod(path, 0o600)
          await writeFile(path, bad)
          await refused(start(at.dir), 'KEYRING_UNREADABLE', 'KEYRING_WRONG')
          expect(await readFile(path, 'utf8')).toBe(bad)
        }
        await writeFile(path, good)
        expect(await hashes(at.dir)).toEqual(before)
      }
    })
    expect(await at.everything('kept')).toEqual(new Map([[0, ['a']]]))
  })

  it('Given the keyring of another folder, or a key file of another kind, then KEYRING_WRONG, and the right one opens all again', async () => {
    await at.publish('kept', blockOf(0, 'a'))
    const other = await Harness.start()
    await other.close()
    await at.restart(async () => {
      const ring = join(at.dir, 'keyring.json')
      const good = await readFile(ring, 'utf8')
      for (const wrong of [join(other.dir, 'keyring.json'), join(at.dir, 'gateway-keys.json')]) {
        await copyFile(wrong, ring)
        await refused(start(at.dir), 'KEYRING_WRONG')
        expect(await readFile(ring, 'utf8')).toBe(await readFile(wrong, 'utf8'))
      }
      await writeFile(ring, good)
    })
    await rm(other.dir, { recursive: true })
    expect(await at.everything('kept')).toEqual(new Map([[0, ['a']]]))
  })

  it('Given gateway keys that are gone, then KEYRING_MISSING and none are made; back again, cursors and tokens hold', async () => {
    await at.publish('kept', blockOf(0, 'a'))
    const reader = await at.reader('kept')
    await at.restart(async () => {
      const path = join(at.dir, 'gateway-keys.json')
      const good = await readFile(path, 'utf8')
      await unlink(path)
      await refused(start(at.dir), 'KEYRING_MISSING')
      await writeFile(path, good, { mode: 0o600, flag: 'wx' })
    })
    const { cursor = new Uint8Array() } = reader.allocated
    const again = await at.reader('kept', { cursor })
    expect((await again.call('read', { n: 1 })).count).toBe(1)
  })
})

describe('a second process', () => {
  it('Given a folder in use, then DATA_DIR_IN_USE in this and in another process, and the first goes on', async () => {
    await at.publish('kept', blockOf(0, 'a'))
    const before = await hashes(at.dir, ['log'])
    await refused(start(at.dir), 'DATA_DIR_IN_USE')
    const scratch = await mkdtemp(join(tmpdir(), 'trunkline-'))
    const run = await GatewayRun.tryStart(scratch, at.dir)
    await rm(scratch, { recursive: true })
    expect(run.code).not.toBe(0)
    expect(run.output).toContain('DATA_DIR_IN_USE')
    expect(await hashes(at.dir, ['log'])).toEqual(before)
    await at.publish('kept', blockOf(0, 'b'))
    expect(await at.everything('kept')).toEqual(new Map([[0, ['a', 'b']]]))
  })
})

describe('bits that turned on disk', () => {
  const sound = ['s0', 's1', 's2', 's3']

  /** Partition 1 has blocks p0, p1, p2 with p1 damaged at `place` of its bytes; partition 0 is sound. */
  async function damaged(place: (block: Buffer) => number): Promise<void> {
    await at.publish('bits', ...sound.map((payload) => blockOf(0, payload)))
    for (const payload of ['p0', 'p1', 'p2']) await at.publish('bits', blockOf(1, payload))
    await at.restart(async () => {
      const block = await sealedBlock(join(at.dir, 'log'), 'bits', 1, 1)
      await flipInFile(join(at.dir, 'log', 'data.mdb'), block, place(block))
    })
  }

  const places: Record<string, (block: Buffer) => number> = {
    'cipher text': (block) => block.length - 20,
    tag: (block) => block.length - 1,
    magic: () => 0,
    version: () => 3,
    suite: () => 4,
    'wrapped key': (block) => 6 + (block[5] ?? 0) + 2 + 20,
    'topic id': (block) => dataAt(block) - 12 - 8 - 10,
    commitment: (block) => dataAt(block) - 12 - 8 - 16 - 3,
    count: (block) => dataAt(block) - 12 - 8 + 1,
    nonce: (block) => dataAt(block) - 3,
  }
  for (const [name, place] of Object.entries(places)) {
    it(`Given a bit of the ${name}, then BLOCK_DAMAGED says where, its cursor goes on behind it, and the rest is served`, async () => {
      await damaged(place)
      const reader = await at.reader('bits')
      const first = await drained(reader.call('read', { n: 1 }))
      const got = [...first.payloads]
      let { error } = first
      if (error === undefined) {
        await reader.call('ack', { n: 1 })
        error = await refused(reader.call('read', { n: 2 }), 'BLOCK_DAMAGED')
        // The same again: nothing moves by itself, and the session lives.
        const again = await refused(reader.call('read', { n: 2 }), 'BLOCK_DAMAGED')
        expect(again.details).toEqual(error.details)
        await refused(reader.call('read', { n: 1 }), 'SEQUENCE_MISMATCH')
      }
      expect(error.name).toBe('BLOCK_DAMAGED')
      expect(error.details['at']).toBe('1:1')
      expect(error.retryable).toBe(false)
      if (error.cursor === undefined) throw new Error('no cursor')
      const on = await at.reader('bits', { cursor: error.cursor })
      got.push(...payloadsOf(await on.call('read', { n: 1 })))
      expect(got.sort()).toEqual(['p0', 'p2', ...sound])
      await reader.call('dispose', {}, 1)
      await on.call('dispose', {}, 1)
      expect(await at.openSessions()).toBe(0)
      expect(await at.metric('trunkline_errors_total', { name: 'INTERNAL' })).toBe(0)
    })
  }

  it('Given a bit of the key id, then KEY_UNAVAILABLE with a cursor: it cannot be told from a key that is away', async () => {
    await damaged(() => 8)
    const reader = await at.reader('bits')
    const first = await drained(reader.call('read', { n: 1 }))
    if (first.error === undefined) await reader.call('ack', { n: 1 })
    const error = first.error ?? (await refused(reader.call('read', { n: 2 })))
    expect(error.name).toBe('KEY_UNAVAILABLE')
    const on = await at.reader('bits', { cursor: error.cursor ?? new Uint8Array() })
    expect([...first.payloads, ...payloadsOf(await on.call('read', { n: 1 }))].sort()).toEqual(['p0', 'p2', ...sound])
  })

  it('Given onDamaged skip, then the SDK goes behind it and counts it; given throw, then it throws and a later pull meets it again', async () => {
    await damaged((block) => block.length - 20)
    await using sdk = connect(at.gateway.thriftUrl, { token: at.bearer })
    const skipping = sdk.reader('bits', { from: 'earliest', onDamaged: 'skip', waitMs: 20, batch: { maxEvents: 2 } })
    const got: string[] = []
    for await (const batch of skipping) {
      got.push(...batch.events.map((event) => event.text()))
      await batch.ack()
      if (got.length >= 6) break
    }
    expect(got.sort()).toEqual(['p0', 'p2', ...sound])
    expect(skipping.skippedCount).toBe(1)
    const strict = sdk.reader('bits', { from: 'earliest', waitMs: 20 })
    const pulled: string[] = []
    let thrown: unknown
    try {
      for await (const batch of strict) {
        pulled.push(...batch.events.map((event) => event.text()))
        await batch.ack()
      }
    } catch (error) {
      thrown = error
    }
    expect(isErrorNamed(thrown, 'BLOCK_DAMAGED')).toBe(true)
    expect(pulled).not.toContain('p1')
  })

  it('Given blocks that changed places, then neither opens', async () => {
    await at.publish('swapped', blockOf(0, 'x0'))
    await at.publish('swapped', blockOf(0, 'x1'))
    await at.restart(async () => {
      const log = join(at.dir, 'log')
      const [first, second] = [await sealedBlock(log, 'swapped', 0, 0), await sealedBlock(log, 'swapped', 0, 1)]
      expect(first.length).toBe(second.length)
      const path = join(log, 'data.mdb')
      const file = await readFile(path)
      const [a, b] = [placesOf(file, first), placesOf(file, second)]
      for (const place of a) second.copy(file, place)
      for (const place of b) first.copy(file, place)
      await writeFile(path, file)
    })
    const reader = await at.reader('swapped')
    const error = await refused(reader.call('read', { n: 1 }), 'BLOCK_DAMAGED')
    expect(error.details['at']).toBe('0:0')
    const on = await at.reader('swapped', { cursor: error.cursor ?? new Uint8Array() })
    expect((await refused(on.call('read', { n: 1 }), 'BLOCK_DAMAGED')).details['at']).toBe('0:1')
    await at.publish('swapped', blockOf(0, 'x2'))
  })

  it('Given a copy of the folder, then it serves the very same events: nothing depends on the place', async () => {
    await at.publish('copied', blockOf(0, 'a'))
    const copy = await mkdtemp(join(tmpdir(), 'trunkline-'))
    await at.restart(() => cp(at.dir, copy, { recursive: true, filter: (source) => !source.includes('lock.sock') }))
    const gateway = await startGateway({ dataDir: copy, httpPort: 0, thriftPort: 0, adminPort: 0, logger: nullLogger })
    await using sdk = connect(gateway.thriftUrl, {
      clientId: gateway.clientId,
      clientSecret: gateway.clientSecret,
      tokenUrl: `${gateway.httpUrl}/oauth/token`,
    })
    for await (const batch of sdk.reader('copied', { from: 'earliest' })) {
      expect(batch.events.map((event) => event.text())).toEqual(['a'])
      break
    }
    await sdk.close()
    await gateway.close()
    await rm(copy, { recursive: true })
  })
})

/** A read that answers a batch, or the damage. */
async function drained(
  read: Promise<Parameters<typeof payloadsOf>[0]>,
): Promise<{ payloads: string[]; error: Awaited<ReturnType<typeof refused>> | undefined }> {
  try {
    return { payloads: payloadsOf(await read), error: undefined }
  } catch (error) {
    if (!isErrorNamed(error, 'BLOCK_DAMAGED', 'KEY_UNAVAILABLE')) throw error
    return { payloads: [], error }
  }
}

async function sealedBlock(logDir: string, topic: string, partition: number, offset: number): Promise<Buffer> {
  const broker = await openLmdbBroker({ dir: logDir, clock: systemClock, random: systemRandom })
  const [answer] = await broker.fetch([{ topic: parseTopicName(topic), partition, offset }], {
    lane: 'catchup',
    waitMs: 0,
    bytesMax: 1,
  })
  const record = answer?.records.find((one) => one.offset === offset)
  if (record === undefined) throw new Error('no such record')
  const block = Buffer.from(record.value)
  await broker.close()
  return block
}

/** Where the cipher text begins (docs/formats.md "Sealed block"). */
function dataAt(block: Buffer): number {
  const wrappedAt = 6 + (block[5] ?? 0) + 2
  return wrappedAt + block.readUInt16BE(wrappedAt - 2) + 16 + 16 + 8 + 12
}

/** Every copy: LMDB leaves old pages behind. */
function placesOf(file: Buffer, block: Buffer): number[] {
  const places: number[] = []
  for (let place = file.indexOf(block); place >= 0; place = file.indexOf(block, place + 1)) places.push(place)
  expect(places.length).toBeGreaterThan(0)
  return places
}

async function flipInFile(path: string, block: Buffer, place: number): Promise<void> {
  const file = await readFile(path)
  for (const start of placesOf(file, block)) file[start + place] = (file[start + place] ?? 0) ^ 1
  await writeFile(path, file)
}

/** By path below the folder: what is in each file; sockets have no content. */
async function hashes(dir: string, except: readonly string[] = []): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    const below = path.slice(dir.length + 1)
    if (!entry.isFile() || except.some((name) => below.startsWith(name)) || below.endsWith('lock.mdb')) continue
    found[below] = createHash('sha256')
      .update(await readFile(path))
      .digest('hex')
  }
  return found
}

// Owns: opening and opening again: what a folder keeps, who may use it, folders that are not ours to touch.
import { existsSync, linkSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { open as openLmdb } from 'lmdb'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { lockDataDir } from '../../../src/adapters/embedded/data-dir-lock.ts'
import { metaKeys } from '../../../src/adapters/embedded/layout.ts'
import { systemRandom } from '../../../src/adapters/random/system-random.ts'
import { startAppending } from './crashing.ts'
import { at, openReal, openWriter, put, readTexts, tempDir, topic } from './temp-dir.ts'

describe('a data folder', () => {
  let dir: string
  let remove: () => void

  beforeEach(() => {
    const temp = tempDir()
    dir = join(temp.dir, 'data')
    remove = temp.remove
  })
  afterEach(() => remove())

  it('Given a closed log, when it is opened again, then topics, records, numbers and the cluster id are the same', async () => {
    const log = await openReal(dir)
    const made = await log.createTopic({ name: topic, partitions: 2, format: 'sealed', retentionMs: 3_600_000 })
    const writer = await openWriter(log)
    await put(writer, 'a')
    await put(writer, 'b')
    const clusterId = await log.clusterId()
    await log.close()

    const again = await openReal(dir)
    expect(await again.clusterId()).toBe(clusterId)
    expect(await again.topics()).toEqual([made])
    expect(await readTexts(again)).toEqual(['a', 'b'])
    await expect(again.open(writer.identity)).rejects.toThrow('used before')
    const next = await openWriter(again)
    expect(next.pid).toBeGreaterThan(writer.pid)
    expect(await put(next, 'c')).toMatchObject({ kind: 'landed', baseOffset: 2 })
    expect(await again.fence(writer, [at])).toEqual([{ at, barrierOffset: 3 }])
    await again.close()
  })

  it('Given a new folder, then it is for its owner alone', async () => {
    const log = await openReal(dir)
    expect(statSync(dir).mode & 0o777).toBe(0o700)
    await log.close()
  })

  it('Given a folder whose name has a dot, then it is a folder all the same', async () => {
    const log = await openReal(`${dir}.d`)
    expect(existsSync(join(`${dir}.d`, 'data.mdb'))).toBe(true)
    await log.close()
  })

  it('Given an open log, when it is opened a second time, then DATA_DIR_IN_USE, and the first goes on', async () => {
    const log = await openReal(dir)
    await expect(openReal(dir)).rejects.toMatchObject({ name: 'DATA_DIR_IN_USE' })
    await log.createTopic({ name: topic, partitions: 1, format: 'sealed' })
    await log.close()
    await (await openReal(dir)).close()
    expect(readdirSync(dir).filter((name) => name.includes('sock'))).toEqual([])
  })

  it('Given another live process on the folder, then DATA_DIR_IN_USE; when it was killed, then it opens', async () => {
    const appending = startAppending(dir, 0)
    await appending.opened
    await expect(openReal(dir)).rejects.toMatchObject({ name: 'DATA_DIR_IN_USE' })
    appending.child.kill('SIGKILL')
    await appending.ended
    await (await openReal(dir)).close()
  })

  it('Given a path longer than a socket address, then it is locked all the same', async () => {
    const long = join(dir, 'x'.repeat(120), 'y'.repeat(120))
    const log = await openReal(long)
    await expect(openReal(long)).rejects.toMatchObject({ name: 'DATA_DIR_IN_USE' })
    await log.close()
    await (await openReal(long)).close()
  })

  it('Given leftover sockets and many who want the folder at once, then exactly one gets it', async () => {
    mkdirSync(dir, { recursive: true })
    for (let round = 0; round < 20; round++) {
      await leaveSocket(join(dir, `lock-${String(round).padStart(12, '0')}.sock`))
      const locks = await Promise.allSettled(
        Array.from({ length: 8 }, () => lockDataDir(dir, systemClock, systemRandom)),
      )
      expect(locks.filter((lock) => lock.status === 'fulfilled')).toHaveLength(1)
      for (const lock of locks) {
        if (lock.status === 'rejected') expect(lock.reason).toMatchObject({ name: 'DATA_DIR_IN_USE' })
        else await lock.value.release()
      }
      expect(readdirSync(dir)).toEqual([])
    }
  })

  it('Given another starter with a lower name, then this one gives way; with a higher one, it waits and goes on', async () => {
    mkdirSync(dir, { recursive: true })
    const lower = await standAs('starting', join(dir, 'lock-000000000000.sock'))
    let asked = 0
    lower.on('connection', () => {
      asked += 1
    })
    await expect(lockDataDir(dir, systemClock, systemRandom)).rejects.toMatchObject({ name: 'DATA_DIR_IN_USE' })
    expect(asked).toBe(1)
    await new Promise((resolve) => lower.close(resolve))

    const higher = await standAs('starting', join(dir, 'lock-ffffffffffff.sock'))
    const locking = lockDataDir(dir, systemClock, systemRandom)
    // It has asked once before the other one gives way.
    await new Promise((resolve) => higher.once('connection', resolve))
    await new Promise((resolve) => higher.close(resolve))
    await (await locking).release()
  })

  it('Given an owner with any name, then it is in use', async () => {
    mkdirSync(dir, { recursive: true })
    for (const name of ['lock-000000000000.sock', 'lock-ffffffffffff.sock']) {
      const owner = await standAs('owner', join(dir, name))
      await expect(lockDataDir(dir, systemClock, systemRandom)).rejects.toMatchObject({ name: 'DATA_DIR_IN_USE' })
      await new Promise((resolve) => owner.close(resolve))
    }
  })

  it('Given a released lock, then releasing again does nothing to its successor', async () => {
    mkdirSync(dir, { recursive: true })
    const first = await lockDataDir(dir, systemClock, systemRandom)
    await first.release()
    const second = await lockDataDir(dir, systemClock, systemRandom)
    await first.release()
    await expect(lockDataDir(dir, systemClock, systemRandom)).rejects.toMatchObject({ name: 'DATA_DIR_IN_USE' })
    await second.release()
  })

  it('Given a folder of a newer format, then it says so and is not touched', async () => {
    await (await openReal(dir)).close()
    const root = openLmdb({ path: dir, encoding: 'binary', keyEncoding: 'binary', maxDbs: 16, overlappingSync: false })
    await root.openDB('meta', { encoding: 'binary', keyEncoding: 'binary' }).put(metaKeys.format, Buffer.from('2'))
    await root.close()
    await expect(openReal(dir)).rejects.toMatchObject({
      name: 'DATA_DIR_DAMAGED',
      details: { reason: 'newer-format', found: '2', known: '1' },
    })
    // It gave the folder up again.
    await expect(openReal(dir)).rejects.toMatchObject({ name: 'DATA_DIR_DAMAGED' })
  })

  it('Given a file that is no LMDB file, then DATA_DIR_DAMAGED', async () => {
    mkdirSync(dir, { recursive: true })
    for (const bytes of [Buffer.alloc(8192, 'x'), Buffer.alloc(8192), Buffer.from('short')]) {
      writeFileSync(join(dir, 'data.mdb'), bytes)
      await expect(openReal(dir)).rejects.toMatchObject({ name: 'DATA_DIR_DAMAGED', details: { reason: 'not-a-log' } })
    }
    writeFileSync(join(dir, 'data.mdb'), '')
    await (await openReal(dir)).close()
  })

  it('Given a deletion that a crash cut off, when the folder is opened, then it is finished', async () => {
    const log = await openReal(dir)
    await log.createTopic({ name: topic, partitions: 1, format: 'sealed' })
    const writer = await openWriter(log)
    for (let n = 0; n < 5; n++) await put(writer, 'x', 1_000)
    await log.close()
    const binary = { encoding: 'binary', keyEncoding: 'binary' } as const
    const root = openLmdb({ path: dir, ...binary, maxDbs: 16, overlappingSync: false })
    await root.openDB('topics', binary).remove(Buffer.from(topic))
    await root.openDB('gone', binary).put(Buffer.from([0, 0, 0, 1]), Buffer.alloc(1))
    await root.close()
    await (await openReal(dir)).close()
    const look = openLmdb({ path: dir, ...binary, maxDbs: 16, overlappingSync: false })
    for (const table of ['records', 'gone', 'producers', 'partitions']) {
      expect([...look.openDB(table, binary).getKeys({})]).toEqual([])
    }
    await look.close()
  })
})

/** A socket file that nobody listens on, as a killed process leaves it. */
async function leaveSocket(path: string): Promise<void> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(`${path}.made`, resolve))
  linkSync(`${path}.made`, path)
  await new Promise((resolve) => server.close(resolve))
}

/** What another process's lock answers. */
async function standAs(standing: string, path: string): Promise<Server> {
  const server = createServer((socket) => socket.end(standing))
  await new Promise<void>((resolve) => server.listen(path, resolve))
  return server
}

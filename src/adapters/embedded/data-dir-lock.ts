// Owns: that one live process uses a data folder. Node has no flock; a unix socket that listens in the folder is as good:
// it dies with its process.
// 1. A socket that takes a connection belongs to a live process: DATA_DIR_IN_USE. One that refuses is a leftover of a
//    killed process and is replaced.
// 2. Our socket gets its name by link(), which fails when the name is taken: of two starters one wins.
import { createHash } from 'node:crypto'
import { closeSync, linkSync, openSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Random } from '../../ports/random.ts'
import { TrunklineError } from '../../protocol/errors.ts'

export interface DataDirLock {
  release(): Promise<void>
}

const lockName = 'lock.sock'
/** sun_path holds 107 bytes and a zero (103 on some systems). */
const socketPathMax = 100
const triesMax = 5

/** `dir` exists. Errors: DATA_DIR_IN_USE. */
export async function lockDataDir(dir: string, random: Random): Promise<DataDirLock> {
  const folder = shortPathOf(dir)
  const own = folder.path(`${lockName}.${Buffer.from(random.bytes(6)).toString('hex')}`)
  const lock = folder.path(lockName)
  const server = await listen(own)
  try {
    for (let attempt = 0; attempt < triesMax; attempt++) {
      if (tryLink(own, lock)) {
        return { release: () => release(server, lock, own, folder.close) }
      }
      if (await isAlive(lock)) break
      await removeStale(lock, `${own}.old`)
    }
    throw new TrunklineError('DATA_DIR_IN_USE')
  } catch (error) {
    await release(server, undefined, own, folder.close)
    throw error
  }
}

function tryLink(own: string, lock: string): boolean {
  try {
    linkSync(own, lock)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

/** Takes the leftover aside first: if another starter was faster, what we took is alive and goes back. */
async function removeStale(lock: string, aside: string): Promise<void> {
  try {
    renameSync(lock, aside)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    throw error
  }
  if (await isAlive(aside)) tryLink(aside, lock)
  rmSync(aside, { force: true })
}

function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error) => {
      const code = codeOf(error)
      if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(false)
      // A live process whose queue is full, or one of another user: not ours to take.
      else if (code === 'EAGAIN' || code === 'EACCES') resolve(true)
      else reject(error)
    })
  })
}

function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', reject)
    server.listen(path, () => {
      server.removeListener('error', reject)
      // The lock alone never keeps a process alive.
      server.unref()
      resolve(server)
    })
  })
}

async function release(server: Server, lock: string | undefined, own: string, close: () => void): Promise<void> {
  if (lock !== undefined) rmSync(lock, { force: true })
  await new Promise<void>((resolve) => {
    server.close(() => resolve())
  })
  rmSync(own, { force: true })
  close()
}

interface ShortPath {
  path(name: string): string
  close(): void
}

/** Paths in the folder that fit a socket address, however long the folder's own path is. */
function shortPathOf(dir: string): ShortPath {
  const real = realpathSync(dir)
  if (Buffer.byteLength(join(real, lockName)) + 20 <= socketPathMax) {
    return { path: (name) => join(real, name), close: () => {} }
  }
  if (process.platform === 'linux') {
    const fd = openSync(real, 'r')
    return { path: (name) => `/proc/self/fd/${fd}/${name}`, close: () => closeSync(fd) }
  }
  const { dev, ino } = statSync(real)
  const id = createHash('sha256').update(`${real}\n${dev}\n${ino}`).digest('hex').slice(0, 16)
  return { path: (name) => join(tmpdir(), `trunkline-${id}-${name}`), close: () => {} }
}

function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

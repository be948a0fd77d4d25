// Owns: that one live process uses a data folder. Node has no flock; a unix socket that listens in the folder is as good:
// it dies with its process.
// 1. Every starter has a socket of its own name in the folder, `lock-<id>.sock`, which listens before it gets that name.
//    One that refuses connections belongs to a killed process and is removed.
// 2. A starter owns the folder when it has seen no other live socket after its own stood there: of two, at least one sees
//    the other, so there are never two owners.
// 3. Asked, a socket says whether it owns the folder. Of starters that see each other, the lowest name goes on.
import { createHash } from 'node:crypto'
import { closeSync, openSync, readdirSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Clock, sleep } from '../../ports/clock.ts'
import type { Random } from '../../ports/random.ts'
import { TrunklineError } from '../../protocol/errors.ts'

export interface DataDirLock {
  /** Gives up the folder. Idempotent. */
  release(): Promise<void>
}

type Standing = 'owner' | 'starting'

const namePattern = /^lock-[0-9a-f]{12}\.sock$/
/** sun_path holds 107 bytes and a zero (103 on some systems). */
const socketPathMax = 100
const roundMs = 5
/** One second in all: starters with lower names settle it among themselves within a few rounds. */
const roundsMax = 200

/** `dir` exists. Errors: DATA_DIR_IN_USE. */
export async function lockDataDir(dir: string, clock: Clock, random: Random): Promise<DataDirLock> {
  const folder = socketFolderOf(dir)
  const id = Buffer.from(random.bytes(6)).toString('hex')
  const own = `lock-${id}.sock`
  let standing: Standing = 'starting'
  let server: Server | undefined
  let released: Promise<void> | undefined
  const release = (): Promise<void> => {
    released ??= giveUp(server, folder, own)
    return released
  }
  try {
    server = await listen(folder.path(`new-${id}.sock`), () => standing)
    renameSync(folder.path(`new-${id}.sock`), folder.path(own))
    for (let round = 0; round < roundsMax; round++) {
      const others = await standingsOfOthers(folder, own)
      if (others.size === 0) {
        standing = 'owner'
        return { release }
      }
      // Invariant 3. A starter with a higher name gives way; until it has, this one waits.
      if ([...others].some(([name, other]) => other === 'owner' || name < own)) break
      await sleep(clock, roundMs)
    }
    throw new TrunklineError('DATA_DIR_IN_USE')
  } catch (error) {
    await release()
    throw error
  }
}

async function standingsOfOthers(folder: SocketFolder, own: string): Promise<ReadonlyMap<string, Standing>> {
  const standings = new Map<string, Standing>()
  for (const name of folder.list()) {
    if (name === own) continue
    const standing = await ask(folder.path(name))
    // The name is never used again: nothing that lives can be removed here.
    if (standing === undefined) rmSync(folder.path(name), { force: true })
    else standings.set(name, standing)
  }
  return standings
}

/** Undefined: nobody listens there. */
function ask(path: string): Promise<Standing | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    let text = ''
    socket.setEncoding('utf8')
    socket.on('data', (chunk: string) => {
      text += chunk
    })
    // A stopped process takes the connection and says nothing; it owns what it owned.
    socket.once('connect', () => socket.setTimeout(1_000, () => socket.destroy()))
    socket.once('close', (failed) => {
      if (!failed) resolve(text === 'starting' ? 'starting' : 'owner')
    })
    socket.once('error', (error) => {
      const code = codeOf(error)
      if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(undefined)
      // A live process whose queue is full, one that ends just now, or one of another user: not ours to take.
      else if (code === 'EAGAIN' || code === 'EACCES' || code === 'ECONNRESET' || code === 'EPIPE') resolve('owner')
      else reject(error)
    })
  })
}

function listen(path: string, standing: () => Standing): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      // Who asks may be gone before it is answered.
      socket.on('error', () => socket.destroy())
      socket.end(standing())
    })
    server.once('error', reject)
    server.listen(path, () => {
      server.removeListener('error', reject)
      // The lock alone never keeps a process alive.
      server.unref()
      resolve(server)
    })
  })
}

async function giveUp(server: Server | undefined, folder: SocketFolder, own: string): Promise<void> {
  rmSync(folder.path(own), { force: true })
  if (server !== undefined) {
    await new Promise<void>((resolve) => {
      server.close(() => resolve())
    })
  }
  folder.close()
}

interface SocketFolder {
  path(name: string): string
  /** Names of the sockets of invariant 1. */
  list(): readonly string[]
  close(): void
}

/** Where the sockets lie, under paths that fit a socket address however long the folder's own path is. */
function socketFolderOf(dir: string): SocketFolder {
  const real = realpathSync(dir)
  const list = (): readonly string[] => readdirSync(real).filter((name) => namePattern.test(name))
  const longestName = 'lock-000000000000.sock'
  if (Buffer.byteLength(join(real, longestName)) <= socketPathMax) {
    return { path: (name) => join(real, name), list, close: () => {} }
  }
  if (process.platform === 'linux') {
    const fd = openSync(real, 'r')
    return { path: (name) => `/proc/self/fd/${fd}/${name}`, list, close: () => closeSync(fd) }
  }
  const { dev, ino } = statSync(real)
  const prefix = `tl-${createHash('sha256').update(`${real}\n${dev}\n${ino}`).digest('hex').slice(0, 12)}-`
  return {
    path: (name) => join(tmpdir(), `${prefix}${name}`),
    list: () =>
      readdirSync(tmpdir())
        .filter((name) => name.startsWith(prefix))
        .map((name) => name.slice(prefix.length))
        .filter((name) => namePattern.test(name)),
    close: () => {},
  }
}

function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

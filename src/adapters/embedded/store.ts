// Owns: the LMDB environment, its tables, and the one way to write them: the commit queue.
// 1. One write transaction at a time takes every job that waits by then (group commit).
// 2. A job is answered only when its transaction is on the disk (`#durable`), never when LMDB has merely accepted it.
// 3. A job throws TrunklineError before it writes anything, or not at all; any other throw undoes the whole group.
// Leaves out: what the jobs do.
import { statfsSync } from 'node:fs'
import { type Database, open, type RootDatabase, type Transaction } from 'lmdb'
import { TrunklineError } from '../../protocol/errors.ts'
import { DamagedRow } from './layout.ts'

/** Keys are bytes: with binary keys LMDB takes all strings for one and the same. */
export type Table = Database<Buffer, Buffer>

/** Sees one state; whoever began it ends it. */
export type ReadTransaction = Transaction

export interface Tables {
  readonly meta: Table
  readonly topics: Table
  readonly gone: Table
  readonly identities: Table
  readonly partitions: Table
  readonly producers: Table
  readonly records: Table
}

/** A commit that failed. Whether it reached the disk is known only to who looks. */
export class CommitFailed extends Error {
  readonly full: boolean

  constructor(full: boolean, cause: unknown) {
    super('a commit of the embedded log failed', { cause })
    this.full = full
  }
}

interface Job {
  readonly bytes: number
  /** Runs inside the write transaction; answers what to do once that is durable. */
  readonly run: () => () => void
  readonly fail: (error: unknown) => void
}

/** Per transaction: bounds the pages that one commit holds in memory. */
const groupBytesMax = 16 * 1024 * 1024
/** Of all waiting jobs; above it a job is not taken. */
const waitingBytesMax = 256 * 1024 * 1024

const errnoFull = new Set([28 /* ENOSPC */, 122 /* EDQUOT */])
/** LMDB's answer to a write that stopped half-way, as the last one before a full disk does. */
const errnoShortWrite = 5 /* EIO */
/** Below this, a failed write is taken for the lack of space. */
const freeBytesMin = 4 * 1024 * 1024

export class Store {
  readonly tables: Tables
  readonly #root: RootDatabase<Buffer, Buffer>
  readonly #dir: string
  readonly #waiting: Job[] = []
  #waitingBytes = 0
  #working: Promise<void> | undefined
  #closed = false

  constructor(dir: string, options: { readonly readOnly?: boolean } = {}) {
    this.#dir = dir
    const readOnly = options.readOnly ?? false
    const shared = { encoding: 'binary', keyEncoding: 'binary', cache: false } as const
    this.#root = open<Buffer, Buffer>({
      path: dir,
      // A folder, also when its name has a dot: LMDB would take that for a file.
      noSubdir: false,
      ...shared,
      readOnly,
      maxDbs: 16,
      // Commits are flushed before they are visible: a reader can never see what a power cut takes back, and a failed
      // flush undoes its transaction. Overlapping flushes would be faster by little and promise neither.
      overlappingSync: false,
      noSync: false,
      // One transaction holds a whole group already; LMDB's own batching makes a promise that nobody can handle.
      eventTurnBatching: false,
    })
    const table = (name: string): Table => {
      const opened: Table | undefined = this.#root.openDB<Buffer, Buffer>(name, shared)
      // A folder that is only read is not completed.
      if (opened === undefined) throw new DamagedRow(name)
      return opened
    }
    this.tables = {
      meta: table('meta'),
      topics: table('topics'),
      gone: table('gone'),
      identities: table('identities'),
      partitions: table('partitions'),
      producers: table('producers'),
      records: table('records'),
    }
  }

  /**
   * Runs `job` in the next write transaction and resolves with its result when that is durable. `job` may return
   * `undefined` as any other value; `onDurable` runs before anybody hears of it. Rejects with what the job threw
   * (TrunklineError), or CommitFailed; TOO_MANY_REQUESTS when too much is waiting.
   */
  commit<T>(bytes: number, job: () => T, onDurable: (result: T) => void = () => {}): Promise<T> {
    if (this.#closed) return Promise.reject(new TrunklineError('UNAVAILABLE', { details: { log: 'closed' } }))
    if (this.#waitingBytes + bytes > waitingBytesMax) return Promise.reject(new TrunklineError('TOO_MANY_REQUESTS'))
    return new Promise<T>((resolve, reject) => {
      this.#waitingBytes += bytes
      this.#waiting.push({
        bytes,
        run: () => {
          try {
            const result = job()
            return () => {
              onDurable(result)
              resolve(result)
            }
          } catch (error) {
            if (!(error instanceof TrunklineError)) throw error
            return () => reject(error)
          }
        },
        fail: reject,
      })
      this.#working ??= this.#work()
    })
  }

  /** Settles when nothing is waiting or being written. */
  async idle(): Promise<void> {
    await this.#working
  }

  /** Reads see the newest durable state from here on. */
  refresh(): void {
    this.#root.resetReadTxn()
  }

  /** Waits for what was committed before; nothing is taken after. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#working
    await this.#root.close()
  }

  async #work(): Promise<void> {
    // Whatever else this turn of the event loop brings goes into the same transaction.
    await Promise.resolve()
    while (this.#waiting.length > 0) await this.#commitGroup()
    this.#working = undefined
  }

  async #commitGroup(): Promise<void> {
    let group: readonly Job[] = []
    let settle: readonly (() => void)[] = []
    try {
      await this.#root.childTransaction(() => {
        group = this.#takeGroup()
        settle = group.map((job) => job.run())
      })
      await this.#durable()
    } catch (error) {
      const failed = await this.#failureOf(error)
      // A transaction that never began holds nobody's jobs: the waiting ones fail with it, or they would wait for ever.
      for (const job of group.length > 0 ? group : this.#takeGroup()) job.fail(failed)
      return
    }
    for (const answer of settle) answer()
  }

  /** Resolves when everything committed so far survives a power cut. */
  async #durable(): Promise<void> {
    await this.#root.flushed
  }

  async #failureOf(error: unknown): Promise<CommitFailed> {
    const cause = await causeOf(error)
    const code = typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined
    if (typeof code !== 'number') return new CommitFailed(false, cause)
    return new CommitFailed(errnoFull.has(code) || (code === errnoShortWrite && this.#littleSpace()), cause)
  }

  #littleSpace(): boolean {
    try {
      const { bavail, bsize } = statfsSync(this.#dir)
      return bavail * bsize < freeBytesMin
    } catch {
      // A file system that cannot even be asked has another problem than space.
      return false
    }
  }

  #takeGroup(): readonly Job[] {
    let bytes = 0
    let count = 0
    for (const job of this.#waiting) {
      if (count > 0 && bytes + job.bytes > groupBytesMax) break
      bytes += job.bytes
      count++
    }
    this.#waitingBytes -= bytes
    return this.#waiting.splice(0, count)
  }
}

/** LMDB tells the reason in a second promise, which nobody else handles: left alone, it would end the process. */
async function causeOf(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error
  try {
    return await error.commitError
  } catch (reason) {
    return reason
  }
}

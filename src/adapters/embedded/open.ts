// Owns: opening a data folder: its lock, its format version, its cluster id, and the log on top.
// 1. A folder of a newer format is never touched.
// Leaves out: where the folder lies (config), looking at a damaged one (check.ts).
import { mkdirSync } from 'node:fs'
import type { Clock } from '../../ports/clock.ts'
import type { EventLog } from '../../ports/event-log.ts'
import type { Random } from '../../ports/random.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { FencedLog } from '../log-core/fenced-log.ts'
import type { LogCoreSettings } from '../log-core/settings.ts'
import { lockDataDir } from './data-dir-lock.ts'
import { dataFileState } from './data-file.ts'
import { formatVersion, metaKeys } from './layout.ts'
import { LmdbBroker } from './lmdb-broker.ts'
import { finishRemovals } from './retention.ts'
import { Store } from './store.ts'

export interface EmbeddedLogOptions {
  /** Made (0700) when it does not exist. */
  readonly dir: string
  readonly clock: Clock
  readonly random: Random
  /** How often retention is applied. Default 30 s. */
  readonly retentionSweepMs?: number
  /** Default 1,000. */
  readonly topicsMax?: number
  /** Overrides of defaultLogCoreSettings. */
  readonly settings?: Partial<LogCoreSettings>
  /** Hears of failures that no caller waits for (retention). For logs. */
  readonly onProblem?: (problem: unknown) => void
}

/**
 * The whole log for one process. The caller closes it; that gives up the folder.
 * Errors: DATA_DIR_IN_USE, DATA_DIR_DAMAGED (details.reason), STORAGE_FULL, STORAGE_FAILED.
 */
export async function openEmbeddedLog(options: EmbeddedLogOptions): Promise<EventLog> {
  const { clock, random, settings } = options
  const broker = await openLmdbBroker(options)
  return new FencedLog({ broker, clock, random, ...(settings === undefined ? {} : { settings }) })
}

/** The broker alone: for several FencedLogs over one folder (`closesBroker: false`). Errors: as openEmbeddedLog. */
export async function openLmdbBroker(options: EmbeddedLogOptions): Promise<LmdbBroker> {
  const { dir, clock, random, retentionSweepMs, topicsMax, onProblem } = options
  makeDir(dir)
  const lock = await lockDataDir(dir, clock, random)
  let store: Store | undefined
  try {
    store = openStore(dir)
    await prepare(store, random)
    return new LmdbBroker({
      store,
      clock,
      random,
      ...(retentionSweepMs === undefined ? {} : { retentionSweepMs }),
      ...(topicsMax === undefined ? {} : { topicsMax }),
      ...(onProblem === undefined ? {} : { onProblem }),
      onClosed: () => lock.release(),
    })
  } catch (error) {
    await store?.close()
    await lock.release()
    throw TrunklineError.from(error, 'STORAGE_FAILED')
  }
}

function makeDir(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new TrunklineError('STORAGE_FAILED', { details: { reason: 'cannot-make-folder' }, cause: error })
  }
}

function openStore(dir: string): Store {
  const state = dataFileState(dir, 'write')
  if (state === 'no-permission') throw new TrunklineError('STORAGE_FAILED', { details: { reason: state } })
  if (state === 'not-a-log') throw new TrunklineError('DATA_DIR_DAMAGED', { details: { reason: state } })
  try {
    return new Store(dir)
  } catch (error) {
    throw new TrunklineError('DATA_DIR_DAMAGED', { details: { reason: 'unreadable' }, cause: error })
  }
}

async function prepare(store: Store, random: Random): Promise<void> {
  const { meta } = store.tables
  const stored = meta.getBinary(metaKeys.format)
  if (stored === undefined) {
    const clusterId = Buffer.from(random.bytes(16)).toString('base64url')
    await store.commit(0, () => {
      meta.putSync(metaKeys.format, Buffer.from(JSON.stringify(formatVersion)))
      meta.putSync(metaKeys.clusterId, Buffer.from(JSON.stringify(clusterId)))
    })
    return
  }
  checkFormat(stored)
  await finishRemovals(store)
}

/** Errors: DATA_DIR_DAMAGED. */
export function checkFormat(stored: Buffer): void {
  const found = Number(stored.toString())
  if (found === formatVersion) return
  const reason = Number.isInteger(found) && found > formatVersion ? 'newer-format' : 'unknown-format'
  throw new TrunklineError('DATA_DIR_DAMAGED', {
    details: { reason, found: String(found), known: String(formatVersion) },
  })
}

// Owns: `trunkline keys rewrap`: every wrapped data key that a log holds, once, into the re-wrapped keys beside its keyring;
// and looking whether those are sound.
// 1. At most `distinctMax` keys are remembered, of KEKs that are not current; `pendingMax` wait. More is refused, and what was
//    found until then is added.
// 2. Each batch is one change under the keyring's lock, and the lock is left alone for `turnMs` behind it, so gateways and
//    other commands go on, and a run that is ended between two is repeated. `signal` is looked at there, never inside a change.
// Leaves out: walking a log (rewrap-walks.ts), what adding means (adapters/keyring/rewrap-edits.ts).
import type { Finding } from '../adapters/embedded/walk.ts'
import { lockRetryMs, readKeyFile } from '../adapters/keyring/key-files.ts'
import { parseKeyring, wipeKeyring } from '../adapters/keyring/keyring-content.ts'
import { KeyEditRefused, type KeySource } from '../adapters/keyring/keyring-edits.ts'
import { changeRewrapped, readRewrapped, rewrappedPathOf } from '../adapters/keyring/keyring-file.ts'
import { KeyringProvider } from '../adapters/keyring/keyring-provider.ts'
import { added, type LeftKeys, movedOn, type RewrapStep, type WrappedKey } from '../adapters/keyring/rewrap-edits.ts'
import { type RewrappedKeys, rewrappedMax } from '../adapters/keyring/rewrapped-keys.ts'
import { readSealedHeader } from '../crypto/block-opener.ts'
import { sleep } from '../ports/clock.ts'
import type { KeyProvider } from '../ports/key-provider.ts'
import { TrunklineError } from '../protocol/errors.ts'
import type { TopicId } from '../protocol/ids.ts'
import { tenantOfLogTopic } from '../protocol/tenant-topics.ts'

const pendingMax = 10_000
/** Whoever waits for the lock looks at it several times meanwhile. */
const turnMs = 4 * lockRetryMs

export interface RewrapReport {
  /** Distinct wrapped keys that the log holds, under KEKs that are not current. */
  readonly met: number
  readonly added: number
  readonly movedOn: number
  /** By KEK and why. */
  readonly left: ReadonlyMap<string, LeftKeys>
  /** Places that could not be read: keys there were not seen. */
  readonly unread: readonly Finding[]
  /** A signal came before the end. */
  readonly stopped: boolean
}

export interface RewrapOptions {
  readonly keyring: string
  readonly source: KeySource
  readonly signal: AbortSignal
  /** Around each change: whoever may end the process keeps it until then, since a change that is cut leaves its lock. */
  readonly hold: (change: () => Promise<RewrapStep>) => Promise<RewrapStep>
}

/** Gives every record's value to `found`, and calls `flush` wherever it can wait. Answers what it could not read. */
export type LogWalk = (found: FoundKeys, flush: () => Promise<void>, signal: AbortSignal) => Promise<readonly Finding[]>

export class FoundKeys {
  readonly #keys: Pick<KeyProvider, 'isCurrent'>
  readonly #distinctMax: number
  readonly #seen = new Set<string>()
  #pending: WrappedKey[] = []

  constructor(keys: Pick<KeyProvider, 'isCurrent'>, distinctMax = 4 * rewrappedMax) {
    this.#keys = keys
    this.#distinctMax = distinctMax
  }

  get met(): number {
    return this.#seen.size
  }

  get isMany(): boolean {
    return this.#pending.length >= pendingMax
  }

  /** What is no sealed block of this topic holds no key. Errors: KeyEditRefused (invariant 1). */
  add(topic: string, topicId: TopicId, value: Uint8Array): void {
    const header = headerOf(value)
    if (header?.topicId !== topicId) return
    const { kekId, wrapped } = header
    const tenant = tenantOfLogTopic(topic)
    if (this.#keys.isCurrent(kekId, { topicId, tenant })) return
    const name = `${kekId} ${topicId} ${Buffer.from(wrapped).toString('latin1')}`
    if (this.#seen.has(name)) return
    if (this.#seen.size >= this.#distinctMax)
      throw new KeyEditRefused(`the log holds more than ${this.#distinctMax} data keys under old KEKs`)
    this.#seen.add(name)
    this.#pending.push({ kekId, wrapped, topicId, tenant })
  }

  /** At most `pendingMax`. */
  take(): readonly WrappedKey[] {
    return this.#pending.splice(0, pendingMax)
  }
}

/** Errors: KEYRING_…, KeyEditRefused (too many), and those of the walk. */
export async function rewrapLog(
  walk: LogWalk,
  { keyring, source, signal, hold }: RewrapOptions,
): Promise<RewrapReport> {
  const left = new Map<string, LeftKeys>()
  const note = (step: RewrapStep): number => {
    for (const [why, { count, error }] of step.left)
      left.set(why, { count: (left.get(why)?.count ?? 0) + count, error })
    return step.done
  }
  let isFirst = true
  const changed = async (change: Change): Promise<RewrapStep> => {
    if (!isFirst) await sleep(source.clock, turnMs, signal)
    isFirst = false
    return await hold(() => changeWith(keyring, source, change))
  }
  let movedOnCount = 0
  for (let more = true; more && !signal.aborted; ) {
    const step = await changed(movedOn)
    more = step.more
    movedOnCount += more ? step.done : note(step)
  }
  const found = new FoundKeys(await currentKeks(keyring, source))
  let addedCount = 0
  const addPending = async (): Promise<boolean> => {
    const batch = found.take()
    if (batch.length === 0) return false
    const step = await changed((keys, rewrapped) => added(keys, rewrapped, batch))
    addedCount += note(step)
    if (step.more)
      throw new KeyEditRefused(`${rewrappedPathOf(keyring)} is full: ${rewrappedMax} keys, or too many topics`)
    return true
  }
  const flush = async (): Promise<void> => {
    if (found.isMany) await addPending()
  }
  const finish = async (): Promise<void> => {
    while (!signal.aborted && (await addPending()));
  }
  const walked = async (): Promise<readonly Finding[]> => {
    try {
      return await walk(found, flush, signal)
    } catch (thrown) {
      // A run that is repeated gets further than this one.
      await finish()
      throw thrown
    }
  }
  const unread = signal.aborted ? [] : await walked()
  await finish()
  return { met: found.met, added: addedCount, movedOn: movedOnCount, left, unread, stopped: signal.aborted }
}

export interface RewrappedReport {
  readonly revision: number
  readonly count: number
  /** KEK and error, of entries that open nothing now → how many. */
  readonly closed: ReadonlyMap<string, number>
}

/** Tries every entry. Undefined: there are none. Errors: KEYRING_…; KEYRING_UNREADABLE when an entry does not open. */
export async function checkRewrapped(keyring: string, { random }: KeySource): Promise<RewrappedReport | undefined> {
  const ring = parseKeyring(await readKeyFile(keyring))
  try {
    const rewrapped = await readRewrapped(keyring, () => ring)
    if (rewrapped.sealedBy === undefined) return undefined
    const keys = new KeyringProvider(keyring, ring, random, rewrapped)
    const closed = new Map<string, number>()
    for (const { now, from, topicId, tenant } of rewrapped.entries()) {
      const why =
        now === undefined
          ? `${from}: KEY_SHREDDED`
          : await keys.unwrap(now.kekId, now.wrapped, { topicId, tenant }).then(
              (key) => void key.fill(0),
              (thrown: unknown) => `${now.kekId}: ${TrunklineError.from(thrown).name}`,
            )
      if (why === undefined) continue
      if (why.endsWith('BLOCK_DAMAGED'))
        throw new TrunklineError('KEYRING_UNREADABLE', {
          details: { path: rewrappedPathOf(keyring), reason: 'an entry does not open' },
        })
      closed.set(why, (closed.get(why) ?? 0) + 1)
    }
    return { revision: rewrapped.revision, count: rewrapped.count, closed }
  } finally {
    wipeKeyring(ring)
  }
}

type Change = (keys: KeyringProvider, rewrapped: RewrappedKeys) => Promise<RewrapStep>

/** As they are now: a rotation meanwhile is for the next run. It holds no key. */
async function currentKeks(keyring: string, { random }: KeySource): Promise<Pick<KeyProvider, 'isCurrent'>> {
  const ring = parseKeyring(await readKeyFile(keyring))
  wipeKeyring(ring)
  return new KeyringProvider(keyring, ring, random)
}

/** The provider is of the ring as it is under the lock, and is gone behind it. */
function changeWith(keyring: string, source: KeySource, change: Change): Promise<RewrapStep> {
  return changeRewrapped(keyring, source, (ring, rewrapped) =>
    change(new KeyringProvider(keyring, ring, source.random), rewrapped),
  )
}

function headerOf(value: Uint8Array): ReturnType<typeof readSealedHeader> | undefined {
  try {
    return readSealedHeader(value)
  } catch {
    // A barrier, a stranger's record, or damage: a reader says which.
    return undefined
  }
}

// Owns: opening every sealed block that `trunkline check` walks over: a flipped bit inside one shows only there.
// Loaded into the process of adapters/embedded/check-child.ts, with `?keyring=<path in base64url>` in its own URL.
// 1. Keys are asked for asynchronously and blocks are judged synchronously: a first walk collects the wrapped data keys,
//    they are unwrapped while this module loads, and the judging finds them all in the cache.
// 2. Without a keyring only the frames are looked at; the same for blocks whose key was destroyed: that is no damage.
import { systemClock } from '../../adapters/clock/system-clock.ts'
import { type VerifyRecord, walkDataDir } from '../../adapters/embedded/walk.ts'
import { openKeyring } from '../../adapters/keyring/keyring-provider.ts'
import { systemRandom } from '../../adapters/random/system-random.ts'
import { BlockOpener, type OwnedPlace, readSealedHeader, type SealedHeader } from '../../crypto/block-opener.ts'
import type { Clock } from '../../ports/clock.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { decodeRecordHeader } from '../../protocol/record-header.ts'
import { defaultTenant, tenantOfLogTopic } from '../../protocol/tenant-topics.ts'

type Judged = Parameters<VerifyRecord>

/** Cached keys stay good for as long as the walk takes. */
const stillClock: Clock = {
  nowMs: () => 0,
  monotonicMs: () => 0,
  after: (delayMs, run) => systemClock.after(delayMs, run),
}

const opener = await preparedOpener(process.argv[2] ?? '', new URL(import.meta.url).searchParams.get('keyring'))

export const verifyRecord: VerifyRecord = (place, record) => {
  const sealed = readable(() => readSealedHeader(record.value))
  if (sealed === undefined) return 'it is no sealed block'
  if (sealed.topicId !== place.topicId) return 'it is a block of another topic'
  const blockPlace = placeOf(place, record)
  if (blockPlace === undefined) return 'its header does not say whose it is'
  return opener?.judge(blockPlace, record.value, sealed)
}

interface PreparedOpener {
  judge(place: OwnedPlace, value: Uint8Array, sealed: SealedHeader): string | undefined
}

async function preparedOpener(dir: string, keyring: string | null): Promise<PreparedOpener | undefined> {
  if (keyring === null) return undefined
  const keyringPath = Buffer.from(keyring, 'base64url').toString('utf8')
  const keys = await openKeyring(keyringPath, { create: false, clock: systemClock, random: systemRandom })
  const firstOfKey = await firstBlocks(dir)
  const blocks = new BlockOpener({
    keys,
    tenant: defaultTenant,
    clock: stillClock,
    dataKeysMax: Math.max(1, firstOfKey.size),
  })
  const without = new Map<string, string | undefined>()
  for (const [name, [place, record]] of firstOfKey) {
    const blockPlace = placeOf(place, record)
    if (blockPlace === undefined) continue
    // Whether this very block opens is judged later; here only its key counts.
    const why = await failureOf(() => blocks.open(blockPlace, record.value))
    if (why === 'KEY_UNAVAILABLE') without.set(name, 'its key is not in the keyring, or revoked')
    if (why === 'KEY_SHREDDED') without.set(name, undefined)
  }
  return {
    judge: (place, value, sealed) => {
      const name = nameOf(sealed)
      if (without.has(name)) return without.get(name)
      const opened = readable(() => blocks.open(place, value))
      if (opened === undefined) return 'the block is damaged: it does not open'
      if (!(opened instanceof Promise)) return undefined
      // Its key is not cached, because it could not be unwrapped: the part of the block that holds it is damaged.
      opened.catch(() => undefined)
      return 'the block is damaged: its key does not open'
    },
  }
}

/** The first record of every wrapped data key. */
async function firstBlocks(dir: string): Promise<ReadonlyMap<string, Judged>> {
  const first = new Map<string, Judged>()
  await walkDataDir(dir, {
    verifyRecord: (place, record) => {
      const sealed = readable(() => readSealedHeader(record.value))
      if (sealed === undefined) return undefined
      const name = nameOf(sealed)
      // The value may be LMDB's own memory, which is gone after the walk.
      if (!first.has(name))
        first.set(name, [place, { ...record, value: record.value.slice(), header: record.header?.slice() ?? null }])
      return undefined
    },
    // As the walk itself does: whoever waits sees that it goes on, and where it was.
    onProgress: (where) => process.send?.({ kind: 'progress', where }),
  })
  return first
}

function placeOf(...[place, record]: Judged): OwnedPlace | undefined {
  const header = record.header === null ? undefined : decodeRecordHeader(record.header)
  if (header?.kind !== 'data') return undefined
  const { topic, topicId, partition } = place
  return {
    topicId,
    tenant: tenantOfLogTopic(topic),
    partition,
    producerId: header.producerId,
    n: header.n,
    part: header.part,
  }
}

function nameOf({ kekId, wrapped, topicId }: SealedHeader): string {
  return `${kekId} ${topicId} ${Buffer.from(wrapped).toString('base64')}`
}

function readable<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (thrown) {
    if (thrown instanceof TrunklineError) return undefined
    throw thrown
  }
}

async function failureOf(work: () => unknown): Promise<string | undefined> {
  try {
    await work()
    return undefined
  } catch (thrown) {
    return TrunklineError.from(thrown).name
  }
}

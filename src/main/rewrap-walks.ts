// Owns: reading a whole log for `keys rewrap`: a data folder, under a gateway that may run, or Kafka.
// 1. Nothing is written to either. Kafka is read up to the end that it had at the start, one topic after the other.
// 2. What retention removes meanwhile is passed over; any other place that cannot be read ends the walk, or is told.
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { type Finding, findingsMax, walkDataDir } from '../adapters/embedded/walk.ts'
import type { LogReaderConfig } from '../config/roles.ts'
import { type Clock, sleep } from '../ports/clock.ts'
import type { EventLog, TopicInfo } from '../ports/event-log.ts'
import type { Random } from '../ports/random.ts'
import { TrunklineError } from '../protocol/errors.ts'
import { freshKafkaAccess } from './brokers.ts'
import type { FoundKeys, LogWalk } from './rewrap.ts'

const fetchBytesMax = 1024 * 1024
/** A log that answers nothing where it has something is away. */
const stillRoundsMax = 40
const stillPauseMs = 250

export function folderWalk(dataDir: string): LogWalk {
  return async (found, flush, signal) => {
    let refused: Error | undefined
    // The walk would call what is thrown here a damaged record.
    const noted = <T>(thrown: unknown, answer: T): T => {
      refused ??= thrown instanceof Error ? thrown : TrunklineError.from(thrown)
      return answer
    }
    const report = await walkDataDir(join(dataDir, 'log'), {
      verifyRecord: ({ topic, topicId }, { value }) => {
        try {
          found.add(topic, topicId, value)
        } catch (thrown) {
          noted(thrown, undefined)
        }
        return undefined
      },
      pause: async () => {
        // A look at LMDB waits for nothing: signals would only be seen behind it.
        await setImmediate()
        if (refused !== undefined || signal.aborted) return false
        return await flush().then(
          () => true,
          (thrown: unknown) => noted(thrown, false),
        )
      },
    })
    if (refused !== undefined) throw refused
    return report.findings
  }
}

export function logWalk(log: Pick<EventLog, 'topics' | 'offsets' | 'fetch'>, clock: Clock): LogWalk {
  return async (found, flush, signal) => {
    const unread: Finding[] = []
    for (const topic of await log.topics()) {
      if (signal.aborted) break
      if (topic.format === 'sealed') await walkTopic(log, topic, { found, flush, signal, clock, unread })
    }
    return unread
  }
}

interface Walk {
  readonly found: FoundKeys
  readonly flush: () => Promise<void>
  readonly signal: AbortSignal
  readonly clock: Clock
  readonly unread: Finding[]
}

async function walkTopic(
  log: Pick<EventLog, 'offsets' | 'fetch'>,
  { name, topicId, partitions }: TopicInfo,
  { found, flush, signal, clock, unread }: Walk,
): Promise<void> {
  const all = Array.from({ length: partitions }, (_, partition) => ({ topic: name, partition }))
  const [starts, ends] = await Promise.all([log.offsets(all, 'earliest'), log.offsets(all, 'latest')])
  let open = all.map((at, index) => ({ ...at, offset: starts[index] ?? 0, end: ends[index] ?? 0 }))
  let stillRounds = 0
  for (;;) {
    open = open.filter(({ offset, end }) => offset < end)
    if (open.length === 0 || signal.aborted) return
    const answers = await log.fetch(open, {
      lane: 'catchup',
      waitMs: 0,
      bytesMax: Math.ceil(fetchBytesMax / open.length),
      signal,
    })
    const before = open
    open = open.map((at, index) => {
      const answer = answers[index]
      if (answer === undefined) throw new Error('a fetch answers every position')
      if (answer.error === 'CURSOR_OUT_OF_RANGE' && answer.logStart > at.offset)
        return { ...at, offset: answer.logStart }
      if (answer.error !== undefined) throw new TrunklineError(answer.error, { details: { topic: name } })
      for (const { value, damaged, offset } of answer.records) {
        if (damaged !== true) found.add(name, topicId, value)
        else if (unread.length < findingsMax)
          unread.push({ where: `${name}/${at.partition}@${offset}`, what: 'the record is damaged' })
      }
      return { ...at, offset: answer.nextOffset }
    })
    await flush()
    stillRounds = open.every(({ offset }, index) => offset === before[index]?.offset) ? stillRounds + 1 : 0
    if (stillRounds >= stillRoundsMax) throw new TrunklineError('UNAVAILABLE', { details: { topic: name } })
    if (stillRounds > 0) await sleep(clock, stillPauseMs, signal)
  }
}

/** The caller closes it. Errors: BAD_CONFIG, and those of openKafkaLog. */
export async function openLogToRead(
  config: LogReaderConfig,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Promise<EventLog> {
  const { openKafkaLog } = await import('../adapters/kafka/open.ts')
  return await openKafkaLog({
    brokers: config.kafkaBrokers,
    access: freshKafkaAccess(config, clock, () => {}),
    clientId: 'trunkline-keys-rewrap',
    clock,
    random,
    topicDefaults: { replication: config.topicReplication, minInsyncReplicas: config.topicMinInsyncReplicas },
    unsafeTopics: config.unsafeTopics,
  })
}

// Owns: reading a topic to its end, and judging what came against what was published.
import type { ReceivedEvent, StartPosition, TrunklineClient } from '../../sdk/typescript/src/index.ts'
import type { Quake } from './quakes.ts'

export interface ReadResult {
  readonly events: readonly {
    readonly id: string
    readonly key: string
    readonly payload: string
    readonly timestampMs: number
    readonly position: string
  }[]
  readonly cursor: string
  readonly elapsedMs: number
}

export interface ReadUntil {
  readonly from: StartPosition
  /** Ends after the first batch that reaches so many events; default: at the end of the topic. */
  readonly events?: number
}

/** Reads, acks every batch, and disposes. */
export async function readTopic(client: TrunklineClient, topic: string, until: ReadUntil): Promise<ReadResult> {
  const startedMs = performance.now()
  const events: ReturnType<typeof kept>[] = []
  const reader = client.reader(topic, { from: until.from, waitMs: 500, batch: { maxEvents: 200 } })
  try {
    for (let batch = await reader.pull(); batch !== undefined; batch = await reader.pull()) {
      events.push(...batch.events.map(kept))
      await batch.ack()
      if (batch.atEnd || events.length >= (until.events ?? Number.POSITIVE_INFINITY)) break
    }
    const { cursor } = reader
    if (cursor === undefined) throw new Error('a reader that has read has a cursor')
    return { events, cursor, elapsedMs: performance.now() - startedMs }
  } finally {
    await reader.close()
  }
}

/** Without the batch's bytes. */
function kept(event: ReceivedEvent): ReadResult['events'][number] {
  const { timestampMs } = event
  return {
    id: event.id ?? '',
    key: event.keyText() ?? '',
    payload: event.text(),
    timestampMs,
    position: event.position.toString(),
  }
}

export interface Verdict {
  readonly out: number
  readonly lost: number
  readonly duplicates: number
  /** Events that come behind one of the same key that was published after them. */
  readonly outOfOrder: number
  /** Payload, key, time or position differ from what was published and acked. */
  readonly changed: number
}

/** @param expected what has to come, in the order of publishing; `positions[i]` was acked for quakes[i] of all. */
export function judge(
  read: ReadResult['events'],
  quakes: readonly Quake[],
  positions: readonly string[],
  expected: ReadonlySet<string>,
): Verdict {
  const indexById = new Map(quakes.map(({ id }, index) => [id, index]))
  const seen = new Set<string>()
  const lastOfKey = new Map<string, number>()
  let duplicates = 0
  let outOfOrder = 0
  let changed = 0
  for (const { id, key, payload, timestampMs, position } of read) {
    const index = indexById.get(id)
    const quake = index === undefined ? undefined : quakes[index]
    if (index === undefined || quake === undefined || !expected.has(id)) {
      // Nobody published it, or the cursor stood behind it.
      duplicates += 1
      continue
    }
    if (seen.has(id)) duplicates += 1
    seen.add(id)
    const { event, network } = quake
    if (
      payload !== event.payload ||
      key !== network ||
      timestampMs !== event.timestamp ||
      position !== positions[index]
    )
      changed += 1
    if (index < (lastOfKey.get(key) ?? -1)) outOfOrder += 1
    lastOfKey.set(key, Math.max(index, lastOfKey.get(key) ?? -1))
  }
  return { out: read.length, lost: expected.size - seen.size, duplicates, outOfOrder, changed }
}

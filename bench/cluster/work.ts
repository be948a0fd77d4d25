// Owns: the load of the cluster bench: publishing, reading, delivery, idle tails; each answers figures, none prints.
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Block, type Event, encoding, mode } from '../../src/protocol/messages.ts'
import { packWrite } from '../../src/protocol/partitioning.ts'
import { RawClient, RawSession } from '../../test/support/raw-client.ts'
import { percentile } from '../measure.ts'
import { LeanReader, LeanWriter } from './lean-client.ts'
import { type Cost, roles, type UnderTest } from './under-test.ts'

export interface Figures {
  readonly eventsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** CPU microseconds of each process, and of this one, for one event. */
  readonly micros: Cost
  readonly loadMicros: number
}

export interface PublishShape {
  readonly eventBytes: number
  readonly batch: number
  readonly sessions: number
}

const partitions = 8
const warmMs = 400

/** What the SDK makes of events without a key: a write is one block, and the next one goes to the next partition. */
export function blocksOf({ eventBytes, batch }: PublishShape): Block[] {
  return Array.from({ length: partitions }, (_, partition) => {
    const events: Event[] = Array.from({ length: batch }, () => ({ payload: randomBytes(eventBytes) }))
    const [block] = packWrite(events, { partitions, keylessPartition: partition, encoding: encoding.none })
    if (block === undefined) throw new Error('a write has a block')
    return block
  })
}

export async function publishRun(
  test: UnderTest,
  topic: string,
  shape: PublishShape,
  durationMs: number,
): Promise<Figures> {
  const blocks = blocksOf(shape)
  const writers = await Promise.all(
    Array.from({ length: shape.sessions }, (_, index) => LeanWriter.open(test.where, topic, blocks, index)),
  )
  try {
    return await measured(test, durationMs, async (until, note) => {
      const loop = async (writer: LeanWriter): Promise<void> => {
        for (let startedMs = performance.now(); startedMs < until; startedMs = performance.now()) {
          await writer.write()
          note(shape.batch, performance.now() - startedMs)
        }
      }
      await Promise.all(writers.map(loop))
    })
  } finally {
    for (const writer of writers) writer.close()
  }
}

/** Readers of the whole topic from its first event on, again and again; the ack rides on the next read. */
export async function readRun(test: UnderTest, topic: string, sessions: number, durationMs: number): Promise<Figures> {
  const start = (): Promise<LeanReader> => LeanReader.open(test.where, topic, { earliest: true }, 0)
  const readers = await Promise.all(Array.from({ length: sessions }, start))
  try {
    return await measured(test, durationMs, async (until, note) => {
      const loop = async (index: number): Promise<void> => {
        for (let startedMs = performance.now(); startedMs < until; startedMs = performance.now()) {
          const count = (await readers[index]?.read()) ?? 0
          if (count > 0) {
            note(count, performance.now() - startedMs)
            continue
          }
          readers[index]?.close()
          readers[index] = await start()
        }
      }
      await Promise.all(readers.map((_, index) => loop(index)))
    })
  } finally {
    for (const reader of readers) reader.close()
  }
}

/** Runs `load` to warm everything up, then again and counts. */
async function measured(
  test: UnderTest,
  durationMs: number,
  load: (untilMs: number, note: (events: number, tookMs: number) => void) => Promise<void>,
): Promise<Figures> {
  await load(performance.now() + warmMs, () => {})
  const tookMs: number[] = []
  let events = 0
  const before = test.cpuMs()
  const ownBefore = process.cpuUsage()
  const startedMs = performance.now()
  await load(startedMs + durationMs, (count, took) => {
    events += count
    tookMs.push(took)
  })
  const seconds = (performance.now() - startedMs) / 1_000
  const own = process.cpuUsage(ownBefore)
  const after = test.cpuMs()
  const micros = Object.fromEntries(roles.map((role) => [role, ((after[role] - before[role]) * 1_000) / events]))
  return {
    eventsPerSecond: events / seconds,
    p50Ms: percentile(tookMs, 50),
    p99Ms: percentile(tookMs, 99),
    micros: micros as Cost,
    loadMicros: (own.user + own.system) / events,
  }
}

export interface Delivery {
  readonly p50Ms: number
  readonly p99Ms: number
}

/** From the call to publish until a reader at the end has it, at `perSecond`; both ends are here: one clock. */
export async function deliverRun(test: UnderTest, topic: string, perSecond: number, events: number): Promise<Delivery> {
  const reader = await LeanReader.open(test.where, topic, { latest: true }, 30_000)
  const writer = await LeanWriter.open(test.where, topic, blocksOf({ eventBytes: 1_024, batch: 1, sessions: 1 }))
  const sentMs: number[] = []
  const tookMs: number[] = []
  const warmEvents = 20
  let reading = true
  const read = (async () => {
    for (let got = 0; got < events + warmEvents && reading; ) {
      const count = await reader.read()
      const nowMs = performance.now()
      for (let index = 0; index < count; index++, got++)
        if (got >= warmEvents) tookMs.push(nowMs - (sentMs[got] ?? Number.NaN))
    }
  })()
  try {
    // The reader stands at the end before the first event.
    await sleep(500)
    const beganMs = performance.now()
    for (let index = 0; index < events + warmEvents; index++) {
      await sleep(Math.max(0, beganMs + (index * 1_000) / perSecond - performance.now()))
      sentMs.push(performance.now())
      await writer.write()
    }
    await read
  } finally {
    reading = false
    reader.close()
    writer.close()
  }
  return { p50Ms: percentile(tookMs, 50), p99Ms: percentile(tookMs, 99) }
}

const sessionsPerConnection = 50

/** Opens `count` readers that wait at the end of a topic. Once closed, their sessions end with their leases. */
export async function idleTails(test: UnderTest, topic: string, count: number): Promise<{ close(): void }> {
  const connections: RawClient[] = []
  let closed = false
  const park = async (session: RawSession): Promise<void> => {
    for (let n = 1; !closed; n++) {
      await session
        .call('read', { n, waitMs: 30_000, ...(n === 1 ? {} : { ackOf: n - 1 }) })
        .catch((thrown: unknown) => {
          if (!closed) throw thrown
        })
    }
  }
  for (let opened = 0; opened < count; opened += sessionsPerConnection) {
    const connection = await RawClient.open(test.where.thriftUrl)
    connections.push(connection)
    const sessions = await Promise.all(
      Array.from({ length: Math.min(sessionsPerConnection, count - opened) }, () =>
        RawSession.openPatiently(connection, test.where.bearer, { topic, mode: mode.read, startAt: { latest: true } }),
      ),
    )
    for (const session of sessions) void park(session)
  }
  await sleep(2_000)
  return {
    close: () => {
      closed = true
      for (const connection of connections) connection.close()
    },
  }
}

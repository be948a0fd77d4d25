// Owns: publishing and reading at full speed through the SDK: shapes of load, events and bytes per second.
import type { EventInput, TrunklineClient } from '../sdk/typescript/src/index.ts'
import type { Bench } from './gateway.ts'
import { rate } from './measure.ts'

export interface Shape {
  readonly over: 'tcp' | 'http'
  readonly eventBytes: number
  readonly batch: number
  readonly sessions: number
}

export interface Throughput {
  readonly eventsPerSecond: number
  readonly gatewayMicrosPerEvent: number
}

const keys = Array.from({ length: 64 }, (_, i) => new TextEncoder().encode(`key-${i}`))

function eventsOf(shape: Shape): EventInput[] {
  const payload = new Uint8Array(shape.eventBytes).fill(120)
  return Array.from({ length: shape.batch }, (_, i) => ({ key: keys[i % keys.length] ?? new Uint8Array(), payload }))
}

/** Uncompressed, so that the bytes are those of the limit runs. Each session is a client with one producer; a publish is awaited before the next one of that session. */
export async function publishRun(bench: Bench, shape: Shape, topic: string, durationMs: number): Promise<Throughput> {
  const events = eventsOf(shape)
  const clients: TrunklineClient[] = Array.from({ length: shape.sessions }, () => bench.client(shape.over))
  const producers = clients.map((client) => client.producer(topic, { encoding: 'none' }))
  try {
    await Promise.all(producers.map((producer) => producer.publish(events)))
    const cpuBefore = bench.cpuMs()
    const startedAt = performance.now()
    // Two publishes of a session at once: the window is there to be used.
    const eventsPerSecond = await rate(shape.sessions * 2, durationMs, async (worker) => {
      await producers[worker % producers.length]?.publish(events)
      return events.length
    })
    const published = (eventsPerSecond * (performance.now() - startedAt)) / 1_000
    return { eventsPerSecond, gatewayMicrosPerEvent: ((bench.cpuMs() - cpuBefore) * 1_000) / published }
  } finally {
    await Promise.all(clients.map((client) => client.close()))
  }
}

/** Readers from the earliest event, ack on the next read; each reads the whole topic, again and again. */
export async function readRun(
  bench: Bench,
  shape: Omit<Shape, 'batch' | 'eventBytes'>,
  topic: string,
  durationMs: number,
): Promise<Throughput> {
  const clients = Array.from({ length: shape.sessions }, () => bench.client(shape.over))
  const startedAt = performance.now()
  const cpuBefore = bench.cpuMs()
  let events = 0
  const readAll = async (client: TrunklineClient): Promise<void> => {
    while (performance.now() - startedAt < durationMs) {
      await using reader = client.reader(topic, { from: 'earliest', waitMs: 0, batch: { maxEvents: 10_000 } })
      for await (const batch of reader) {
        events += batch.events.length
        await batch.ack()
        if (batch.atEnd || performance.now() - startedAt >= durationMs) break
      }
    }
  }
  try {
    await Promise.all(clients.map(readAll))
    const seconds = (performance.now() - startedAt) / 1_000
    return { eventsPerSecond: events / seconds, gatewayMicrosPerEvent: ((bench.cpuMs() - cpuBefore) * 1_000) / events }
  } finally {
    await Promise.all(clients.map((client) => client.close()))
  }
}

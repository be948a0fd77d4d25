// Owns: tails: how long an event takes from publish to a reader at the end, and what an idle tail costs in memory.
import { setTimeout as sleep } from 'node:timers/promises'
import { mode } from '../src/protocol/messages.ts'
import { fetchToken, RawClient, RawSession } from '../test/support/raw-client.ts'
import type { Bench } from './gateway.ts'
import { percentile } from './measure.ts'

export interface Latency {
  readonly p50Ms: number
  readonly p99Ms: number
}

/** Publish to delivery, at `perSecond`, both ends in this process: one clock. */
export async function deliverLatency(bench: Bench, topic: string, perSecond: number, events: number): Promise<Latency> {
  await using client = bench.client('tcp')
  await using producer = client.producer(topic)
  await producer.publish({ payload: new Uint8Array(1) }) // Makes the topic.
  await using reader = client.reader(topic, { from: 'latest', waitMs: 10_000 })
  const sentAt = new Map<string, number>()
  const latencies: number[] = []
  const reading = (async () => {
    for await (const batch of reader) {
      const now = performance.now()
      for (const { id } of batch.events) {
        const at = sentAt.get(String(id))
        if (at !== undefined) latencies.push(now - at)
      }
      await batch.ack()
      if (latencies.length >= events) return
    }
  })()
  // The reader stands at the end before the first event that counts.
  await producer.publish({ payload: new Uint8Array(1) })
  await sleep(300)
  for (let i = 0; i < events; i++) {
    const id = `latency-${i}`
    sentAt.set(id, performance.now())
    void producer.publish({ id, payload: new Uint8Array(100) })
    await sleep(1_000 / perSecond)
  }
  await reading
  return { p50Ms: percentile(latencies, 50), p99Ms: percentile(latencies, 99) }
}

const sessionsPerConnection = 50

/** Opens `count` readers that wait at the end of a topic. Close it: their sessions go with the gateway. */
export async function idleTails(bench: Bench, topic: string, count: number): Promise<{ close(): void }> {
  const { urls, credentials } = bench.gateway
  await using client = bench.client('tcp')
  await client.producer(topic).publish({ payload: new Uint8Array(1) }) // Makes the topic.
  const bearer = await fetchToken(urls.http, credentials.clientId, credentials.clientSecret)
  const connections: RawClient[] = []
  for (let opened = 0; opened < count; opened += sessionsPerConnection) {
    const connection = await RawClient.open(urls.thrift)
    connections.push(connection)
    const here = Math.min(sessionsPerConnection, count - opened)
    const sessions = await Promise.all(
      Array.from({ length: here }, () =>
        RawSession.open(connection, bearer, { topic, mode: mode.read, startAt: { latest: true } }),
      ),
    )
    for (const session of sessions) void park(session)
  }
  await sleep(1_000)
  const close = (): void => {
    for (const connection of connections) connection.close()
  }
  return { close }
}

async function park(session: RawSession): Promise<void> {
  let closed = false
  for (let n = 1; !closed; n++) {
    await session.call('read', { n, waitMs: 30_000 }).catch(() => {
      // The bench has ended this tail, or an event went by unacked: either way nothing is measured here any more.
      closed = true
    })
  }
}

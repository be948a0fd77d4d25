// Owns: the Kafka log over TLS with a login: what is let in, what is refused, and what nobody answers.
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Stack } from '../../../scripts/stack/stack.ts'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { type KafkaMetrics, noMetrics } from '../../../src/adapters/kafka/metrics.ts'
import type { KafkaLog, KafkaLogOptions } from '../../../src/adapters/kafka/open.ts'
import { sleep } from '../../../src/ports/clock.ts'
import { parseTopicName } from '../../../src/protocol/ids.ts'
import { newIncarnation, openLog, readAll, recordOf } from '../../support/kafka/kafka-node.ts'
import { privateStack, stackRequirement, stackStartMs } from '../../support/stack.ts'

const reauthenticateMs = 12_000

function read(file: string | undefined): string {
  return readFileSync(file ?? '', 'utf8')
}

stackRequirement.describe('Kafka log over TLS', () => {
  let stack: Stack
  beforeAll(async () => {
    stack = await privateStack({
      kafka: 1,
      rabbit: 0,
      secured: true,
      kafkaSettings: { 'connections.max.reauth.ms': String(reauthenticateMs) },
    })
  }, stackStartMs)
  afterAll(() => stack?.stop())

  const open = (options: Partial<KafkaLogOptions>): Promise<KafkaLog> =>
    openLog([stack.kafka[0]?.securedAddress ?? ''], options)
  const trusted = () => ({ ca: read(stack.plan.certificates?.ca) })
  const login = (mechanism: string) => {
    const user = stack.plan.users.find((one) => one.mechanism === mechanism)
    if (user === undefined) throw new Error('no such user')
    return user
  }
  /** Rejects with its name and reason; closes what opened all the same. */
  const refusal = async (options: Partial<KafkaLogOptions>): Promise<unknown> => {
    const log = await open(options).catch((error: unknown) => error)
    if (!(log instanceof Error)) {
      await (log as KafkaLog).close()
      return 'opened'
    }
    return { name: log.name, reason: (log as { details?: Record<string, string> }).details?.['reason'] }
  }

  for (const mechanism of ['scram-sha-512', 'scram-sha-256', 'plain']) {
    it(`Given a ${mechanism} login, then the log opens, appends and reads; with a wrong password it is BROKER_REFUSED`, async () => {
      const user = login(mechanism)
      const log = await open({ tls: trusted(), sasl: user })
      const topic = parseTopicName(`secured-${mechanism}`)
      await log.createTopic({ name: topic, partitions: 1, format: 'sealed' })
      const writer = await log.open(newIncarnation())
      expect(await writer.append({ topic, partition: 0 }, [recordOf('a')])).toMatchObject({ kind: 'landed' })
      expect(await readAll(log, { topic, partition: 0 })).toHaveLength(1)
      await log.close()
      expect(await refusal({ tls: trusted(), sasl: { ...user, password: 'wrong' } })).toEqual({
        name: 'BROKER_REFUSED',
        reason: 'login refused',
      })
    })
  }

  it('Given no authority, the wrong name, or an expired certificate of ours, then it is BROKER_REFUSED', async () => {
    const sasl = login('plain')
    const refused = { name: 'BROKER_REFUSED', reason: 'certificate refused' }
    expect(await refusal({ tls: {}, sasl })).toEqual(refused)
    expect(await refusal({ tls: { ...trusted(), serverName: 'elsewhere.example' }, sasl })).toEqual(refused)
    const { client, expiredClient } = stack.plan.certificates ?? {}
    const shown = (pair: typeof client) => ({ ...trusted(), cert: read(pair?.certificate), key: read(pair?.key) })
    expect(await refusal({ tls: shown(expiredClient), sasl })).toEqual(refused)
    expect(await refusal({ tls: shown(client), sasl })).toBe('opened')
  })

  it('Given no TLS or no login where the broker wants them, then it does not open, in bounded time', async () => {
    const sinceMs = systemClock.monotonicMs()
    expect(await refusal({ sasl: login('plain') })).toMatchObject({ name: 'UNAVAILABLE' })
    expect(await refusal({ tls: trusted() })).toMatchObject({ name: 'UNAVAILABLE' })
    expect(systemClock.monotonicMs() - sinceMs).toBeLessThan(20_000)
  })

  it('Given a password that is rotated, then each new connection shows the one of now, and no restart is needed', async () => {
    let sasl = login('plain')
    const log = await open({ access: () => ({ tls: trusted(), sasl }) })
    const topic = parseTopicName('rotated')
    await log.createTopic({ name: topic, partitions: 1, format: 'sealed' })
    const until = async (reachable: boolean): Promise<void> => {
      while (log.isReachable !== reachable) await sleep(systemClock, 50)
    }
    sasl = { ...sasl, password: 'not yet known to the broker' }
    await until(false)
    sasl = login('scram-sha-256')
    await until(true)
    const writer = await log.open(newIncarnation())
    expect(await writer.append({ topic, partition: 0 }, [recordOf('a')])).toMatchObject({ kind: 'landed' })
    await log.close()
  })

  it('Given logins that the broker ends, then they are renewed before, and no append meets a doubt', async () => {
    let opened = 0
    let lost = 0
    const metrics: KafkaMetrics = {
      ...noMetrics,
      connection: (event) => {
        if (event === 'opened') opened += 1
      },
      request: (_, outcome) => {
        if (outcome !== 'ok') lost += 1
      },
    }
    const log = await open({ tls: trusted(), sasl: login('scram-sha-512'), metrics })
    const topic = parseTopicName('renewed')
    await log.createTopic({ name: topic, partitions: 1, format: 'sealed' })
    const writer = await log.open(newIncarnation())
    const untilMs = systemClock.monotonicMs() + reauthenticateMs + 6_000
    let before = 0
    let appended = 0
    while (systemClock.monotonicMs() < untilMs) {
      expect(await writer.append({ topic, partition: 0 }, [recordOf('a')])).toMatchObject({ kind: 'landed' })
      appended += 1
      if (appended === 5) before = opened
      await sleep(systemClock, 50)
    }
    expect(opened).toBeGreaterThan(before + 3)
    expect(lost).toBe(0)
    expect(await readAll(log, { topic, partition: 0 })).toHaveLength(appended)
    await log.close()
  })
})

stackRequirement.describe('Kafka log, when the server certificate has expired', () => {
  let stack: Stack
  beforeAll(async () => {
    stack = await privateStack({ kafka: 1, rabbit: 0, secured: true, serverCertificate: 'expired' })
  }, stackStartMs)
  afterAll(() => stack?.stop())

  it('Given its authority, then it is BROKER_REFUSED', async () => {
    const opening = openLog([stack.kafka[0]?.securedAddress ?? ''], {
      tls: { ca: read(stack.plan.certificates?.ca) },
      sasl: stack.plan.users[0],
    })
    await expect(opening).rejects.toMatchObject({
      name: 'BROKER_REFUSED',
      details: { reason: 'certificate refused' },
    })
  })
})

describe('Kafka log without a broker', () => {
  const servers: Server[] = []
  afterAll(() => {
    for (const server of servers) server.close()
  })
  const listen = async (serve: Parameters<typeof createServer>[1]): Promise<string> => {
    const server = createServer(serve)
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    return `127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
  }

  it('Given a port where nobody listens, one that hangs up, one that is silent, or one that speaks HTTP, then it is UNAVAILABLE in time', async () => {
    const silent = await listen((socket) => socket.on('error', () => {}))
    const hangsUp = await listen((socket) => socket.on('error', () => {}).end())
    const web = await listen((socket) => socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'))
    for (const address of ['127.0.0.1:1', silent, hangsUp, web]) {
      const sinceMs = systemClock.monotonicMs()
      await expect(openLog([address], { kafka: { connectTimeoutMs: 500 } })).rejects.toMatchObject({
        name: 'UNAVAILABLE',
      })
      expect(systemClock.monotonicMs() - sinceMs).toBeLessThan(5_000)
    }
  })

  it('Given an address that is none, then it is BAD_REQUEST', async () => {
    for (const address of ['localhost', 'localhost:0', 'localhost:99999', 'http://a:9092', 'a b:1', '']) {
      await expect(openLog([address])).rejects.toMatchObject({ name: 'BAD_REQUEST' })
    }
  })
})

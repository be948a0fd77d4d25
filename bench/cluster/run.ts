// Owns: `npm run bench -- --cluster [--quick] [--only part,…] [--profile DIR]`: the cluster beside its peers on the same
// brokers in the same minutes. Parts: publish, singles, read, deliver, sealing, signing. Prints figures beside goals; asserts nothing.
// With TRUNKLINE_STACK_JSON on a stack that runs already.
import { execFileSync } from 'node:child_process'
import { cpus, loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Stack } from '../../scripts/stack/stack.ts'
import { sharedStack } from '../../test/support/stack.ts'
import { count, fixed, median, printTable } from '../measure.ts'
import { LeanWriter, proveTemplates } from './lean-client.ts'
import { consumerPerformance, kafkajsPublish, kafkajsRead, producerPerformance } from './peers.ts'
import { signing } from './signing.ts'
import { type Cost, roles, startUnderTest, type UnderTest } from './under-test.ts'
import { blocksOf, deliverRun, type Figures, idleTails, type PublishShape, publishRun, readRun } from './work.ts'

const quick = process.argv.includes('--quick')
const runs = quick ? 1 : 3
const durationMs = quick ? 1_500 : 4_000
const only = optionValue('--only')?.split(',')
const profile = optionValue('--profile')
const run = Date.now().toString(36)
const copyForCipher = fileURLToPath(new URL('copy-for-cipher.mjs', import.meta.url))

const batches: PublishShape = { eventBytes: 1_024, batch: 100, sessions: 16 }
const smallEvents: PublishShape = { eventBytes: 100, batch: 100, sessions: 16 }
const singles: PublishShape = { eventBytes: 1_024, batch: 1, sessions: 64 }

function optionValue(name: string): string | undefined {
  const at = process.argv.indexOf(name)
  return at < 0 ? undefined : process.argv[at + 1]
}

const wanted = (part: string): boolean => only === undefined || only.includes(part)
const say = (text: string): void => void process.stdout.write(`${text}\n`)
const label = ({ eventBytes, batch, sessions }: PublishShape): string =>
  `${batch} × ${eventBytes} B, ${sessions} ${sessions === 1 ? 'session' : 'sessions'}`

async function repeated<T>(measure: () => Promise<T>, times = runs): Promise<T[]> {
  const all: T[] = []
  for (let at = 0; at < times; at++) all.push(await measure())
  return all
}

function medianFigures(all: readonly Figures[]): Figures {
  const of = (pick: (one: Figures) => number): number => median(all.map(pick))
  return {
    eventsPerSecond: of((one) => one.eventsPerSecond),
    p50Ms: of((one) => one.p50Ms),
    p99Ms: of((one) => one.p99Ms),
    micros: Object.fromEntries(roles.map((role) => [role, of((one) => one.micros[role])])) as Cost,
    loadMicros: of((one) => one.loadMicros),
  }
}

const costHead = [...roles.map((role) => `${role} µs`), 'load µs']
const costCells = (figures: Figures): string[] => [
  ...roles.map((role) => fixed(figures.micros[role], 1)),
  fixed(figures.loadMicros, 1),
]
const latencyCells = (figures: Figures): string[] => [fixed(figures.p50Ms), fixed(figures.p99Ms)]

async function publishing(test: UnderTest, part: string, shapes: readonly PublishShape[]): Promise<void> {
  const rows: string[][] = []
  for (const [index, shape] of shapes.entries()) {
    const topic = `${run}-${part}-${index}`
    await test.makeTopic(topic)
    const ours = medianFigures(await repeated(() => publishRun(test, topic, shape, durationMs)))
    rows.push([label(shape), count(ours.eventsPerSecond), ...latencyCells(ours), ...costCells(ours)])
    if (shape.batch === 1 && shape.sessions !== singles.sessions) continue
    const peerTopic = `${topic}-peer`
    await test.makeTopic(peerTopic, 'plain')
    const kafkajs = median(await repeated(() => kafkajsPublish(test.kafkaAddress, peerTopic, shape, durationMs)))
    rows.push(['  kafkajs', `${count(kafkajs)} (${fixed(ours.eventsPerSecond / kafkajs)})`])
    if (shape.batch === 1) continue
    const records = (quick ? 2e8 : 6e8) / Math.max(shape.eventBytes, 200)
    const tool = median(
      await repeated(() => producerPerformance(test.kafkaAddress, peerTopic, shape.eventBytes, Math.round(records))),
    )
    rows.push(['  ProducerPerformance', `${count(tool)} (${fixed(ours.eventsPerSecond / tool)})`])
    if (shape !== batches) continue
    const payloadBytes = await storedOf(test)
    rows.push(['  stored beyond the payload', `${fixed(payloadBytes * 100)} %`])
  }
  const title = part === 'publish' ? 'Publish in batches (ratio to the peer)' : 'Publish one by one (ratio to the peer)'
  printTable(title, ['shape', 'events/s', 'p50 ms', 'p99 ms', ...costHead], rows)
}

/** What a topic takes on the broker's disk beyond its payload, as a share. */
async function storedOf(test: UnderTest): Promise<number> {
  const topic = `${run}-stored`
  await test.makeTopic(topic)
  const events = await fill(test, topic, 2_000)
  return test.storedBytes(topic) / (events * batches.eventBytes) - 1
}

/** Publishes at least so many events of 1 KiB in batches; answers how many. */
async function fill(test: UnderTest, topic: string, eventsMin: number): Promise<number> {
  let events = 0
  while (events < eventsMin) events += await publishSome(test, topic, eventsMin - events)
  return events
}

async function publishSome(test: UnderTest, topic: string, events: number): Promise<number> {
  const blocks = blocksOf(batches)
  const writesEach = Math.ceil(events / batches.batch / batches.sessions)
  await Promise.all(
    Array.from({ length: batches.sessions }, async (_, index) => {
      const writer = await LeanWriter.open(test.where, topic, blocks, index)
      for (let write = 0; write < writesEach; write++) await writer.write()
      writer.close()
    }),
  )
  return writesEach * batches.sessions * batches.batch
}

async function reading(test: UnderTest): Promise<void> {
  const rows: string[][] = []
  const topic = `${run}-read`
  await test.makeTopic(topic)
  await fill(test, topic, quick ? 100_000 : 400_000)
  for (const sessions of [1, 4, 16]) {
    const ours = medianFigures(await repeated(() => readRun(test, topic, sessions, durationMs)))
    rows.push([
      `1 KiB events, ${sessions} ${sessions === 1 ? 'session' : 'sessions'}`,
      count(ours.eventsPerSecond),
      ...latencyCells(ours),
      ...costCells(ours),
    ])
  }
  const peerTopic = `${run}-read-peer`
  await test.makeTopic(peerTopic, 'plain')
  const records = quick ? 200_000 : 500_000
  await producerPerformance(test.kafkaAddress, peerTopic, 1_024, records)
  const kafkajs = median(await repeated(() => kafkajsRead(test.kafkaAddress, peerTopic, records)))
  rows.push(['  kafkajs, 1 consumer', count(kafkajs)])
  const tool = median(await repeated(() => consumerPerformance(test.kafkaAddress, peerTopic, records)))
  rows.push(['  ConsumerPerformance, 1 consumer', count(tool)])
  printTable(
    'Read (256 KiB a reply; ack on the next read)',
    ['what', 'events/s', 'p50 ms', 'p99 ms', ...costHead],
    rows,
  )
}

async function delivering(test: UnderTest): Promise<void> {
  const rows: string[][] = []
  const idleTopic = `${run}-idle`
  const topic = `${run}-deliver`
  await test.makeTopic(idleTopic)
  await test.makeTopic(topic)
  const events = quick ? 60 : 200
  // The first run makes what is made once: keys, lanes, compiled code.
  await deliverRun(test, topic, 20, 40)
  for (const tails of [0, 1_000]) {
    const connectionsBefore = test.kafkaConnections()
    const idle = await idleTails(test, idleTopic, tails)
    const connections = tails === 0 ? '' : String(test.kafkaConnections() - connectionsBefore)
    const all = await repeated(() => deliverRun(test, topic, 20, events))
    // What the first thousand take holds the growth of both heaps; what each further one adds is its own.
    const perTail = tails === 0 ? '' : fixed((await bytesPerTail(test, idleTopic, 2 * tails)) / 1_024, 1)
    idle.close()
    rows.push([
      String(tails),
      fixed(median(all.map(({ p50Ms }) => p50Ms))),
      fixed(median(all.map(({ p99Ms }) => p99Ms))),
      perTail,
      connections,
    ])
  }
  printTable(
    'Publish to delivery, 20 events/s of 1 KiB',
    ['idle tails beside it', 'p50 ms', 'p99 ms', 'KiB per idle tail, both tiers', 'Kafka connections they add'],
    rows,
  )
}

/** Resident memory of both tiers for one more tail. */
async function bytesPerTail(test: UnderTest, topic: string, tails: number): Promise<number> {
  const resident = (): number => test.rss('api') + test.rss('stream')
  const before = resident()
  const more = await idleTails(test, topic, tails)
  const bytes = (resident() - before) / tails
  more.close()
  return bytes
}

/** The same work with the cipher and with a copy in its place, in turn. */
async function sealing(stack: Stack): Promise<void> {
  const measure = async (name: string, nodeArgs: readonly string[]): Promise<readonly [number, number, number]> => {
    const test = await startUnderTest({ stack, nodeArgs })
    try {
      const topic = `${run}-${name}`
      await test.makeTopic(topic)
      const published = await publishRun(test, topic, batches, durationMs)
      const read = await readRun(test, topic, 4, durationMs)
      return [
        published.eventsPerSecond,
        published.micros.stream + published.micros.api,
        read.micros.stream + read.micros.api,
      ]
    } finally {
      await test.stop()
    }
  }
  const sealed: (readonly [number, number, number])[] = []
  const copied: (readonly [number, number, number])[] = []
  for (let at = 0; at < runs; at++) {
    sealed.push(await measure(`sealed-${at}`, []))
    copied.push(await measure(`copied-${at}`, ['--import', copyForCipher]))
  }
  const of = (all: typeof sealed, index: 0 | 1 | 2): number => median(all.map((one) => one[index]))
  const row = (what: string, index: 0 | 1 | 2, share: number): string[] => [
    what,
    fixed(of(sealed, index), 1),
    fixed(of(copied, index), 1),
    `${fixed(share * 100, 1)} %`,
  ]
  printTable(
    'Sealing (100 × 1 KiB)',
    ['what', 'sealed', 'copied instead', 'share'],
    [
      row('publish, events/s', 0, 1 - of(sealed, 0) / of(copied, 0)),
      row('publish, gateway µs/event', 1, 1 - of(copied, 1) / of(sealed, 1)),
      row('read, gateway µs/event', 2, 1 - of(copied, 2) / of(sealed, 2)),
    ],
  )
}

export async function runCluster(): Promise<void> {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  say(
    `Trunkline cluster bench, commit ${commit}, Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? '?'}`,
  )
  say(
    'Load generator, 1 API process, 1 RabbitMQ, 1 stream process and 1 Kafka share the machine. Sealed, acks=all, nothing ' +
      `compressed, no TLS. Medians of ${runs} × ${durationMs / 1_000} s; load average before: ${fixed(loadavg()[0] ?? 0, 1)}.`,
  )
  proveTemplates()
  const stack = await sharedStack({ kafka: 1, rabbit: 1, heapMbMax: 1_024 })
  try {
    const nodeArgs = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]
    const fresh = async (part: string, work: (test: UnderTest) => Promise<void>): Promise<void> => {
      if (!wanted(part)) return
      const test = await startUnderTest({ stack, nodeArgs })
      try {
        await work(test)
      } finally {
        await test.stop()
      }
    }
    await fresh('deliver', delivering)
    await fresh('publish', (test) => publishing(test, 'publish', [batches, smallEvents]))
    const fewer = [16, 1].map((sessions) => ({ ...singles, sessions }))
    await fresh('singles', (test) => publishing(test, 'singles', [singles, ...fewer]))
    await fresh('read', reading)
    if (wanted('sealing')) await sealing(stack)
    if (wanted('signing')) {
      const apiEnv = { TRUNKLINE_SESSION_SIGNATURES: 'optional' }
      const test = await startUnderTest({ stack, nodeArgs, apiEnv, withTls: true })
      const one = { ...singles, sessions: 1 }
      const smallSingles = { ...singles, eventBytes: 100 }
      const shapes = [batches, smallEvents, singles, smallSingles, one].map((shape) => [label(shape), shape] as const)
      try {
        await signing(test, { shapes, runs, durationMs, topicOf: (name) => `${run}-${name}` })
      } finally {
        await test.stop()
      }
    }
  } finally {
    await stack.stop()
  }
  say(`\nLoad average after: ${fixed(loadavg()[0] ?? 0, 1)}. Goals and what misses them: docs/performance.md.`)
}

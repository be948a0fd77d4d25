// Owns: `npm run demo [-- --cluster]`: real events through a real gateway of which something is killed in the middle, and
// the proof that every acked event is there once, in order, unchanged. Exits with 1 when a number is wrong.
// 1. Nothing is left behind: every process ends and every folder is removed, unless --keep is given.
import { parseArgs } from 'node:util'
import { clusterGateway, type DemoGateway, embeddedGateway, makeFolder } from './demo/gateways.ts'
import { publishAll } from './demo/publishing.ts'
import { readQuakes } from './demo/quakes.ts'
import { judge, type ReadResult, readTopic } from './demo/reading.ts'
import { describeFigures, type Figures, grouped, wrongFigures } from './demo/report.ts'
import { describeMissing, missingTools } from './stack/tools.ts'

const topic = 'quakes'
const pauseAt = 400
const killAt = 850
const usageExitCode = 2
const interruptions = [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const

const values = optionsOf(process.argv.slice(2))
if (values.cluster === true) {
  const missing = missingTools({ kafka: true, kafkaVersion: '4.1.1', rabbit: true, secured: false })
  if (missing.length > 0) {
    say(`--cluster runs Kafka and RabbitMQ on this machine: ${describeMissing(missing)}`)
    process.exit(usageExitCode)
  }
}
// The default would end it without its `exit` listeners, which end processes and remove folders.
for (const [signal, code] of interruptions) process.on(signal, () => process.exit(code))

const startedMs = performance.now()
const folder = makeFolder(values.keep === true)
if (values.cluster === true) say('Starting a cluster of brokers and processes; this takes a while.')
const gateway = values.cluster === true ? await clusterGateway(folder, topic) : await embeddedGateway(folder)
try {
  const figures = await run(gateway)
  say(`\n${describeFigures(figures)}`)
  const wrong = wrongFigures(figures)
  for (const text of wrong) say(`WRONG: ${text}`)
  if (wrong.length > 0) process.exitCode = 1
} finally {
  await gateway.stop()
}
const where = folder.keep ? `; the folder is kept: ${folder.dir}` : ''
say(
  `${process.exitCode === 1 ? 'Failed' : 'Every number is right'} after ${seconds(performance.now() - startedMs)}${where}.`,
)

function optionsOf(args: readonly string[]): { readonly keep?: boolean; readonly cluster?: boolean } {
  try {
    return parseArgs({ args: [...args], options: { keep: { type: 'boolean' }, cluster: { type: 'boolean' } } }).values
  } catch (thrown) {
    // Its text names the option; there is nothing else to say.
    say(`${thrown instanceof Error ? thrown.message : 'wrong options'}\nnpm run demo [-- [--cluster] [--keep]]`)
    process.exit(usageExitCode)
  }
}

async function run({ client, intro, prepare, strike, bytesOnDisk }: DemoGateway): Promise<Figures> {
  const quakes = readQuakes()
  say(intro)
  const producer = client.producer(topic)
  let early: ReadResult | undefined
  let struck: Promise<readonly string[]> | undefined
  say(`Publishing ${grouped(quakes.length)} earthquakes over Thrift, one by one, ordered by seismic network.`)
  const published = await publishAll(producer, quakes, {
    pauseAt,
    onPause: async () => {
      early = await readTopic(client, topic, { from: 'earliest', events: pauseAt / 2 })
      say(
        `After ${grouped(pauseAt)} acks a reader read and acked ${grouped(early.events.length)} events and saved its cursor.`,
      )
      await prepare(topic)
    },
    strikeAt: killAt,
    onStrike: () => {
      struck = strike()
    },
  })
  if (early === undefined || struck === undefined) throw new Error('too few events for what should happen on the way')
  const [what = '', ...after] = await struck
  say(`At ack ${grouped(killAt)} ${what}`)
  for (const text of after) say(text)
  say(
    `Publishing went on by itself after ${seconds(published.outageMs)} without an ack: ${grouped(published.inFlight)} events had been in flight.`,
  )
  say(`All ${grouped(quakes.length)} are acked.`)
  await producer.close()

  const all = new Set(quakes.map(({ id }) => id))
  const acked = new Set(early.events.map(({ id }) => id))
  const rest = new Set([...all].filter((id) => !acked.has(id)))
  const first = await readTopic(client, topic, { from: 'earliest' })
  const second = await readTopic(client, topic, { from: { cursor: early.cursor } })
  say('Two readers read everything back, one from the start and one from the saved cursor, acked and disposed.')
  return {
    published: quakes.length,
    publishMs: published.activeMs,
    readMs: first.elapsedMs,
    bytesOnDisk: bytesOnDisk(topic),
    inFlight: published.inFlight,
    first: judge(first.events, quakes, published.positions, all),
    beforeCursor: early.events.length,
    second: judge(second.events, quakes, published.positions, rest),
  }
}

function seconds(elapsedMs: number): string {
  return `${(elapsedMs / 1000).toFixed(1)} s`
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

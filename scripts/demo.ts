// Owns: `npm run demo`: real events through a real gateway that is killed in the middle, and the proof that every acked
// event is there once, in order, unchanged. Exits with 1 when a number is wrong.
// 1. Nothing is left behind: the gateway ends and its folder is removed, unless --keep is given.
import { lstatSync, mkdtempSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { connect, TrunklineError } from '../sdk/typescript/src/index.ts'
import { type Exit, type GatewayProcess, removeFolder, startGatewayProcess } from '../test/support/gateway-process.ts'
import { publishAll } from './demo/publishing.ts'
import { readQuakes } from './demo/quakes.ts'
import { judge, type ReadResult, readTopic } from './demo/reading.ts'
import { describeFigures, type Figures, grouped, wrongFigures } from './demo/report.ts'

const topic = 'quakes'
const pauseAt = 400
const killAt = 850
const usageExitCode = 2
const interruptedExitCode = 130

const { values } = parseArgs({ options: { keep: { type: 'boolean' }, cluster: { type: 'boolean' } } })
if (values.cluster === true) {
  const { name, message, details } = new TrunklineError('UNSUPPORTED', { details: { option: '--cluster' } })
  say(`${name}: ${message} (option: ${details['option']})`)
  process.exit(usageExitCode)
}

const dir = mkdtempSync(join(tmpdir(), 'trunkline-demo-'))
const cleanUp = (): void => {
  if (values.keep !== true) removeFolder(dir)
}
process.on('SIGINT', () => {
  process.exitCode = interruptedExitCode
  process.exit()
})
// The gateway itself is ended by gateway-process.ts, whose listener was there first.
process.on('exit', cleanUp)

const startedMs = performance.now()
const gateway = await startGatewayProcess({ dir })
try {
  const figures = await run(gateway)
  say(`\n${describeFigures(figures)}`)
  const wrong = wrongFigures(figures)
  for (const text of wrong) say(`WRONG: ${text}`)
  if (wrong.length > 0) process.exitCode = 1
} finally {
  await gateway.stop()
}
const where = values.keep === true ? `; the gateway's folder is kept: ${dir}` : ''
say(
  `${process.exitCode === 1 ? 'Failed' : 'Every number is right'} after ${seconds(performance.now() - startedMs)}${where}.`,
)

async function run(process_: GatewayProcess): Promise<Figures> {
  const quakes = readQuakes()
  say(`A gateway runs as process ${process_.pid}, with its log in a temporary folder.`)
  const { clientId, clientSecret } = process_.credentials
  const client = connect(process_.urls.thrift, { clientId, clientSecret, tokenUrl: process_.urls.token })
  try {
    const producer = client.producer(topic)
    let early: ReadResult | undefined
    let restarted: Promise<void> | undefined
    say(`Publishing ${grouped(quakes.length)} earthquakes over Thrift, one by one, ordered by seismic network.`)
    const published = await publishAll(producer, quakes, {
      pauseAt,
      onPause: async () => {
        early = await readTopic(client, topic, { from: 'earliest', events: pauseAt / 2 })
        say(
          `After ${grouped(pauseAt)} acks a reader read and acked ${grouped(early.events.length)} events and saved its cursor.`,
        )
      },
      strikeAt: killAt,
      onStrike: () => {
        restarted = killAndRestart(process_)
      },
    })
    if (early === undefined || restarted === undefined)
      throw new Error('too few events for what should happen on the way')
    await restarted
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
      bytesOnDisk: bytesOnDisk(process_.dataDir),
      inFlight: published.inFlight,
      first: judge(first.events, quakes, published.positions, all),
      beforeCursor: early.events.length,
      second: judge(second.events, quakes, published.positions, rest),
    }
  } finally {
    await client.close()
  }
}

async function killAndRestart(process_: GatewayProcess): Promise<void> {
  // In this very turn: nothing more is answered.
  const ended: Promise<Exit> = process_.kill('SIGKILL')
  say(`At ack ${grouped(killAt)} the gateway was killed with SIGKILL, with writes in flight.`)
  await ended
  await process_.restart()
  say(`It was started again as process ${process_.pid}, on the same ports and folder.`)
}

/** What the files take, holes not counted. */
function bytesOnDisk(folder: string): number {
  const blockBytes = 512
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).reduce(
    (sum, name) => sum + lstatSync(join(folder, name)).blocks * blockBytes,
    0,
  )
}

function seconds(elapsedMs: number): string {
  return `${(elapsedMs / 1000).toFixed(1)} s`
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

// Owns: what the switch between the tiers costs: calls over RabbitMQ through the adapter, beside the same calls over a
// framed TCP link, between the same two processes. `npx tsx bench/switch/run.ts [--quick] [amqp://user:password@host:port]`;
// without a url on a private broker. Figures for docs/adr/0005; nothing is asserted.
import { fork } from 'node:child_process'
import { cpus, loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { startStack } from '../../scripts/stack/stack.ts'
import { systemClock } from '../../src/adapters/clock/system-clock.ts'
import { openRabbitSwitchboard, type RabbitSwitchboard } from '../../src/adapters/rabbitmq/open.ts'
import { systemRandom } from '../../src/adapters/random/system-random.ts'
import { makeIncarnation } from '../../src/protocol/ids.ts'
import { count, fixed, median, percentile, printTable, rate } from '../measure.ts'
import { FramedLink, serveFrames } from './framed-link.ts'

const quick = process.argv.includes('--quick')
const runs = quick ? 1 : 3
const durationMs = quick ? 700 : 2_000
const key = makeIncarnation('bench', 'e1')
const requestBytes = 200

function open(url: string): Promise<RabbitSwitchboard> {
  const { username, password, host } = new URL(url)
  return openRabbitSwitchboard({
    shards: [{ name: 'bench', url: `amqp://${host}` }],
    access: { credentials: { username, password } },
    name: 'bench',
    clock: systemClock,
    random: systemRandom,
    settings: { namePrefix: 'bench-switch' },
  })
}

/** The stream node's side, in a process of its own: answers as many bytes as the request asks for. */
async function serve(url: string): Promise<void> {
  const answers = new Map<number, Uint8Array>()
  const answer = (body: Uint8Array): Promise<Uint8Array> => {
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.length).readUInt32BE(0)
    const reply = answers.get(bytes) ?? new Uint8Array(bytes).fill(7)
    answers.set(bytes, reply)
    return Promise.resolve(reply)
  }
  const switchboard = await open(url)
  await switchboard.serve(key, { allocate: answer, call: answer })
  const server = await serveFrames(answer)
  const address = server.address()
  process.send?.(typeof address === 'object' && address !== null ? address.port : 0)
  process.once('disconnect', () => process.exit(0))
}

interface Figures {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

async function measure(callers: number, call: () => Promise<unknown>): Promise<Figures> {
  const all: Figures[] = []
  for (let run = 0; run < runs; run++) {
    const tookMs: number[] = []
    const perSecond = await rate(callers, durationMs, async () => {
      const beganMs = performance.now()
      await call()
      tookMs.push(performance.now() - beganMs)
      return 1
    })
    all.push({ perSecond, p50Ms: percentile(tookMs, 50), p99Ms: percentile(tookMs, 99) })
  }
  return {
    perSecond: median(all.map((one) => one.perSecond)),
    p50Ms: median(all.map((one) => one.p50Ms)),
    p99Ms: median(all.map((one) => one.p99Ms)),
  }
}

async function compare(url: string): Promise<void> {
  const child = fork(fileURLToPath(import.meta.url), ['serve', url])
  const port = await new Promise<number>((resolve) => child.once('message', (it) => resolve(Number(it))))
  const switchboard = await open(url)
  const link = await FramedLink.open(port)
  const rows: string[][] = []
  for (const replyBytes of [200, 16 * 1024, 256 * 1024, 1024 * 1024]) {
    const body = new Uint8Array(requestBytes)
    Buffer.from(body.buffer).writeUInt32BE(replyBytes, 0)
    for (const callers of replyBytes > 100_000 ? [1, 16] : [1, 16, 128]) {
      const overSwitch = async (): Promise<void> => {
        const { kind } = await switchboard.call(key, body, { deadlineMs: 30_000 })
        if (kind !== 'answered') throw new Error(kind)
      }
      // Warm.
      await rate(callers, 300, () => overSwitch().then(() => 1))
      const rabbit = await measure(callers, overSwitch)
      const direct = await measure(callers, () => link.call(body))
      rows.push([
        `${replyBytes} B, ${callers} callers`,
        ...[rabbit, direct].flatMap((it) => [count(it.perSecond), fixed(it.p50Ms), fixed(it.p99Ms)]),
        fixed(rabbit.perSecond / direct.perSecond),
      ])
    }
  }
  const load = fixed(loadavg()[0] ?? Number.NaN, 1)
  printTable(
    `Calls between two processes, request ${requestBytes} B; ${cpus().length} cores for both and the broker, medians of ` +
      `${runs} × ${durationMs / 1_000} s, load at the end ${load}`,
    ['reply', 'RabbitMQ calls/s', 'p50 ms', 'p99 ms', 'TCP calls/s', 'p50 ms', 'p99 ms', 'ratio'],
    rows,
  )
  link.close()
  await switchboard.close()
  child.disconnect()
}

const [, , mode, servedUrl] = process.argv
if (mode === 'serve') await serve(servedUrl ?? '')
else {
  const given = process.argv.slice(2).find((argument) => argument.startsWith('amqp://'))
  const stack = given === undefined ? await startStack({ kafka: 0, rabbit: 1 }) : undefined
  try {
    await compare(given ?? stack?.rabbitUrls[0] ?? '')
  } finally {
    await stack?.stop()
  }
}

// Owns: what signed requests and answers, and TLS, cost: the same work at the same stream process, signed, unsigned, and
// signed over TLS, in turn. Every session is authorised; what that costs is in all of them.
import { fixed, median, printTable } from '../measure.ts'
import type { UnderTest } from './under-test.ts'
import { type Figures, type PublishShape, publishRun, readRun } from './work.ts'

export interface SigningOptions {
  readonly shapes: readonly (readonly [label: string, shape: PublishShape])[]
  readonly runs: number
  readonly durationMs: number
  readonly topicOf: (name: string) => string
}

/** `signed`: a gateway with `sessionSignatures: optional`, and TLS beside. */
export async function signing(signed: UnderTest, options: SigningOptions): Promise<void> {
  const { shapes, runs, durationMs, topicOf } = options
  const unsigned: UnderTest = { ...signed, where: { ...signed.where, unsigned: true } }
  const ways = [signed, unsigned, signed.overTls ?? signed]
  const rows: string[][] = []
  const compare = async (
    label: string,
    eventsEach: number,
    run: (at: UnderTest) => Promise<Figures>,
  ): Promise<void> => {
    const figures: Figures[][] = ways.map(() => [])
    for (let at = 0; at < runs; at++) {
      // Whoever goes first has the cooler machine: they take turns.
      for (let turn = 0; turn < ways.length; turn++) {
        const index = (at + turn) % ways.length
        figures[index]?.push(await run(ways[index] ?? signed))
      }
    }
    const of = (index: number, pick: (one: Figures) => number): number => median((figures[index] ?? []).map(pick))
    const rate = (one: Figures): number => one.eventsPerSecond
    const apiMicros = (one: Figures): number => one.micros.api * eventsEach
    rows.push([
      label,
      ...[0, 1, 2].map((index) => fixed(of(index, rate), 0)),
      fixed(of(0, rate) / of(1, rate)),
      fixed(of(2, rate) / of(0, rate)),
      ...[0, 1, 2].map((index) => fixed(of(index, apiMicros), 1)),
    ])
  }
  let read: string | undefined
  for (const [index, [label, shape]] of shapes.entries()) {
    const topic = topicOf(`signing-${index}`)
    await signed.makeTopic(topic)
    await compare(label, shape.batch, (at) => publishRun(at, topic, shape, durationMs))
    read ??= topic
  }
  if (read !== undefined) {
    const topic = read
    await compare('read, 256 KiB a reply, 4 sessions', 256, (at) => readRun(at, topic, 4, durationMs))
  }
  printTable(
    'Signing and TLS (API µs: of a request; the load generator signs and speaks TLS too, and checks no MAC)',
    [
      'work',
      'signed events/s',
      'unsigned',
      'signed, TLS',
      'signed : unsigned',
      'TLS : plain',
      'API µs signed',
      'unsigned',
      'TLS',
    ],
    rows,
  )
}

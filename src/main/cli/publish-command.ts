// Owns: `trunkline publish`: lines of a file or of stdin → events, with bounded memory.
// 1. Nothing is half-sent in silence: whatever ends it, every line read so far is published or named.
// 2. SIGINT stops the reading; what was read completely is published, then it ends.
import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import { type Command, Option } from 'commander'
import { systemClock } from '../../adapters/clock/system-clock.ts'
import { eventBytesMax } from '../../protocol/limits.ts'
import { withClient } from './client-session.ts'
import { addConnectionOptions, type ConnectionOptions, resolveConnection } from './connection.ts'
import { eventOfLine, type InputFormat, type InputShape, inputFormats } from './event-input.ts'
import { exitCode, exitCodeOf } from './exit-codes.ts'
import { CommandFailure, describeError, errnoOf, oneLine, QuietEnd } from './failure.ts'
import { Interrupts } from './interrupts.ts'
import { type Line, lineGroups } from './lines.ts'
import { wholeNumber } from './option-values.ts'
import { tell } from './output.ts'
import { bytesText, counted, grouped, Progress, rateText } from './progress.ts'
import { PublishBatches } from './publish-batches.ts'

const batchEventsDefault = 500
const batchEventsMax = 10_000
const batchBytesMax = 256 * 1024
/** As many as the gateway's window; the SDK sends them in order. */
const batchesOutMax = 8
const badLinesTold = 10

const help = `
Each line is one event. ndjson: the line is the payload as it stands and must be JSON; blank lines are
left out. lines: the line is the payload, whatever it is. Fields are members of the JSON, a.b.c for
members of members. Events of one key stay in order. A topic that is not there is created by a gateway
that \`trunkline dev\` runs.

A bad line stops it: what came before is published, the line is named, exit code 7.
Ctrl-C publishes what was read and says which line comes next.

Examples:
  $ trunkline publish quakes quakes.ndjson --key-field properties.net --id-field id --time-field properties.time
  $ tail -f app.log | trunkline publish logs --format lines
  $ zcat old.ndjson.gz | trunkline publish quakes - --skip-bad`

interface PublishOptions extends ConnectionOptions {
  readonly format: InputFormat
  readonly keyField?: string
  readonly idField?: string
  readonly timeField?: string
  readonly batch: number
  readonly skipBad?: true
}

export function addPublishCommand(program: Command): void {
  const command = program
    .command('publish')
    .description('publish the lines of a file, or of stdin')
    .argument('<topic>')
    .argument('[file]', 'a file, or - for stdin', '-')
    .addOption(new Option('--format <format>', 'what a line is').choices(inputFormats).default('ndjson'))
    .option('--key-field <field>', 'member that is the key')
    .option('--id-field <field>', 'member that is the event id (default: a new UUID)')
    .option(
      '--time-field <field>',
      'member that is the event time, RFC 3339 or ms since 1970 (default: when it is stored)',
    )
    .option('--batch <events>', 'most events of one request', wholeNumber(1, batchEventsMax), batchEventsDefault)
    .option('--skip-bad', 'leave bad lines out and count them')
  addConnectionOptions(command)
    .addHelpText('after', help)
    .action((topic: string, file: string, options: PublishOptions) => runPublish(topic, file, options))
}

interface InputEnd {
  /** Lines that were read completely. */
  readonly linesRead: number
  readonly skipped: number
  readonly bad: { readonly line: number; readonly why: string } | undefined
}

async function runPublish(topic: string, file: string, options: PublishOptions): Promise<void> {
  const shape = shapeOf(options)
  const connection = await resolveConnection(options, process.cwd())
  let batches: PublishBatches | undefined
  const interrupts = new Interrupts(systemClock, {
    onFirst: () => tell('\nStopping: publishing what was read (Ctrl-C again stops at once)'),
    onSecond: () => tell(`Stopped at once: ${throughText(batches)}; of later lines it is not known.`),
  })
  try {
    await withClient(connection, undefined, async (client) => {
      const producer = client.producer(topic)
      const running = new PublishBatches(producer, {
        eventsMax: options.batch,
        bytesMax: batchBytesMax,
        outMax: batchesOutMax,
      })
      batches = running
      const progress = new Progress(
        systemClock,
        true,
        () => `${counted(running.eventCount, 'event')}, ${bytesText(running.byteCount)} published`,
      )
      try {
        const end = await publishLines(
          openInput(file, interrupts.signal),
          running,
          shape,
          options.skipBad === true,
          interrupts.signal,
        )
        await running.finish()
        progress.stop()
        conclude({ topic, file, end, batches: running, elapsedMs: progress.elapsedMs, interrupts })
      } finally {
        progress.stop()
      }
    })
  } finally {
    interrupts.stop()
  }
}

function shapeOf({ format, keyField, idField, timeField }: PublishOptions): InputShape {
  if (format === 'lines' && [keyField, idField, timeField].some((field) => field !== undefined)) {
    throw new CommandFailure(
      exitCode.usage,
      '--key-field, --id-field and --time-field need --format ndjson: plain lines have no fields',
    )
  }
  return { format, keyField, idField, timeField }
}

/** Ends, without its rest, when `signal` aborts. */
async function* openInput(file: string, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
  const stream: Readable = file === '-' ? process.stdin : createReadStream(file)
  if (file === '-' && process.stdin.isTTY) tell('Reading events from the terminal, one per line; Ctrl-D ends.')
  const stop = (): void => {
    stream.destroy()
  }
  signal.addEventListener('abort', stop)
  try {
    // Neither has an encoding: what comes are bytes.
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      yield chunk
      if (signal.aborted) return
    }
  } catch (thrown) {
    if (signal.aborted) return
    const name = file === '-' ? 'stdin' : file
    throw new CommandFailure(exitCode.usage, `${name} cannot be read (${errnoOf(thrown) ?? 'error'})`, thrown)
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

async function publishLines(
  input: AsyncIterable<Uint8Array>,
  batches: PublishBatches,
  shape: InputShape,
  skipBad: boolean,
  signal: AbortSignal,
): Promise<InputEnd> {
  let linesRead = 0
  let skipped = 0
  const take = async ({ number, bytes }: Line): Promise<string | undefined> => {
    const result = eventOfLine(bytes, shape)
    if (result.kind === 'event') await batches.add(result.event, result.bytes, number)
    if (result.kind !== 'bad') return undefined
    if (!skipBad) return result.why
    skipped += 1
    if (skipped <= badLinesTold) tell(`line ${grouped(number)}: ${oneLine(result.why)}; left out`)
    return undefined
  }
  for await (const lines of lineGroups(input, eventBytesMax, signal)) {
    for (const line of lines) {
      const why = await take(line)
      if (why !== undefined) return { linesRead, skipped, bad: { line: line.number, why } }
      linesRead = line.number
      if (batches.failed !== undefined) return { linesRead, skipped, bad: undefined }
    }
    batches.pause()
  }
  return { linesRead, skipped, bad: undefined }
}

interface Conclusion {
  readonly topic: string
  readonly file: string
  readonly end: InputEnd
  readonly batches: PublishBatches
  readonly elapsedMs: number
  readonly interrupts: Interrupts
}

/** Says how it ended; throws QuietEnd when that is not well. */
function conclude({ topic, file, end, batches, elapsedMs, interrupts }: Conclusion): void {
  const skipped = end.skipped === 0 ? '' : `; ${counted(end.skipped, 'bad line')} left out`
  tell(`published ${rateText(batches.eventCount, elapsedMs)} to ${oneLine(topic)}${skipped}`)
  const { failed } = batches
  if (failed !== undefined) {
    const { error, firstLine, lastLine } = failed
    const known =
      error.retryable || error.name === 'OUTCOME_UNKNOWN' ? 'it is not known whether they were published' : 'refused'
    tell(`lines ${grouped(firstLine)} to ${grouped(lastLine)}: ${known}; ${throughText(batches)}`)
    tell(describeError(error))
    throw new QuietEnd(exitCodeOf(error.name))
  }
  if (end.bad !== undefined) {
    tell(
      `line ${grouped(end.bad.line)}: ${oneLine(end.bad.why)}; every line before it is published, nothing from it on`,
    )
    throw new QuietEnd(exitCode.badData)
  }
  if (interrupts.exitCode !== undefined) {
    const next = end.linesRead + 1
    const how =
      file === '-'
        ? `line ${grouped(next)} comes next`
        : `go on with: tail -n +${next} ${oneLine(file)} | trunkline publish ${oneLine(topic)} …`
    tell(`interrupted: ${throughText(batches)}; ${how}`)
    throw new QuietEnd(interrupts.exitCode)
  }
}

function throughText(batches: PublishBatches | undefined): string {
  const line = batches?.publishedThrough ?? 0
  return line === 0 ? 'no line is known to be published' : `lines 1 to ${grouped(line)} are published`
}

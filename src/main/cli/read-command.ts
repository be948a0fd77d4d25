// Owns: `trunkline read`: events of a topic → stdout, acked when stdout has taken them.
// 1. Write, then ack, then cursor file: whatever ends it in between, an event comes again and none is left out.
// 2. SIGINT: the batch at hand is written, acked and remembered; one that is still under way was never handed out.
// 3. A reader of stdout that goes away is a quiet end; what it did not take is not acked.
import { type Command, Option } from 'commander'
import type { Batch, Reader, StartPosition } from '../../../sdk/typescript/src/index.ts'
import { systemClock } from '../../adapters/clock/system-clock.ts'
import type { Timer } from '../../ports/clock.ts'
import { type ErrorName, TrunklineError } from '../../protocol/errors.ts'
import { withClient } from './client-session.ts'
import { addConnectionOptions, type ConnectionOptions, resolveConnection } from './connection.ts'
import { CursorFile } from './cursor-file.ts'
import { type OutputForm, outputForms, printed } from './event-output.ts'
import { QuietEnd } from './failure.ts'
import { Interrupts } from './interrupts.ts'
import { startPosition, wholeNumber } from './option-values.ts'
import { tell, writeOut } from './output.ts'
import { bytesText, counted, Progress } from './progress.ts'

const batchEventsMax = 1_000
const followWaitMs = 30_000
/** Without --follow an empty answer after so long is the end of the topic. */
const endWaitMs = 500
const hintMs = 500

const help = `
Prints one JSON object per line: position, key, id, type, source, time, headers, payload. A payload that
is not JSON is text, and base64 when it is not UTF-8: payloadEncoding says so. --output payload prints
payloads only, each with a line end.

Without --follow it ends at the end of the topic. With --cursor-file it goes on where the last run
stopped; --from then only counts when the file is not there yet. A batch is acked when stdout has taken
it, and the file written after that: an event may come twice after a crash, never be left out. A program
behind a pipe has taken what is in the pipe: stop it with --max rather than by closing the pipe.

Examples:
  $ trunkline read quakes
  $ trunkline read quakes --from 2026-01-31T12:00:00Z --max 10 --output payload
  $ trunkline read quakes --from latest --follow | jq .payload.mag
  $ trunkline read quakes --follow --cursor-file quakes.cursor >> quakes.ndjson`

interface ReadOptions extends ConnectionOptions {
  readonly from: 'earliest' | 'latest' | number
  readonly cursorFile?: string
  readonly max?: number
  readonly follow?: true
  readonly output: OutputForm
  readonly onDamaged: 'stop' | 'skip'
}

export function addReadCommand(program: Command): void {
  const command = program
    .command('read')
    .description('print the events of a topic')
    .argument('<topic>')
    .option(
      '--from <start>',
      'earliest, latest, or a time (RFC 3339 or ms since 1970) of storing',
      startPosition,
      'earliest',
    )
    .option('--cursor-file <file>', 'go on from the cursor in this file, and keep it there')
    .option('--max <events>', 'end after so many', wholeNumber(1))
    .option('--follow', 'wait for more at the end of the topic')
    .addOption(new Option('--output <form>', 'what is printed').choices(outputForms).default('ndjson'))
    .addOption(
      new Option('--on-damaged <what>', 'events that can never be read again')
        .choices(['stop', 'skip'])
        .default('stop'),
    )
  addConnectionOptions(command)
    .addHelpText('after', help)
    .action((topic: string, options: ReadOptions) => runRead(topic, options))
}

async function runRead(topic: string, options: ReadOptions): Promise<void> {
  const connection = await resolveConnection(options, process.cwd())
  const cursorFile = options.cursorFile === undefined ? undefined : new CursorFile(options.cursorFile)
  const cursor = cursorFile?.read()
  let hint: Timer | undefined
  const interrupts = new Interrupts(systemClock, {
    // Mostly it ends at once, and there is nothing to say.
    onFirst: () => {
      hint = systemClock.after(hintMs, () => tell('Stopping: writing the events at hand (Ctrl-C again stops at once)'))
    },
    onSecond: () => tell('Stopped at once: the last events were not acked and come again.'),
  })
  try {
    await withClient(connection, topic, async (client) => {
      const reader = client.reader(topic, {
        from: startOf(options.from, cursor),
        batch: { maxEvents: Math.min(batchEventsMax, options.max ?? batchEventsMax) },
        waitMs: options.follow === true ? followWaitMs : endWaitMs,
        onDamaged: options.onDamaged === 'skip' ? 'skip' : 'throw',
      })
      await new ReadRun(reader, options, cursorFile, interrupts.signal).run()
      await reader.close()
      if (reader.skippedCount > 0) tell(`${counted(reader.skippedCount, 'damaged place')} left out`)
    })
  } finally {
    hint?.cancel()
    interrupts.stop()
  }
  if (interrupts.exitCode !== undefined) throw new QuietEnd(interrupts.exitCode)
}

function startOf(from: ReadOptions['from'], cursor: string | undefined): StartPosition {
  return cursor === undefined ? from : { cursor }
}

class ReadRun {
  readonly #reader: Reader
  readonly #options: ReadOptions
  readonly #cursorFile: CursorFile | undefined
  readonly #signal: AbortSignal
  #count = 0
  #bytes = 0

  constructor(reader: Reader, options: ReadOptions, cursorFile: CursorFile | undefined, signal: AbortSignal) {
    this.#reader = reader
    this.#options = options
    this.#cursorFile = cursorFile
    this.#signal = signal
  }

  async run(): Promise<void> {
    // On a terminal the events themselves are the progress.
    const progress = new Progress(
      systemClock,
      process.stdout.isTTY !== true,
      () => `${counted(this.#count, 'event')}, ${bytesText(this.#bytes)} read`,
    )
    try {
      while (!this.#signal.aborted) {
        const batch = await this.#pull()
        if (batch !== undefined && (await this.#handOver(batch)) === 'closed') return
        if (!this.#signal.aborted || batch !== undefined) this.#remember()
        if (this.#isDone(batch)) return
      }
    } finally {
      progress.stop()
    }
  }

  /** Undefined: nothing came, or a signal ended the wait. */
  async #pull(): Promise<Batch | undefined> {
    const stop = (): void => {
      // How it ends is asked by whoever closes the client.
      this.#reader.close().catch(() => undefined)
    }
    this.#signal.addEventListener('abort', stop)
    try {
      return await this.#reader.pull()
    } catch (thrown) {
      if (this.#signal.aborted) return undefined
      throw withWayOn(thrown)
    } finally {
      this.#signal.removeEventListener('abort', stop)
    }
  }

  /** Invariant 1. */
  async #handOver(batch: Batch): Promise<'written' | 'closed'> {
    const { max, output } = this.#options
    const taken = max === undefined ? batch.events : batch.events.slice(0, max - this.#count)
    const bytes = printed(taken, output)
    if ((await writeOut(bytes, systemClock)) === 'closed') return 'closed'
    await (taken.length === batch.events.length ? batch.ack() : batch.ack(taken.length))
    this.#count += taken.length
    this.#bytes += bytes.length
    return 'written'
  }

  #remember(): void {
    const { cursor } = this.#reader
    if (this.#cursorFile !== undefined && cursor !== undefined) this.#cursorFile.write(cursor)
  }

  #isDone(batch: Batch | undefined): boolean {
    const { max, follow } = this.#options
    if (max !== undefined && this.#count >= max) return true
    return follow !== true && (batch === undefined || batch.atEnd)
  }
}

const passable: readonly ErrorName[] = ['BLOCK_DAMAGED', 'KEY_SHREDDED', 'CURSOR_OUT_OF_RANGE']

function withWayOn(thrown: unknown): unknown {
  if (!(thrown instanceof TrunklineError) || !passable.includes(thrown.name)) return thrown
  return thrown.with({ details: { ...thrown.details, option: '--on-damaged skip' } })
}

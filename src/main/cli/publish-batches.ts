// Owns: events of `publish` on their way: joined into batches, a bounded number of them unanswered, and which lines are
// known to be published.
// 1. Sent at once when nothing is out; what comes meanwhile joins the next batch.
// 2. After the first batch that failed nothing more is sent.
import type { EventInput, Position } from '../../../sdk/typescript/src/index.ts'
import { TrunklineError } from '../../protocol/errors.ts'

/** Where batches go: the SDK's producer. */
export interface Publisher {
  publish(events: readonly EventInput[]): Promise<readonly Position[]>
}

export interface BatchBounds {
  /** Events of a batch. */
  readonly eventsMax: number
  /** Bytes of a batch; one larger event goes alone. */
  readonly bytesMax: number
  /** Batches unanswered at once. */
  readonly outMax: number
}

export interface FailedLines {
  readonly error: TrunklineError
  /** From 1; the batch reaches from the first to the last, both included. */
  readonly firstLine: number
  readonly lastLine: number
}

interface Batch {
  readonly events: EventInput[]
  readonly firstLine: number
  lastLine: number
  bytes: number
  state: 'open' | 'out' | 'published' | 'failed'
}

export class PublishBatches {
  readonly #publisher: Publisher
  readonly #bounds: BatchBounds
  #open: Batch | undefined
  /** Not yet published, in the order of lines. */
  readonly #batches: Batch[] = []
  #out = 0
  #waiters: (() => void)[] = []
  #failed: FailedLines | undefined
  #eventCount = 0
  #byteCount = 0
  #publishedThrough = 0

  constructor(publisher: Publisher, bounds: BatchBounds) {
    this.#publisher = publisher
    this.#bounds = bounds
  }

  /** Events published. */
  get eventCount(): number {
    return this.#eventCount
  }

  get byteCount(): number {
    return this.#byteCount
  }

  /** Every event of a line up to this one is published; 0: none is. */
  get publishedThrough(): number {
    return this.#publishedThrough
  }

  get failed(): FailedLines | undefined {
    return this.#failed
  }

  /** Takes an event; waits while too much is unanswered. */
  async add(event: EventInput, bytes: number, line: number): Promise<void> {
    if (this.#open !== undefined && this.#open.bytes + bytes > this.#bounds.bytesMax) await this.#sendOpen()
    const batch = this.#openBatch(line)
    batch.events.push(event)
    batch.lastLine = line
    batch.bytes += bytes
    if (batch.events.length >= this.#bounds.eventsMax) await this.#sendOpen()
  }

  /** Nothing more is at hand now: what waits need not wait for a full batch. */
  pause(): void {
    if (this.#out === 0) this.#send()
  }

  /** Resolves when everything taken is answered, well or not. */
  async finish(): Promise<void> {
    await this.#sendOpen()
    while (this.#out > 0) await this.#oneAnswered()
  }

  #openBatch(line: number): Batch {
    if (this.#open !== undefined) return this.#open
    const batch: Batch = { events: [], firstLine: line, lastLine: line, bytes: 0, state: 'open' }
    this.#open = batch
    this.#batches.push(batch)
    return batch
  }

  async #sendOpen(): Promise<void> {
    while (this.#out >= this.#bounds.outMax) await this.#oneAnswered()
    this.#send()
  }

  #send(): void {
    const batch = this.#open
    if (batch === undefined || this.#failed !== undefined) return
    this.#open = undefined
    batch.state = 'out'
    this.#out += 1
    this.#publisher.publish(batch.events).then(
      () => this.#answered(batch, undefined),
      (thrown: unknown) => this.#answered(batch, TrunklineError.from(thrown)),
    )
  }

  #answered(batch: Batch, error: TrunklineError | undefined): void {
    this.#out -= 1
    batch.state = error === undefined ? 'published' : 'failed'
    if (error === undefined) {
      this.#eventCount += batch.events.length
      this.#byteCount += batch.bytes
      this.#advance()
      this.pause()
    } else if (this.#failed === undefined || batch.firstLine < this.#failed.firstLine) {
      this.#failed = { error, firstLine: batch.firstLine, lastLine: batch.lastLine }
    }
    for (const wake of this.#waiters.splice(0)) wake()
  }

  #advance(): void {
    for (let head = this.#batches[0]; head?.state === 'published'; head = this.#batches[0]) {
      this.#publishedThrough = head.lastLine
      this.#batches.shift()
    }
  }

  #oneAnswered(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve))
  }
}

// Owns: publishing: events in, positions out; packing, numbering by the session machine, joining what waits.
// P1 Events leave in the order in which publish was called; a write keeps its number and its blocks until it is answered.
// P2 A publish is answered once: with the position of every event, or with the error of its write. Only the log's
//    word, or the retries being used up, answers it.
// P3 What waits is bounded by `bufferBytesMax`: a publish beyond it is refused with WINDOW_FULL, nothing of it is sent.
// Calls that wait while the window is full are joined into one write: they share its fate. A publish too large for one
// write is split in order; it is not atomic.
// Leaves out: sessions, retries, take-over (src/fsm/client).
import type {
  ClientSessionOutput,
  RetryPolicy,
  WriteOutcomeFacts,
} from '../../../src/fsm/client/client-session.types.ts'
import { hasRoom } from '../../../src/fsm/client/write-window.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { packedEventSize } from '../../../src/protocol/event-packing.ts'
import { blockBytesMax, writePartsMax } from '../../../src/protocol/limits.ts'
import { type Block, type Event, encoding, type PartResult } from '../../../src/protocol/messages.ts'
import { type EventPlace, packWriteWithPlaces, partitionForKey } from '../../../src/protocol/partitioning.ts'
import { type EventInput, eventOf, type Position, positionAt } from './events.ts'
import { type Environment, type OpenedInfo, SessionDriver } from './session-driver.ts'
import { uuidV7 } from './uuid-v7.ts'

export interface ProducerSettings {
  /** Blocks are compressed when that makes them smaller. Default 'gzip'. */
  readonly encoding: 'gzip' | 'none'
  /** CloudEvents source of events that name none. */
  readonly source: string | undefined
  /** Writes unanswered at once; default and upper bound: what the gateway announces (8). */
  readonly windowWrites: number | null
  /** Events handed over and not answered, in bytes. Default 64 MiB. */
  readonly bufferBytesMax: number
  /** Idle time after which the session is extended, ms; default: what the gateway announces (10,000). */
  readonly keepAliveMs: number | null
  readonly retry: RetryPolicy
}

/** Longer than any one write may take. */
const closeTimeoutMsDefault = 60_000
/** Raw bytes of one write: one frame holds it even when nothing compresses. */
const writeBytesTarget = blockBytesMax
/** Partitions one write may touch, with room for a partition that needs several blocks. */
const writePartitionsMax = writePartsMax / 2

interface Call {
  readonly events: readonly Event[]
  readonly sizes: readonly number[]
  readonly bytes: number
  readonly positions: (Position | undefined)[]
  /** Events that writes have taken. */
  taken: number
  /** Events without a position yet. */
  left: number
  settled: boolean
  readonly resolve: (positions: Position[]) => void
  readonly reject: (error: TrunklineError) => void
}

interface PlacedEvent {
  readonly call: Call
  readonly at: number
}

interface Write {
  readonly blocks: readonly Block[]
  /** members[i] went to places[i]. */
  readonly members: readonly PlacedEvent[]
  readonly places: readonly EventPlace[]
}

export class Producer {
  readonly topic: string
  readonly #environment: Environment
  readonly #settings: ProducerSettings
  readonly #onClosed: () => void
  #driver: SessionDriver | undefined
  #opened: OpenedInfo | undefined
  #queue: Call[] = []
  readonly #writes = new Map<number, Write>()
  #nextWriteId = 1
  #keylessPartition: number
  #bufferedBytes = 0
  #unanswered = 0
  #idleWaiters: (() => void)[] = []
  #pumping = false
  #closing: Promise<void> | undefined
  #disposed: (() => void) | undefined

  /** Use `client.producer(topic, options)`. */
  constructor(
    topic: string,
    environment: Environment,
    settings: ProducerSettings,
    onClosed: () => void = () => undefined,
  ) {
    this.topic = topic
    this.#environment = environment
    this.#settings = settings
    this.#onClosed = onClosed
    this.#keylessPartition = Math.floor(environment.random.fraction() * 1024)
  }

  /**
   * Publishes one event or many; resolves when the log has them all, with one position per event, in order. Bytes are
   * handed over: do not change them before it settles. An event is refused before anything is sent: EVENT_TOO_LARGE,
   * HEADERS_TOO_LARGE, BAD_EVENT, UNKNOWN_PARTITION, EMPTY_BATCH, WINDOW_FULL (bufferBytesMax). By the gateway:
   * UNKNOWN_TOPIC, FORBIDDEN, BLOCK_TOO_LARGE and others: nothing of that write landed, and later ones go on.
   * OUTCOME_UNKNOWN: the write was sent and nobody can tell whether it landed; later publishes go on as a new producer.
   */
  async publish(input: EventInput | readonly EventInput[]): Promise<Position[]> {
    if (this.#closing !== undefined) throw new TrunklineError('SESSION_CLOSED')
    const inputs = isMany(input) ? input : [input]
    if (inputs.length === 0) throw new TrunklineError('EMPTY_BATCH')
    const newId = (): string => uuidV7(this.#environment.clock.nowMs(), this.#environment.random.bytes(10))
    const events = inputs.map((one) => eventOf(one, { source: this.#settings.source, newId }))
    const sizes = events.map((event, index) => packedEventSize(event, index))
    const bytes = sizes.reduce((sum, size) => sum + size, 0)
    if (this.#bufferedBytes > 0 && this.#bufferedBytes + bytes > this.#settings.bufferBytesMax) {
      throw new TrunklineError('WINDOW_FULL', { details: { bufferBytesMax: String(this.#settings.bufferBytesMax) } })
    }
    return new Promise<Position[]>((resolve, reject) => {
      const positions = Array.from(events, (): Position | undefined => undefined)
      this.#queue.push({
        events,
        sizes,
        bytes,
        positions,
        taken: 0,
        left: events.length,
        settled: false,
        resolve,
        reject,
      })
      this.#bufferedBytes += bytes
      this.#unanswered += 1
      this.#schedulePump()
    })
  }

  /** Resolves when everything published so far is answered, well or not: errors are with each publish. */
  flush(): Promise<void> {
    if (this.#unanswered === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idleWaiters.push(resolve))
  }

  /**
   * Flushes, then ends the session. Later publishes are refused with SESSION_CLOSED. What is not answered within
   * `timeoutMs` is given up: its publish rejects (OUTCOME_UNKNOWN when it was sent, SESSION_CLOSED when not), and close
   * rejects with DEADLINE, details.unanswered. Idempotent: the first call's time counts.
   */
  close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options.timeoutMs ?? closeTimeoutMsDefault)
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(timeoutMs: number): Promise<void> {
    const unanswered = await this.#flushWithin(timeoutMs)
    const driver = this.#driver
    if (driver !== undefined && !driver.isOver) {
      const disposed = new Promise<void>((resolve) => {
        this.#disposed = resolve
      })
      driver.send({ type: 'DISPOSE' })
      await disposed
    }
    for (const call of [...this.#queue]) this.#failCall(call, new TrunklineError('SESSION_CLOSED'))
    this.#onClosed()
    if (unanswered > 0)
      throw new TrunklineError('DEADLINE', { details: { method: 'close', unanswered: String(unanswered) } })
  }

  /** Publishes that are not answered by then. */
  #flushWithin(timeoutMs: number): Promise<number> {
    return new Promise((resolve) => {
      const timer = this.#environment.clock.after(timeoutMs, () => resolve(this.#unanswered))
      void this.flush().then(() => {
        timer.cancel()
        resolve(0)
      })
    })
  }

  /** Publishes of one turn of the event loop's microtasks leave together. */
  #schedulePump(): void {
    if (this.#pumping) return
    this.#pumping = true
    queueMicrotask(() => {
      this.#pumping = false
      this.#pump()
    })
  }

  #pump(): void {
    if (this.#queue.length === 0) return
    const driver = this.#session()
    const opened = this.#opened
    if (opened === undefined) {
      driver.send({ type: 'OPEN' })
      return
    }
    while (this.#queue.length > 0 && this.#mayTake(driver, opened)) {
      const members = this.#takeMembers(opened.partitions)
      if (members.length > 0) this.#startWrite(driver, opened, members)
    }
  }

  #mayTake(driver: SessionDriver, { limits }: OpenedInfo): boolean {
    if (driver.isOver) return false
    const windowWrites = Math.min(this.#settings.windowWrites ?? limits.windowWrites, limits.windowWrites)
    return hasRoom(driver.context.window, { windowWrites, windowBytes: limits.windowBytes }, writeBytesTarget)
  }

  /** The next events in order, as many as one write may hold. */
  #takeMembers(partitions: number): PlacedEvent[] {
    const members: PlacedEvent[] = []
    const touched = new Set<number>()
    let bytes = 0
    for (let call = this.#queue[0]; call !== undefined; call = this.#queue[0]) {
      while (call.taken < call.events.length) {
        const at = call.taken
        const size = call.sizes[at] ?? 0
        if (members.length > 0 && bytes + size > writeBytesTarget) return members
        const partition = this.#partitionOf(call.events[at], partitions)
        if (touched.size >= writePartitionsMax && !touched.has(partition)) return members
        touched.add(partition)
        bytes += size
        members.push({ call, at })
        call.taken += 1
      }
      this.#queue.shift()
    }
    return members
  }

  #partitionOf(event: Event | undefined, partitions: number): number {
    if (event?.partition !== undefined) return event.partition
    return event?.key === undefined ? this.#keylessPartition % partitions : partitionForKey(event.key, partitions)
  }

  #startWrite(driver: SessionDriver, { partitions, limits }: OpenedInfo, members: readonly PlacedEvent[]): void {
    const options = {
      partitions,
      keylessPartition: this.#keylessPartition % partitions,
      encoding: this.#settings.encoding === 'gzip' ? encoding.gzip : encoding.none,
      blockBytesMax: limits.blockBytesMax,
      joinedBytesMax: limits.joinedBytesMax,
    }
    this.#keylessPartition += 1
    let packed: ReturnType<typeof packWriteWithPlaces>
    try {
      packed = packWriteWithPlaces(members.map(eventAt), options)
    } catch (thrown) {
      this.#failMembers(members, TrunklineError.from(thrown))
      return
    }
    const id = this.#nextWriteId++
    const { blocks, places } = packed
    this.#writes.set(id, { blocks, members, places })
    const bytes = blocks.reduce((sum, block) => sum + block.data.length, 0)
    driver.send({ type: 'WRITE', id, partitions: blocks.map(({ partition }) => partition), bytes })
  }

  /** One joined call with an event that cannot be packed must not take the others with it. */
  #failMembers(members: readonly PlacedEvent[], error: TrunklineError): void {
    const calls = [...new Set(members.map(({ call }) => call))]
    if (calls.length === 1) {
      this.#failCall(calls[0], error)
      return
    }
    const { details } = error
    const culprit = members[Number(details['event'] ?? Number.NaN)]?.call
    const partition = details['partition']
    const guilty = (call: Call): boolean =>
      call === culprit ||
      (partition !== undefined && call.events.some((event) => String(event.partition) === partition))
    const failed = calls.filter(guilty)
    for (const call of failed.length > 0 ? failed : calls) this.#failCall(call, error)
    const spared = calls.filter((call) => !call.settled)
    // Back to the head of the queue, in order, from the first event of this write on.
    for (const call of spared) call.taken = members.find((member) => member.call === call)?.at ?? call.taken
    this.#queue = [...spared.filter((call) => !this.#queue.includes(call)), ...this.#queue]
  }

  #session(): SessionDriver {
    if (this.#driver !== undefined && !this.#driver.isOver) return this.#driver
    this.#opened = undefined
    const driver = new SessionDriver({
      environment: this.#environment,
      topic: this.topic,
      input: {
        mode: 'write',
        retry: this.#settings.retry,
        keepAliveMs: this.#settings.keepAliveMs,
        windowWrites: this.#settings.windowWrites,
        cursor: null,
      },
      blocksOf: (id) => this.#writes.get(id)?.blocks ?? [],
      handlers: {
        opened: (info) => {
          this.#opened = info
          this.#schedulePump()
        },
        settled: (id, outcome) => this.#settle(id, outcome),
        done: () => undefined,
        failed: () => undefined,
        lost: () => undefined,
        ended: (output) => this.#ended(driver, output),
      },
    })
    this.#driver = driver
    return driver
  }

  #settle(id: number, outcome: WriteOutcomeFacts): void {
    const write = this.#writes.get(id)
    if (write === undefined) throw new Error('a write is settled once')
    this.#writes.delete(id)
    switch (outcome.kind) {
      case 'landed':
        this.#place(write, outcome.parts)
        break
      case 'refused':
      case 'unknown':
        for (const { call } of write.members) this.#failCall(call, outcome.error)
    }
    this.#schedulePump()
  }

  #place({ blocks, members, places }: Write, parts: readonly PartResult[]): void {
    const landed = new Map(parts.map((result) => [result.part, result]))
    for (const [i, { call, at }] of members.entries()) {
      const place = places[i]
      const block = place === undefined ? undefined : blocks[place.part]
      const { offset, perEvent } = landed.get(place?.part ?? -1) ?? {}
      if (place === undefined || block === undefined || offset === undefined) {
        this.#failCall(call, new TrunklineError('INTERNAL', { details: { field: 'parts' } }))
        continue
      }
      // In a plain topic every event is a record of its own.
      call.positions[at] =
        perEvent === true
          ? positionAt(block.partition, offset + place.index, 0)
          : positionAt(block.partition, offset, place.index)
      call.left -= 1
      if (call.left === 0)
        this.#answer(call, () => call.resolve(call.positions.filter((position) => position !== undefined)))
    }
  }

  #failCall(call: Call | undefined, error: TrunklineError): void {
    if (call === undefined) return
    this.#queue = this.#queue.filter((waiting) => waiting !== call)
    const published = call.positions.filter((position) => position !== undefined).length
    const told = published === 0 ? error : error.with({ details: { published: String(published) } })
    this.#answer(call, () => call.reject(told))
  }

  #answer(call: Call, tell: () => void): void {
    if (call.settled) return
    call.settled = true
    this.#bufferedBytes -= call.bytes
    this.#unanswered -= 1
    tell()
    if (this.#unanswered === 0) for (const wake of this.#idleWaiters.splice(0)) wake()
  }

  /** Everything the machine held is settled by now; what it never got shares the reason. */
  #ended(driver: SessionDriver, { error }: ClientSessionOutput): void {
    if (this.#driver === driver) {
      this.#driver = undefined
      this.#opened = undefined
    }
    if (error !== null) for (const call of [...this.#queue]) this.#failCall(call, error)
    this.#disposed?.()
  }
}

function eventAt({ call, at }: PlacedEvent): Event {
  const event = call.events[at]
  if (event === undefined) throw new Error('a member names an event of its call')
  return event
}

function isMany(input: EventInput | readonly EventInput[]): input is readonly EventInput[] {
  return Array.isArray(input)
}

// Owns: events as an application gives and gets them.
import type { Event } from '../../../src/protocol/messages.ts'
import { formatPosition } from '../../../src/protocol/position.ts'

/** An event to publish. Text is sent as UTF-8. */
export interface EventInput {
  /** Events with one key go to one partition and keep their order. Default: no key, spread over the partitions. */
  readonly key?: string | Uint8Array | undefined
  /** Default empty. null: none at all, which a topic of format plain stores as a tombstone. */
  readonly payload?: string | Uint8Array | null | undefined
  /** At most 64 names, 16 KiB in all. */
  readonly headers?: Readonly<Record<string, string>> | ReadonlyMap<string, string> | undefined
  /** When it happened; ms since 1970 as a number. Default: the gateway's append time, when it is read. */
  readonly timestamp?: Date | number | undefined
  /** Default: a UUIDv7. Never used to drop duplicates. */
  readonly id?: string | undefined
  /** Default `event`. */
  readonly type?: string | undefined
  /** Default: the producer's `source`. */
  readonly source?: string | undefined
  /** Default: by key. */
  readonly partition?: number | undefined
}

/** Where an event is in its topic. */
export interface Position {
  readonly partition: number
  readonly offset: number
  readonly index: number
  /** `partition:offset:index`, stable, fit for people. */
  toString(): string
}

class EventPosition implements Position {
  readonly partition: number
  readonly offset: number
  readonly index: number

  constructor(partition: number, offset: number, index: number) {
    this.partition = partition
    this.offset = offset
    this.index = index
  }

  toString(): string {
    return formatPosition(this)
  }

  toJSON(): string {
    return formatPosition(this)
  }
}

export function positionAt(partition: number, offset: number, index: number): Position {
  return new EventPosition(partition, offset, index)
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const noBytes = new Uint8Array()
const noHeaders: ReadonlyMap<string, string> = new Map()

/** An event as it was read. Bytes are views into the batch: copy what you keep for long. */
export class ReceivedEvent {
  readonly key: Uint8Array | undefined
  /** Empty also when there is none. */
  readonly payload: Uint8Array
  /** Without a payload: in a topic of format plain a tombstone. */
  readonly isTombstone: boolean
  readonly headers: ReadonlyMap<string, string>
  /** The event's own time, or its append time when it had none; ms since 1970. */
  readonly timestampMs: number
  readonly id: string | undefined
  readonly type: string | undefined
  readonly source: string | undefined
  readonly position: Position
  /** When the gateway stored it; ms since 1970. */
  readonly appendTimeMs: number

  constructor(event: Event) {
    this.key = event.key
    this.payload = event.payload ?? noBytes
    this.isTombstone = event.payload === undefined
    this.headers = event.headers ?? noHeaders
    this.appendTimeMs = event.appendTimeMs ?? 0
    this.timestampMs = event.timestampMs ?? this.appendTimeMs
    this.id = event.id
    this.type = event.type
    this.source = event.source
    this.position = positionAt(event.partition ?? 0, event.offset ?? 0, event.index ?? 0)
  }

  /** The payload as UTF-8. */
  text(): string {
    return decoder.decode(this.payload)
  }

  /** The payload as JSON. Throws SyntaxError when it is none. */
  json(): unknown {
    return JSON.parse(this.text())
  }

  /** The key as UTF-8. */
  keyText(): string | undefined {
    return this.key === undefined ? undefined : decoder.decode(this.key)
  }
}

export interface EventDefaults {
  readonly source: string | undefined
  readonly newId: () => string
}

/** The event as it is packed. Limits are checked by the packing. */
export function eventOf(input: EventInput, defaults: EventDefaults): Event {
  const { timestamp, headers } = input
  return {
    ...(input.key === undefined ? {} : { key: bytesOf(input.key) }),
    ...(input.payload === null ? {} : { payload: input.payload === undefined ? noBytes : bytesOf(input.payload) }),
    ...(headers === undefined ? {} : { headers: headers instanceof Map ? headers : new Map(Object.entries(headers)) }),
    ...(timestamp === undefined ? {} : { timestampMs: timestamp instanceof Date ? timestamp.getTime() : timestamp }),
    id: input.id ?? defaults.newId(),
    type: input.type ?? 'event',
    ...(input.source === undefined && defaults.source === undefined ? {} : { source: input.source ?? defaults.source }),
    ...(input.partition === undefined ? {} : { partition: input.partition }),
  }
}

function bytesOf(value: string | Uint8Array): Uint8Array {
  return typeof value === 'string' ? encoder.encode(value) : value
}

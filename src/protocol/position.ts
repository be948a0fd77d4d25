// Owns: positions as people see them: `partition:offset:index` (docs/formats.md "Position").
// Leaves out: cursors (cursor-content.ts), which are opaque to clients.
import { TrunklineError } from './errors.ts'

/** A place inside one partition: the record's offset and the event's index in its block. */
export interface PartitionPosition {
  readonly offset: number
  readonly index: number
}

/** One event's place in a topic. */
export interface Position extends PartitionPosition {
  readonly partition: number
}

const pattern = /^(0|[1-9]\d{0,9}):(0|[1-9]\d{0,15}):(0|[1-9]\d{0,4})$/
const i32Max = 2 ** 31 - 1
const u16Max = 0xffff

export function formatPosition(position: Position): string {
  return `${position.partition}:${position.offset}:${position.index}`
}

/** Decimal numbers without leading zeros, nothing else. Errors: BAD_REQUEST {field: 'position'}. */
export function parsePosition(text: string): Position {
  const [, partition, offset, index] = pattern.exec(text) ?? []
  const position = { partition: Number(partition), offset: Number(offset), index: Number(index) }
  // A text that does not match gives NaN, which no comparison lets through.
  if (position.partition <= i32Max && Number.isSafeInteger(position.offset) && position.index <= u16Max) return position
  throw new TrunklineError('BAD_REQUEST', { details: { field: 'position', why: 'not partition:offset:index' } })
}

/** Negative when `a` comes before `b` in their partition, 0 when they are the same place. */
export function comparePositions(a: PartitionPosition, b: PartitionPosition): number {
  return a.offset - b.offset || a.index - b.index
}

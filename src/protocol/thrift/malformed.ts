// Owns: the one failure of the Thrift layer.
// 1. Details are {field?, why}: names from our own schemas and fixed words, never bytes of the frame.
import { TrunklineError } from '../errors.ts'

/** MALFORMED_FRAME; `field` is `Struct.field` of our schemas. */
export function malformed(why: string, field?: string): TrunklineError {
  return new TrunklineError('MALFORMED_FRAME', { details: field === undefined ? { why } : { field, why } })
}

// Owns: TrunklineError ⇄ the exception's struct of the wire.
// 1. Only catalogue text, details, turn, expected and cursor travel; message and cause of what was caught never do.
// 2. A received error remembers the struct it came in: its MAC covers what was sent, not what this side knows of it.

import { TrunklineError } from './errors.ts'
import { errorCatalog } from './generated/errors.ts'
import type { ErrorStruct } from './messages.ts'

export function errorToStruct(error: TrunklineError): ErrorStruct {
  const details = Object.entries(error.details)
  return {
    code: error.code,
    name: error.name,
    retryable: error.retryable,
    retryAfterMs: error.retryAfterMs,
    advice: errorCatalog[error.name].advice,
    details: details.length === 0 ? undefined : new Map(details),
    turn: error.turn,
    expected: error.expected,
    cursor: error.cursor,
  }
}

/** The error of a received struct; a code of a newer server is INTERNAL. Copies the bytes it keeps out of the frame. */
export function errorFromStruct(struct: ErrorStruct): TrunklineError {
  const { turn } = struct
  const error = TrunklineError.fromCode(struct.code, {
    ...(struct.details === undefined ? {} : { details: Object.fromEntries(struct.details) }),
    ...(struct.expected === undefined ? {} : { expected: struct.expected }),
    ...(struct.cursor === undefined ? {} : { cursor: struct.cursor.slice() }),
    ...(struct.retryAfterMs === undefined ? {} : { retryAfterMs: struct.retryAfterMs }),
    ...(turn === undefined
      ? {}
      : { turn: { ...turn, challenge: turn.challenge.slice(), ...(turn.mac && { mac: turn.mac.slice() }) } }),
  })
  received.set(error, struct)
  return error
}

const received = new WeakMap<TrunklineError, ErrorStruct | 'unsigned'>()

/** Marks an error that a peer answered in a form that cannot be signed (an HTTP status, a TApplicationException). */
export function unsigned(error: TrunklineError): TrunklineError {
  received.set(error, 'unsigned')
  return error
}

/** How it came: its struct, in a form without one, or (undefined) it was made on this side. */
export function structOf(error: TrunklineError): ErrorStruct | 'unsigned' | undefined {
  return received.get(error)
}

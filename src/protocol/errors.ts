// Owns: the one error class that crosses borders, built from idl/errors.json.
// 1. An error's text is its catalogue advice: a library's message never travels; `cause` is for logs only.
// 2. `details` hold names and numbers, never payloads, keys or tokens.
// Leaves out: how a tier maps it to HTTP or Thrift.
import { type ErrorName, errorCatalog, errorNameByNumber } from './generated/errors.ts'
import type { Turn } from './messages.ts'

export type { ErrorName }

export interface ErrorExtras {
  /** What a caller may read to act: field names, limits, positions. */
  readonly details?: Readonly<Record<string, string>>
  /** The sequence or step the server waits for. */
  readonly expected?: number
  /** A sealed cursor to go on from. */
  readonly cursor?: Uint8Array
  readonly retryAfterMs?: number
  readonly turn?: Turn
  /** For logs only; never sent. */
  readonly cause?: unknown
}

export class TrunklineError extends Error {
  override readonly name: ErrorName
  readonly details: Readonly<Record<string, string>>
  readonly expected: number | undefined
  readonly cursor: Uint8Array | undefined
  readonly retryAfterMs: number | undefined
  readonly turn: Turn | undefined

  constructor(name: ErrorName, extras: ErrorExtras = {}) {
    super(errorCatalog[name].advice, extras.cause === undefined ? {} : { cause: extras.cause })
    this.name = name
    this.details = extras.details ?? {}
    this.expected = extras.expected
    this.cursor = extras.cursor
    this.retryAfterMs = extras.retryAfterMs ?? catalogRetryAfterMs(name)
    this.turn = extras.turn
  }

  /** The stable number of idl/errors.json. */
  get code(): number {
    return errorCatalog[this.name].number
  }

  get retryable(): boolean {
    return errorCatalog[this.name].retryable
  }

  get http(): number {
    return errorCatalog[this.name].http
  }

  /** The same error with other extras laid over its own. */
  with(extras: ErrorExtras): TrunklineError {
    return new TrunklineError(this.name, {
      details: { ...this.details, ...extras.details },
      ...optional('expected', extras.expected ?? this.expected),
      ...optional('cursor', extras.cursor ?? this.cursor),
      ...optional('retryAfterMs', extras.retryAfterMs ?? this.retryAfterMs),
      ...optional('turn', extras.turn ?? this.turn),
      ...optional('cause', extras.cause ?? this.cause),
    })
  }

  /** Anything thrown becomes ours: a stranger is INTERNAL, with the original as cause. */
  static from(thrown: unknown, otherwise: ErrorName = 'INTERNAL'): TrunklineError {
    return thrown instanceof TrunklineError ? thrown : new TrunklineError(otherwise, { cause: thrown })
  }

  /** An error by its wire number; unknown numbers (a newer server) are INTERNAL with the number in details. */
  static fromCode(code: number, extras: ErrorExtras = {}): TrunklineError {
    const name = errorNameByNumber.get(code)
    if (name !== undefined) return new TrunklineError(name, extras)
    return new TrunklineError('INTERNAL', { ...extras, details: { ...extras.details, code: String(code) } })
  }
}

export function isErrorNamed(thrown: unknown, ...names: readonly ErrorName[]): thrown is TrunklineError {
  return thrown instanceof TrunklineError && names.includes(thrown.name)
}

function catalogRetryAfterMs(name: ErrorName): number | undefined {
  const entry = errorCatalog[name]
  return 'retryAfterMs' in entry ? entry.retryAfterMs : undefined
}

function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: V })
}

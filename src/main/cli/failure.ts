// Owns: how a command fails: a sentence for a person and an exit code; what is printed, and what never is.
// 1. One line per problem: the catalogue's advice with its details, or our own sentence. Never a stack, unless
//    TRUNKLINE_DEBUG=1, which adds the stack and the causes.
// 2. Text of the gateway is printed without control characters: it cannot move a terminal's cursor.
import { TrunklineError } from '../../protocol/errors.ts'
import { type ExitCode, exitCode, exitCodeOf } from './exit-codes.ts'

/** An error that the command line itself found; the catalogue has no name for it. */
export class CommandFailure extends Error {
  readonly exitCode: ExitCode

  constructor(code: ExitCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause })
    this.exitCode = code
  }
}

/** The command has said what there is to say; only the exit code is left. */
export class QuietEnd extends Error {
  readonly exitCode: ExitCode

  constructor(code: ExitCode) {
    super('ended')
    this.exitCode = code
  }
}

export function exitCodeOfThrown(thrown: unknown): ExitCode {
  if (thrown instanceof CommandFailure || thrown instanceof QuietEnd) return thrown.exitCode
  if (thrown instanceof TrunklineError) return exitCodeOf(thrown.name)
  return exitCode.unexpected
}

/** Lines for stderr, without the last line end; empty for a QuietEnd. */
export function describeThrown(thrown: unknown, debug: boolean): string {
  if (thrown instanceof QuietEnd) return ''
  return debug ? `${sentenceOf(thrown)}\n${stackOf(thrown)}` : sentenceOf(thrown)
}

function sentenceOf(thrown: unknown): string {
  if (thrown instanceof CommandFailure) return `trunkline: ${oneLine(thrown.message)}`
  if (thrown instanceof TrunklineError) return describeError(thrown)
  const code = errnoOf(thrown)
  return code === undefined
    ? 'trunkline: an unexpected error; run it again with TRUNKLINE_DEBUG=1 to see where'
    : `trunkline: the system answered ${code}; run it again with TRUNKLINE_DEBUG=1 to see where`
}

/** `NAME: advice (detail: value, …)`; a configuration's problems on a line each. */
export function describeError(error: TrunklineError): string {
  const details = Object.entries(error.details).map(([name, value]) => `${name}: ${value}`)
  if (error.name === 'BAD_CONFIG') {
    return [`${error.name}: ${error.message}`, ...details.map((detail) => `  ${oneLine(detail)}`)].join('\n')
  }
  return oneLine(`${error.name}: ${error.message}${details.length === 0 ? '' : ` (${details.join(', ')})`}`)
}

export function errnoOf(thrown: unknown): string | undefined {
  if (typeof thrown !== 'object' || thrown === null || !('code' in thrown)) return undefined
  return typeof thrown.code === 'string' && /^E[A-Z0-9]+$/.test(thrown.code) ? thrown.code : undefined
}

/** Invariant 2. */
export function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, ' ')
}

function stackOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown)
  const own = thrown.stack ?? thrown.message
  return thrown.cause === undefined ? own : `${own}\ncaused by ${stackOf(thrown.cause)}`
}

// Owns: the gateway's log: JSON lines, or short lines for a person at a terminal, on stderr (stdout is for data).
// The message is what happened, constant; the fields are which. `error` needs a person, `warn` is degraded service,
// `info` is lifecycle, `debug` is per request.
// 1. Only the fields of log-fields.ts are written. Never payloads, keys or tokens.
// 2. A line is one line: control characters of values are escaped in both forms.
// Leaves out: where time comes from (the caller gives it).
import { destination, type Level, pino } from 'pino'
import { allowedFields, type LogFields } from './log-fields.ts'
import { prettyLine } from './pretty-line.ts'

export type { LogFields } from './log-fields.ts'

export interface Logger {
  /** Per request. */
  debug(fields: LogFields, message: string): void
  /** Lifecycle. */
  info(fields: LogFields, message: string): void
  /** Service is degraded. */
  warn(fields: LogFields, message: string): void
  /** A person has to look. */
  error(fields: LogFields, message: string): void
  /** The same log with fields that every line of it carries. */
  with(fields: LogFields): Logger
}

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]
export const logFormats = ['auto', 'json', 'pretty'] as const
export type LogFormat = (typeof logFormats)[number]

export interface LineSink {
  write(line: string): void
}

export interface LoggerOptions {
  /** Default info. */
  readonly level?: LogLevel
  /** Default auto: pretty when `isTerminal`, JSON otherwise. */
  readonly format?: LogFormat
  /** Whether the sink is a terminal. Default: what stderr is. */
  readonly isTerminal?: boolean
  /** Wall time, ms since 1970. */
  readonly nowMs: () => number
  /** Default stderr, written synchronously: the last line before a crash is there. */
  readonly sink?: LineSink
  /** Fields of every line, such as nodeId. */
  readonly fields?: LogFields
}

/** A log that nobody reads. */
export const nullLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  with: () => nullLogger,
}

export function createLogger(options: LoggerOptions): Logger {
  const { level = 'info', format = 'auto', isTerminal = process.stderr.isTTY === true, nowMs } = options
  const stderr = options.sink ?? destination({ dest: 2, sync: true })
  const pretty = format === 'pretty' || (format === 'auto' && isTerminal)
  const sink: LineSink = pretty ? { write: (line) => stderr.write(prettyLine(line, isTerminal)) } : stderr
  const writer = pino(
    {
      level,
      base: null,
      messageKey: 'message',
      formatters: { level: (label) => ({ level: label }) },
      timestamp: () => `,"time":"${new Date(nowMs()).toISOString()}"`,
      // Ours are described before (log-fields.ts); pino's own serializer would write messages.
      serializers: { err: (err: unknown) => err },
    },
    sink,
  )
  const base = options.fields === undefined ? {} : allowedFields(options.fields)

  function under(bound: Record<string, unknown>): Logger {
    const at =
      (name: Level) =>
      (fields: LogFields, message: string): void => {
        if (writer.isLevelEnabled(name)) writer[name]({ ...bound, ...allowedFields(fields) }, message)
      }
    return {
      debug: at('debug'),
      info: at('info'),
      warn: at('warn'),
      error: at('error'),
      with: (fields) => under({ ...bound, ...allowedFields(fields) }),
    }
  }
  return under(base)
}

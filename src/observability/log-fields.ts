// Owns: the dictionary of log fields, and what an error may say in a log.
// 1. Closed: a field that is not listed here never reaches a log, whatever its caller passed. So payloads, keys,
//    headers, bearers and session tokens have no way in.
// 2. Values are short texts, numbers or booleans; longer texts are cut.
// 3. An error is written by its class, code and stack frames. Its message is written only where it cannot hold what a
//    client sent: ours (catalogue texts), and plain assertions. Parsers and Node's argument checks quote their input.

/** One line each: what it is. Names are part of the operators' interface. */
export const logFieldMeanings = {
  tier: 'api, stream or main',
  nodeId: 'stream node, without its epoch',
  key: 'incarnation of a stream node, <nodeId>.<epoch>',
  shard: 'shard of the switchboard',
  broker: 'broker of the log, host:port or its number',
  listener: 'http, thrift or admin',
  sessionId: 'short public id of a session',
  producerId: 'producer, 32 hex digits',
  topic: 'topic name',
  partition: 'partition number',
  offset: 'offset in the partition',
  batchId: 'batch of an append',
  step: 'n of a read or a write',
  requestId: 'id of one request, echoed to its caller',
  traceparent: 'W3C trace context',
  method: 'method of the protocol',
  outcome: 'how it ended',
  errorCode: 'name of idl/errors.json',
  attempt: 'which try, from 1',
  durationMs: 'how long it took',
  waitMs: 'how long it will wait',
  state: 'state of a machine',
  event: 'event of a machine, or of a connection',
  machine: 'name of a machine',
  keyId: 'id of a key, never the key',
  tenant: 'tenant of the caller',
  clientId: 'client of the caller',
  subject: 'subject of the caller',
  issuer: 'issuer of the bearer',
  action: 'what the caller asked for: publish, read, admin, any of them, or hmac-md5',
  rule: 'id of a rule of the policy, the scope that granted it, or the setting',
  problem: 'what is wrong with a file of the gateway, without its content',
  provider: 'name of a provider of access tokens',
  remote: 'peer address',
  host: 'address listened on',
  port: 'port listened on',
  url: 'address to connect to, without credentials',
  path: 'file or folder of the gateway',
  version: 'version of the gateway',
  pid: 'process id',
  signal: 'signal of the operating system',
  exitCode: 'exit code of the process',
  reason: 'why, one of a few constant texts',
  count: 'how many',
  bytes: 'how large',
  limit: 'the bound that was met',
} as const

export type LogFieldName = keyof typeof logFieldMeanings
export type LogValue = string | number | boolean

export type LogFields = { readonly [Name in LogFieldName]?: LogValue | undefined } & {
  /** Anything thrown; written as class, code, frames and cause. */
  readonly err?: unknown
  /** The effective configuration, redacted (src/config). */
  readonly settings?: Readonly<Record<string, LogValue>> | undefined
}

export interface LoggedError {
  readonly type: string
  readonly code?: string
  readonly message?: string
  readonly stack?: string
  readonly cause?: LoggedError
}

const textCharsMax = 256
const framesMax = 12
const causesMax = 3
const assertionNames = new Set(['Error', 'TypeError', 'RangeError', 'ReferenceError', 'AggregateError'])

/** What is written of the fields given; see the invariants. */
export function allowedFields(fields: LogFields): Record<string, unknown> {
  const allowed: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue
    if (name === 'err') allowed['err'] = describeError(value)
    else if (name === 'settings') allowed['settings'] = allowedSettings(value)
    else if (Object.hasOwn(logFieldMeanings, name)) allowed[name] = allowedValue(value)
  }
  return allowed
}

/** An error as logs show it; anything else that was thrown by its type only. */
export function describeError(thrown: unknown, depth = 0): LoggedError {
  if (!(thrown instanceof Error)) return { type: typeof thrown }
  const code = codeOf(thrown)
  const stack = framesOf(thrown)
  const message = mayShowMessage(thrown, code) ? cut(thrown.message) : undefined
  const cause = thrown.cause === undefined || depth >= causesMax ? undefined : describeError(thrown.cause, depth + 1)
  return {
    type: cut(thrown.name),
    ...(code === undefined ? {} : { code }),
    ...(message === undefined ? {} : { message }),
    ...(stack === '' ? {} : { stack }),
    ...(cause === undefined ? {} : { cause }),
  }
}

function mayShowMessage(error: Error, code: string | undefined): boolean {
  // Ours: the text is the catalogue's advice (src/protocol/errors.ts), known by its numeric code.
  if ('code' in error && typeof error.code === 'number' && 'retryable' in error) return true
  // Errors of the operating system name a call and perhaps a path of ours.
  if (code !== undefined) return 'syscall' in error
  return assertionNames.has(error.name)
}

function codeOf(error: Error): string | undefined {
  if (!('code' in error)) return undefined
  return typeof error.code === 'string' || typeof error.code === 'number' ? cut(String(error.code)) : undefined
}

/** The frames without the head, which repeats the message (and may have several lines, even ones like frames). */
function framesOf(error: Error): string {
  const lines = (error.stack ?? '').replace(error.message, '').split('\n')
  return lines
    .filter((line) => /^\s+at .*(:\d+:\d+\)?|<anonymous>\)?|native\)?)$/.test(line))
    .slice(0, framesMax)
    .map((line) => cut(line.trim()))
    .join('\n')
}

function allowedValue(value: unknown): LogValue {
  switch (typeof value) {
    case 'string':
      return cut(value)
    case 'number':
    case 'boolean':
      return value
    case 'bigint':
      return value.toString()
    default:
      // An object, where a short text belongs, is a defect of the caller; its content stays out.
      return `[${typeof value}]`
  }
}

function allowedSettings(settings: unknown): Record<string, LogValue> {
  if (typeof settings !== 'object' || settings === null) return {}
  return Object.fromEntries(Object.entries(settings).map(([name, value]) => [cut(name), allowedValue(value)]))
}

function cut(text: string): string {
  return text.length <= textCharsMax ? text : `${text.slice(0, textCharsMax)}…`
}

// Owns: the exit codes of the command line, one per class of error (docs/cli.md lists them; a test holds both together).
// 1. Every error of the catalogue has a class: by its HTTP status, except where the command line knows better.
import type { ErrorName } from '../../protocol/errors.ts'
import { errorCatalog } from '../../protocol/generated/errors.ts'

export const exitCode = {
  ok: 0,
  /** A defect, or something of the machine that has no class. */
  unexpected: 1,
  /** Options, arguments, settings. */
  usage: 2,
  /** The gateway, or what lies behind it, cannot be reached or cannot serve now. */
  unavailable: 3,
  /** Wrong or missing credentials, or not allowed. */
  authentication: 4,
  /** No such topic or partition, or retention removed the events. */
  notFound: 5,
  /** In use, exists, changed meanwhile. */
  conflict: 6,
  /** A bad line, event or cursor; damaged data; missing or wrong keys. */
  badData: 7,
  /** 128 + SIGINT and 128 + SIGTERM: stopped by a signal before the work was done. */
  interrupted: 130,
  terminated: 143,
} as const

export type ExitCode = (typeof exitCode)[keyof typeof exitCode]

const byName: Partial<Record<ErrorName, ExitCode>> = {
  UNKNOWN_METHOD: exitCode.unexpected,
  UNSUPPORTED: exitCode.usage,
  BAD_TOPIC_NAME: exitCode.usage,
  BAD_TOPIC_SETTING: exitCode.usage,
  BAD_CONFIG: exitCode.usage,
  SESSION_GONE: exitCode.unavailable,
  SESSION_CLOSED: exitCode.conflict,
  KEY_SHREDDED: exitCode.badData,
  KEYRING_MISSING: exitCode.badData,
  KEYRING_UNREADABLE: exitCode.badData,
  KEYRING_WRONG: exitCode.badData,
  DATA_DIR_DAMAGED: exitCode.badData,
  BROKER_REFUSED: exitCode.authentication,
  TLS_REFUSED: exitCode.authentication,
}

export function exitCodeOf(name: ErrorName): ExitCode {
  return byName[name] ?? byHttpStatus(errorCatalog[name].http)
}

function byHttpStatus(status: number): ExitCode {
  switch (status) {
    case 401:
    case 403:
      return exitCode.authentication
    case 404:
    case 410:
      return exitCode.notFound
    case 409:
      return exitCode.conflict
    case 400:
    case 413:
    case 415:
    case 422:
      return exitCode.badData
    case 429:
    case 503:
      return exitCode.unavailable
    default:
      return exitCode.unexpected
  }
}

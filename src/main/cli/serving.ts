// Owns: running what serves until a signal stops it; shared by `dev`, `api` and `stream`.
// 1. The first signal drains, the next one ends at once; a drain that takes longer than `shutdownTimeoutMs` is ended.
// 2. SIGHUP reads files again where there are some to read, away from a terminal; elsewhere it is a stop.
// 3. What cannot start says so in one clear line, when a person can do something about it.
import { systemClock } from '../../adapters/clock/system-clock.ts'
import type { ProcessConfig } from '../../config/roles.ts'
import type { Clock } from '../../ports/clock.ts'
import { exitCode } from './exit-codes.ts'
import { CommandFailure, errnoOf } from './failure.ts'
import { Interrupts } from './interrupts.ts'
import { tell } from './output.ts'

export interface Served {
  /** Settles when it cannot serve any more by itself, with the reason. */
  readonly ended: Promise<Error | undefined>
  /** What SIGHUP asks for; undefined: then it is a stop like the others. */
  readonly reload?: (() => void) | undefined
  close(): Promise<void>
}

export interface ServingOptions<S extends Served> {
  readonly config: ProcessConfig
  readonly start: () => Promise<S>
  readonly onStarted?: (served: S) => void
  /** After the close, however that went. */
  readonly onClosed?: () => void
}

/** Resolves after a clean stop. Rejects with what kept it from starting, ended it, or cut its stop short. */
export async function serveUntilStopped<S extends Served>(options: ServingOptions<S>): Promise<void> {
  let reload: (() => void) | undefined
  const interrupts = new Interrupts(systemClock, {
    // At a terminal it says that the terminal is gone.
    onHangUp: () => {
      if (reload === undefined || process.stdin.isTTY) return false
      reload()
      return true
    },
    onFirst: () => tell('Stopping: finishing what was begun (Ctrl-C again stops at once)'),
    onSecond: () => tell('Stopped at once.'),
  })
  try {
    // Before anything listens: a signal while it starts is a stop too.
    const stopped = new Promise<undefined>((resolveStop) => {
      interrupts.signal.addEventListener('abort', () => resolveStop(undefined))
    })
    const served = await options.start()
    reload = served.reload
    options.onStarted?.(served)
    const reason = await Promise.race([served.ended, stopped])
    try {
      await closedWithin(systemClock, options.config.shutdownTimeoutMs, served.close())
    } finally {
      options.onClosed?.()
    }
    if (reason !== undefined) throw reason
    if (!interrupts.signal.aborted) throw new CommandFailure(exitCode.unexpected, 'the gateway ended by itself')
    tell('Stopped.')
  } finally {
    interrupts.stop()
  }
}

/** What Node says of a port, as a sentence; undefined when it is about something else. */
export function portFailure(thrown: unknown): CommandFailure | undefined {
  const facts: Readonly<Record<string, unknown>> = { ...(typeof thrown === 'object' ? thrown : {}) }
  const { address, port } = { address: facts['address'], port: facts['port'] }
  if (typeof port !== 'number') return undefined
  const where = `${typeof address === 'string' ? `${address}:` : ''}${port}`
  switch (errnoOf(thrown)) {
    case 'EADDRINUSE':
      return new CommandFailure(
        exitCode.conflict,
        `port ${where} is in use: stop what listens there, or choose other ports`,
        thrown,
      )
    case 'EADDRNOTAVAIL':
      return new CommandFailure(
        exitCode.usage,
        `this machine has no address ${where}: correct the host setting`,
        thrown,
      )
    case 'EACCES':
    case 'EPERM':
      return new CommandFailure(
        exitCode.usage,
        `port ${where} may not be opened by this user: choose another one`,
        thrown,
      )
    default:
      return undefined
  }
}

/** Invariant 1. */
async function closedWithin(clock: Clock, shutdownTimeoutMs: number, closing: Promise<void>): Promise<void> {
  let timedOut = (): void => {}
  const timeout = new Promise<never>((_, reject) => {
    timedOut = () =>
      reject(
        new CommandFailure(exitCode.unexpected, `stopping took longer than ${shutdownTimeoutMs} ms and was cut short`),
      )
  })
  const timer = clock.after(shutdownTimeoutMs, timedOut)
  try {
    await Promise.race([closing, timeout])
  } finally {
    timer.cancel()
  }
}

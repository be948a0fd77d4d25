// Owns: how a process of the cluster lives, whichever its role: it answers for its health first, begins to serve when its
// brokers let it, and ends once.
// 1. The admin listener is there from the start to the end: a process that waits for its brokers, or drains, is alive and
//    not ready, and says why.
// 2. `close` drains what serves, also while it is still beginning; it is called by whoever catches the signals.
import type { ProcessConfig } from '../config/roles.ts'
import { startAdminPart } from './admin-part.ts'
import { closeParts, type Parts } from './parts.ts'

export interface RunningProcess {
  readonly adminUrl: string
  /** Settles when it cannot serve any more by itself, with the reason; undefined after close(). */
  readonly ended: Promise<Error | undefined>
  /** Reads again what can change while it runs; never throws. Undefined: nothing can. */
  readonly reload: (() => void) | undefined
  /** Idempotent. */
  close(): Promise<void>
}

export interface RoleParts {
  readonly parts: Parts
  readonly config: ProcessConfig
  /** Why it should get no traffic now, constant texts. */
  readonly notReady: () => readonly string[]
  /**
   * Resolves when it will serve no more (undefined: it was told to end). Ends early and quietly when `signal` aborts.
   * A rejection ends the process.
   */
  readonly serve: (signal: AbortSignal) => Promise<Error | undefined>
  /** In the order of design.md §5; what did not begin has nothing to drain. */
  readonly drain: () => Promise<void>
  /** What was opened before. */
  readonly release: () => Promise<void>
  readonly reload?: (() => void) | undefined
}

/** Errors: the admin port's. Then nothing runs, and what was opened before is released. */
export async function startRoleProcess(role: RoleParts): Promise<RunningProcess> {
  const { parts, config } = role
  const stopping = new AbortController()
  const notReady = (): readonly string[] => [...(stopping.signal.aborted ? ['it drains'] : []), ...role.notReady()]
  const release = async (): Promise<void> => {
    await role.release()
    await closeParts(parts)
  }
  const admin = await startAdminPart(parts, config, notReady).catch(async (thrown: unknown) => {
    await release()
    throw thrown
  })
  const served = role
    .serve(stopping.signal)
    .catch((thrown: unknown) => (thrown instanceof Error ? thrown : new Error('serving failed', { cause: thrown })))
  const closed = async (): Promise<void> => {
    parts.logger.info({ tier: 'main' }, 'draining')
    stopping.abort()
    await role.drain()
    await admin.close()
    await release()
    parts.logger.info({ tier: 'main' }, 'drained')
  }
  let closing: Promise<void> | undefined
  return {
    adminUrl: admin.adminUrl,
    ended: served,
    reload: reloadOf(role),
    close: () => {
      closing ??= closed()
      return closing
    },
  }
}

/** What the role reads, and the certificates of its listeners. */
function reloadOf({ reload, parts }: RoleParts): (() => void) | undefined {
  const { tls } = parts
  if (reload === undefined && tls === undefined) return undefined
  return () => {
    reload?.()
    tls?.reload()
  }
}

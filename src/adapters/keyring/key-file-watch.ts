// Owns: noticing that a key file changed while the process runs.
// 1. The file is looked at every `everyMs`; its content is read only when the looks of it (inode, size, times) changed, or
//    when the last reading failed. So a change is in use at most `everyMs` after it was renamed into place.
// 2. Whatever goes wrong leaves what was loaded in use; it is told once per look of the file, counted each time.
// Leaves out: what reading means (the provider's reload), who is told (main).
import { stat } from 'node:fs/promises'
import { type Clock, sleep } from '../../ports/clock.ts'
import { TrunklineError } from '../../protocol/errors.ts'

export interface WatchedKeyFile {
  /** For logs and metrics: one of a few constant names. */
  readonly name: 'keyring' | 'rewrapped-keys' | 'gateway-keys'
  readonly path: string
  /** As loaded now. */
  readonly revision: () => number
  /** Errors: KEYRING_…. What was loaded stays in use then. */
  readonly reload: () => Promise<void>
}

export interface KeyFileWatchOptions {
  readonly file: WatchedKeyFile
  readonly clock: Clock
  readonly everyMs: number
  readonly onLoaded: () => void
  /** `isNew` is false while the same file goes on being refused. */
  readonly onRefused: (error: TrunklineError, isNew: boolean) => void
}

export class KeyFileWatch {
  readonly #options: KeyFileWatchOptions
  readonly #stop = new AbortController()
  readonly #ended: Promise<void>
  #seen: string | undefined
  #refused: string | undefined

  constructor(options: KeyFileWatchOptions) {
    this.#options = options
    this.#ended = this.#run()
  }

  /** Resolves when nothing of it runs any more. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort()
    await this.#ended
  }

  async #run(): Promise<void> {
    const { clock, everyMs, file } = this.#options
    const { signal } = this.#stop
    // What was loaded before may be older than what lies there by now: the first round reads.
    for (;;) {
      await sleep(clock, everyMs, signal)
      if (signal.aborted) return
      const looks = await looksOf(file.path)
      if (looks === this.#seen) continue
      try {
        await file.reload()
        // A file that was replaced while it was read looks different in the next round.
        this.#seen = looks
        this.#refused = undefined
        this.#options.onLoaded()
      } catch (thrown) {
        const isNew = this.#refused !== looks
        this.#refused = looks
        this.#options.onRefused(TrunklineError.from(thrown, 'KEYRING_UNREADABLE'), isNew)
      }
    }
  }
}

async function looksOf(path: string): Promise<string> {
  try {
    const { ino, size, mode, mtimeNs, ctimeNs } = await stat(path, { bigint: true })
    return [ino, size, mode, mtimeNs, ctimeNs].join(' ')
  } catch {
    // Missing or hidden: the reading says which.
    return 'none'
  }
}

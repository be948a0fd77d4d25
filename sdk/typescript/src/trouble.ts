// Owns: telling an application that a producer or reader does not get on, and that it does again.
// 1. Told from the n-th failure in a row on, once each: the retry policy's pauses bound how often.
// 2. The hook runs in a turn of its own: what it throws is the application's and never reaches the machine.
import type { TrunklineError } from '../../../src/protocol/errors.ts'

export type TroubleReport =
  | {
      readonly kind: 'failing'
      readonly topic: string
      readonly mode: 'read' | 'write'
      /** In a row. */
      readonly failures: number
      /** Of the last failure; `details.endpoints` says what each endpoint did, when endpoints failed. */
      readonly error: TrunklineError
      /** host:port that was asked last, when it is known. */
      readonly endpoint: string | undefined
      /** How long until the next try; undefined: the retries are used up. */
      readonly nextTryMs: number | undefined
    }
  | {
      readonly kind: 'recovered'
      readonly topic: string
      readonly mode: 'read' | 'write'
      /** In a row, before the success. */
      readonly failures: number
      /** Since the first report. */
      readonly afterMs: number
    }

export interface TroubleOptions {
  readonly topic: string
  readonly mode: 'read' | 'write'
  readonly afterFailures: number | undefined
  readonly nowMs: () => number
  readonly tell: (report: TroubleReport) => void
}

const afterFailuresDefault = 3

export class TroubleWatch {
  readonly #options: TroubleOptions
  #told = 0
  #sinceMs = 0

  constructor(options: TroubleOptions) {
    this.#options = options
  }

  /** After each event of the machine: failures in a row, zero after a success. */
  note(
    failures: number,
    last: {
      readonly error: TrunklineError
      readonly endpoint: string | undefined
      readonly nextTryMs: number | undefined
    },
  ): void {
    const { topic, mode, afterFailures = afterFailuresDefault, nowMs } = this.#options
    if (failures === 0) {
      if (this.#told > 0)
        this.#tell({ kind: 'recovered', topic, mode, failures: this.#told, afterMs: nowMs() - this.#sinceMs })
      this.#told = 0
      return
    }
    if (failures < Math.max(1, afterFailures) || failures <= this.#told) return
    if (this.#told === 0) this.#sinceMs = nowMs()
    this.#told = failures
    this.#tell({
      kind: 'failing',
      topic,
      mode,
      failures,
      error: last.error,
      endpoint: last.endpoint,
      nextTryMs: last.nextTryMs,
    })
  }

  #tell(report: TroubleReport): void {
    queueMicrotask(() => this.#options.tell(report))
  }
}

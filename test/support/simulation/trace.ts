// Owns: everything that happened in a run, in order: as one hash, as the last lines for a person, and as counts.
import { createHash } from 'node:crypto'
import type { Clock } from '../../../src/ports/clock.ts'

export class Trace {
  readonly #clock: Clock
  readonly #hash = createHash('sha256')
  readonly #lines: string[] = []
  readonly #linesMax: number
  readonly #counts = new Map<string, number>()

  /** @param linesMax lines that are kept for reading; 0 keeps none. */
  constructor(clock: Clock, linesMax: number) {
    this.#clock = clock
    this.#linesMax = linesMax
  }

  /** `bytes` count for the hash alone. */
  note(text: string, bytes?: Uint8Array): void {
    const line = `${this.#clock.monotonicMs().toFixed(3)} ${text}`
    this.#hash.update(line)
    if (bytes !== undefined) this.#hash.update(bytes)
    this.#hash.update('\n')
    if (this.#linesMax === 0) return
    this.#lines.push(line)
    if (this.#lines.length > 2 * this.#linesMax) this.#lines.splice(0, this.#linesMax)
  }

  count(name: string, by = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + by)
  }

  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  get lines(): readonly string[] {
    return this.#lines.slice(-this.#linesMax)
  }

  digest(): string {
    return this.#hash.copy().digest('hex')
  }
}

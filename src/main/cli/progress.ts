// Owns: the line on a terminal's stderr that says how far a command is, and figures as people read them.
import type { Clock, Timer } from '../../ports/clock.ts'

const everyMs = 250
const clearLine = '\r\u001b[2K'

export class Progress {
  readonly #clock: Clock
  readonly #text: () => string
  readonly #startedMs: number
  #timer: Timer | undefined
  #shown = false

  /** Writes `text()` four times a second when stderr is a terminal and `wanted`; nothing otherwise. */
  constructor(clock: Clock, wanted: boolean, text: () => string) {
    this.#clock = clock
    this.#text = text
    this.#startedMs = clock.monotonicMs()
    if (wanted && process.stderr.isTTY) this.#again()
  }

  get elapsedMs(): number {
    return this.#clock.monotonicMs() - this.#startedMs
  }

  /** Takes the line away. Idempotent. */
  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#shown) process.stderr.write(clearLine)
    this.#shown = false
  }

  #again(): void {
    this.#timer = this.#clock.after(everyMs, () => {
      this.#shown = true
      process.stderr.write(`${clearLine}${this.#text()}`)
      this.#again()
    })
  }
}

export function grouped(count: number): string {
  return Math.round(count).toLocaleString('en-US')
}

export function counted(count: number, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 ? '' : 's'}`
}

export function bytesText(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  const units = ['KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes / 1024
  let unit = 0
  for (; value >= 1024 && unit < units.length - 1; unit += 1) value /= 1024
  return `${value.toFixed(1)} ${units[unit]}`
}

/** A rate of fewer events says nothing. */
const ratedEventsMin = 100

/** `1,707 events in 0.42 s (4,064/s)`. */
export function rateText(events: number, elapsedMs: number): string {
  const seconds = elapsedMs / 1000
  const rate = elapsedMs > 0 && events >= ratedEventsMin ? ` (${grouped(events / seconds)}/s)` : ''
  return `${counted(events, 'event')} in ${seconds.toFixed(2)} s${rate}`
}

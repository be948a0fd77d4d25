// Owns: one rate: so much per second, and a burst at once (by default a second's worth). Pure: the time is given.
// 1. What was taken may be more than there was (an answer's bytes are known when it is there): the next ones wait for it.
// 2. A debt is at most a burst, so that one large answer never locks its caller out for longer than a second or two.

const roundingMax = 1e-6

export class TokenBucket {
  readonly #perSecond: number
  readonly #burst: number
  #tokens: number
  #atMs: number

  /** Starts full. */
  constructor(perSecond: number, nowMs: number, burst: number = perSecond) {
    this.#perSecond = perSecond
    this.#burst = burst
    this.#tokens = burst
    this.#atMs = nowMs
  }

  /** Whole milliseconds until `amount` may be taken; 0: now. What is above a burst may be taken from a full one. */
  waitMs(amount: number, nowMs: number): number {
    this.#refill(nowMs)
    const missing = Math.min(amount, this.#burst) - this.#tokens
    // Rounding of times must not make a caller wait twice.
    return missing <= roundingMax ? 0 : Math.ceil((missing / this.#perSecond) * 1_000)
  }

  take(amount: number, nowMs: number): void {
    this.#refill(nowMs)
    this.#tokens = Math.max(this.#tokens - amount, -this.#burst)
  }

  isFull(nowMs: number): boolean {
    return this.waitMs(this.#burst, nowMs) === 0
  }

  #refill(nowMs: number): void {
    const passedMs = Math.max(0, nowMs - this.#atMs)
    this.#atMs = nowMs
    this.#tokens = Math.min(this.#burst, this.#tokens + (passedMs / 1_000) * this.#perSecond)
  }
}

// Owns: what was attempted and what became of it, as the applications know it; and what an event must look like.
import { createHash } from 'node:crypto'
import type { ReceivedEvent } from '../../../sdk/typescript/src/events.ts'

/** acked: publish resolved. unknown: its client was cut off first. pending: still waiting. */
export type Outcome = 'pending' | 'acked' | 'unknown'

export interface Attempt {
  readonly id: string
  /** One producer instance. */
  readonly producer: string
  /** From 1, in the order of publish calls. */
  readonly seq: number
  readonly key: string | undefined
  /** Published at least once, as one-shot calls are (docs/guarantees.md): twins are no violation, the acked one is there. */
  readonly mayRepeat: boolean
  /** performance.now() of the call. */
  readonly calledMs: number
  outcome: Outcome
  /** Of an acked one: `partition:offset:index`. */
  position: string | undefined
}

export class Ledger {
  readonly attempts = new Map<string, Attempt>()
  acked = 0
  unknown = 0
  /** Of all that was acked since it was set to 0. */
  longestWaitMs = 0
  #waiters: (() => void)[] = []

  attempt(producer: string, seq: number, key: string | undefined, mayRepeat = false): Attempt {
    const id = `${producer}#${seq}`
    const attempt: Attempt = {
      id,
      producer,
      seq,
      key,
      mayRepeat,
      calledMs: performance.now(),
      outcome: 'pending',
      position: undefined,
    }
    this.attempts.set(id, attempt)
    return attempt
  }

  settle(attempt: Attempt, outcome: 'acked' | 'unknown', position?: string): void {
    attempt.outcome = outcome
    attempt.position = position
    if (outcome === 'acked') {
      this.acked += 1
      this.longestWaitMs = Math.max(this.longestWaitMs, performance.now() - attempt.calledMs)
    }
    if (outcome === 'unknown') this.unknown += 1
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) waiter()
  }

  get pending(): number {
    return this.attempts.size - this.acked - this.unknown
  }

  /** Resolves once `holds`, looked at after every answer. Rejects after `withinMs` with what was waited for. */
  until(what: string, holds: () => boolean, withinMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no progress within ${withinMs} ms: ${what}`)), withinMs)
      const look = (): void => {
        if (!holds()) {
          this.#waiters.push(look)
          return
        }
        clearTimeout(timer)
        resolve()
      }
      look()
    })
  }

  /** Looks again though nothing was answered (something else was counted). */
  touch(): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) waiter()
  }
}

/** The bytes that an id stands for: most small, some of several KiB; never compressible to nothing. */
export function payloadOf(id: string): Buffer {
  const digest = createHash('sha256').update(id).digest()
  const first = digest[0] ?? 0
  const size = first < 8 ? 4_096 + (digest.readUInt16LE(1) % 8_192) : digest.readUInt16LE(1) % 400
  const payload = Buffer.alloc(size)
  for (let at = 0, round = 0; at < size; at += digest.length, round++) {
    createHash('sha256').update(`${id}/${round}`).digest().copy(payload, at)
  }
  return payload
}

/** What is wrong with an event that was read, given what was attempted; undefined when nothing is. */
export function faultOf(event: ReceivedEvent, attempt: Attempt | undefined): string | undefined {
  if (attempt === undefined) return `never attempted: ${String(event.id)}`
  if (!payloadOf(attempt.id).equals(event.payload)) return `another payload than was sent: ${attempt.id}`
  if (event.keyText() !== attempt.key) return `another key than was sent: ${attempt.id}`
  return undefined
}

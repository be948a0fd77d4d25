// Owns: a caller without an SDK: one event per HTTP request, one request after the other, never the same event twice
// (a repeat could make it two: docs/json-api.md). What is not answered with 200 stays unknown.
import type { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { type Ledger, payloadOf } from '../crash/ledger.ts'

export interface JsonCallerOptions {
  readonly name: string
  readonly topic: string
  readonly ledger: Ledger
  readonly random: SeededRandom
  /** Asked in turn; the next one after an answer that is missing. */
  readonly httpUrls: readonly string[]
  readonly bearer: () => Promise<string>
  readonly pauseMsMax: number
}

const answerMs = 40_000

export class JsonCaller {
  /** How often each status came; an error's code where none did. */
  readonly statuses = new Map<string, number>()
  /** Of one request, that was answered or not. */
  longestWaitMs = 0
  readonly #options: JsonCallerOptions
  readonly #stop = new AbortController()
  #seq = 0
  #running: Promise<void> | undefined

  constructor(options: JsonCallerOptions) {
    this.#options = options
  }

  start(): void {
    this.#running ??= this.#run()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { random, pauseMsMax, httpUrls } = this.#options
    let at = random.below(httpUrls.length)
    while (!this.#stop.signal.aborted) {
      if (!(await this.#publish(httpUrls[at % httpUrls.length] ?? ''))) at += 1
      await new Promise((resolve) => setTimeout(resolve, random.below(pauseMsMax + 1)))
    }
  }

  /** False when no answer came. */
  async #publish(httpUrl: string): Promise<boolean> {
    const { name, topic, ledger, random, bearer } = this.#options
    this.#seq += 1
    // Order is promised to sessions only: each call is a producer of its own.
    const chosen = random.chance(0.3) ? undefined : `k${random.below(12)}`
    const attempt = ledger.attempt(`${name}.${this.#seq}`, 1, chosen, true)
    const { id, key } = attempt
    const body = { id, ...(key === undefined ? {} : { key }), payload: { base64: payloadOf(id).toString('base64') } }
    const startedMs = performance.now()
    let status = 'none'
    try {
      const answer = await fetch(`${httpUrl}/v1/topics/${topic}/events`, {
        method: 'POST',
        headers: { authorization: `Bearer ${await bearer()}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(answerMs),
      })
      status = String(answer.status)
      const { positions } = (await answer.json()) as { positions?: readonly string[] }
      if (answer.status === 200) ledger.settle(attempt, 'acked', positions?.[0])
      return true
    } catch (thrown) {
      if (status === 'none') status = codeOf(thrown)
      return false
    } finally {
      if (attempt.outcome === 'pending') ledger.settle(attempt, 'unknown')
      this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1)
      this.longestWaitMs = Math.max(this.longestWaitMs, performance.now() - startedMs)
    }
  }
}

function codeOf(thrown: unknown): string {
  const { cause, name } = thrown as { cause?: { code?: string }; name?: string }
  return cause?.code ?? name ?? 'unknown'
}

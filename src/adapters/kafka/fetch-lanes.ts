// Owns: a bounded pool of lanes for reads that are answered at once. Per lane and broker one request at a time: a broker
// would not look at a second one, and its time-out would run.
// 1. Whoever finds all lanes of a broker at work waits in line; the line has a bound.
import type { FetchedAnswer, FetchParts } from './api-fetch.ts'
import { fetchRequest } from './api-fetch.ts'
import type { BrokerAddress } from './api-metadata.ts'
import type { Lane } from './lane.ts'
import type { KafkaMetrics } from './metrics.ts'
import { TransportError } from './transport-error.ts'

const waitingMax = 10_000

interface Line {
  readonly free: Lane[]
  readonly waiting: ((lane: Lane) => void)[]
}

export class FetchLanes {
  readonly #lanes: readonly Lane[]
  readonly #lines = new Map<number, Line>()
  readonly #timeoutMs: number
  readonly #metrics: KafkaMetrics

  constructor(lanes: readonly Lane[], timeoutMs: number, metrics: KafkaMetrics) {
    this.#lanes = lanes
    this.#timeoutMs = timeoutMs
    this.#metrics = metrics
  }

  /** Rejects with a TransportError. */
  async fetch(at: BrokerAddress, parts: FetchParts): Promise<FetchedAnswer> {
    const line = this.#line(at.nodeId)
    const lane = line.free.pop() ?? (await this.#wait(line))
    try {
      const answer = await lane.request(at, fetchRequest(parts), this.#timeoutMs)
      if (answer.throttleMs > 0) this.#metrics.throttled('Fetch', answer.throttleMs)
      return answer
    } finally {
      const next = line.waiting.shift()
      if (next === undefined) line.free.push(lane)
      else next(lane)
    }
  }

  close(): void {
    for (const lane of this.#lanes) lane.close()
  }

  #line(nodeId: number): Line {
    let line = this.#lines.get(nodeId)
    if (line === undefined) {
      line = { free: [...this.#lanes], waiting: [] }
      this.#lines.set(nodeId, line)
    }
    return line
  }

  #wait(line: Line): Promise<Lane> {
    if (line.waiting.length >= waitingMax)
      return Promise.reject(new TransportError('unreachable', 'too many reads wait'))
    return new Promise((resolve) => line.waiting.push(resolve))
  }
}

// Owns: how many spans wait for the collector, and what became of each.
// 1. At most `spansMax` wait (queued or being sent); a further one is dropped and counted, whatever the exporter does.
// 2. Every span that ended is counted once: exported, failed or dropped.
// Leaves out: batching and sending (the packages in between).
import type { SpanExporter, SpanProcessor } from '@opentelemetry/sdk-trace-base'

/** Of an export's result, as the packages number it. */
const success = 0
const failure = 1

export interface TracingMetrics {
  spans(outcome: 'exported' | 'failed' | 'dropped', count: number): void
  /** Ended, and neither sent nor given up. */
  spansPending(count: number): void
}

export class CountedSpans {
  readonly #spansMax: number
  readonly #metrics: TracingMetrics | undefined
  #pending = 0

  constructor(spansMax: number, metrics: TracingMetrics | undefined) {
    this.#spansMax = spansMax
    this.#metrics = metrics
  }

  /** In front of the processor that queues. */
  before(queue: SpanProcessor): SpanProcessor {
    return {
      onStart: (span, context) => queue.onStart(span, context),
      onEnd: (span) => {
        if (this.#pending >= this.#spansMax) {
          this.#metrics?.spans('dropped', 1)
          return
        }
        this.#count(1)
        queue.onEnd(span)
      },
      forceFlush: () => queue.forceFlush(),
      shutdown: () => queue.shutdown(),
    }
  }

  /** Around the exporter that sends. */
  around(exporter: SpanExporter): SpanExporter {
    return {
      export: (spans, done) => {
        let settled = false
        const settle = (outcome: 'exported' | 'failed'): void => {
          if (settled) return
          settled = true
          this.#count(-spans.length)
          this.#metrics?.spans(outcome, spans.length)
        }
        try {
          exporter.export(spans, (result) => {
            settle(result.code === success ? 'exported' : 'failed')
            done(result)
          })
        } catch (thrown) {
          settle('failed')
          done({ code: failure, error: thrown instanceof Error ? thrown : new Error('an exporter threw') })
        }
      },
      shutdown: () => exporter.shutdown(),
      forceFlush: async () => await exporter.forceFlush?.(),
    }
  }

  #count(change: number): void {
    this.#pending += change
    this.#metrics?.spansPending(this.#pending)
  }
}

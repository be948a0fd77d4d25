// Owns: how long sealing and opening take, and how often sealing fails: the same calls, counted.
// Leaves out: sealing and opening (crypto).
import type { Clock } from '../ports/clock.ts'
import { TrunklineError } from '../protocol/errors.ts'
import type { TopicId } from '../protocol/ids.ts'
import type { Opener } from './read/opened-blocks.ts'
import type { StreamMetrics } from './stream-metrics.ts'
import type { Sealer } from './write/staged-write.ts'

type Parts = {
  readonly clock: Pick<Clock, 'monotonicMs'>
  readonly metrics: Pick<StreamMetrics, 'sealed' | 'openTook'>
}

/** A sealer that can fetch a topic's key ahead. */
export interface PreparedSealer extends Sealer {
  prepare(topicId: TopicId, tenant: string): Promise<void>
}

export function timedSealer(sealer: PreparedSealer, { clock, metrics }: Parts): PreparedSealer {
  const failed = (startedAtMs: number, thrown: unknown): never => {
    metrics.sealed(TrunklineError.from(thrown).name, clock.monotonicMs() - startedAtMs)
    throw thrown
  }
  return {
    prepare: (topicId, tenant) => sealer.prepare(topicId, tenant),
    seal: (block, place) => {
      const startedAtMs = clock.monotonicMs()
      const done = (sealed: Uint8Array): Uint8Array => {
        metrics.sealed('ok', clock.monotonicMs() - startedAtMs)
        return sealed
      }
      try {
        const sealed = sealer.seal(block, place)
        // Most come at once: only the first block of a key waits for the key service.
        return sealed instanceof Uint8Array
          ? done(sealed)
          : sealed.then(done, (thrown: unknown) => failed(startedAtMs, thrown))
      } catch (thrown) {
        return failed(startedAtMs, thrown)
      }
    },
  }
}

export function timedOpener(opener: Opener, { clock, metrics }: Parts): Opener {
  return {
    open: (place, sealed) => {
      const startedAtMs = clock.monotonicMs()
      const opened = opener.open(place, sealed)
      const took = (): void => metrics.openTook(clock.monotonicMs() - startedAtMs)
      if (!(opened instanceof Promise)) {
        took()
        return opened
      }
      // What cannot be opened is counted by its outcome (opened-blocks.ts), not by its time.
      return opened.then((data) => {
        took()
        return data
      })
    },
  }
}

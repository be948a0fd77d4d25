// Owns: judging a run, after the history checker of Jepsen's kafka workload: what was attempted and acked, what each
// reader saw, against the list of what the topic holds. Pure; linear in what was read.
// 1. lost: acked and not there. duplicate: there twice. phantom: there and never attempted. order: a producer's events of
//    one partition not in the order of its calls. place: acked at a position where another event is. What may repeat has
//    twins, and only has to be where its answer said.
// 2. skip: a reader got an event without the one before it. again: it got one again that it had acked for sure, or not
//    from the first one that it had not acked.
import type { Attempt } from './ledger.ts'
import type { Acked, ReaderTrace } from './reader.ts'

export interface Stored {
  readonly id: string
  readonly partition: number
  readonly place: number
  /** `partition:offset:index`. */
  readonly position: string
}

export type ViolationKind =
  | 'lost'
  | 'duplicate'
  | 'phantom'
  | 'order'
  | 'place'
  | 'event'
  | 'skip'
  | 'again'
  | 'unread'
  /** By the raw records of Kafka (cluster/topic-verdict.ts). */
  | 'fence'
  | 'epoch'

export interface Violation {
  readonly kind: ViolationKind
  readonly what: string
}

/** `stored` in the order of each partition. */
export function judgeTopic(attempts: ReadonlyMap<string, Attempt>, stored: readonly Stored[]): Violation[] {
  const violations: Violation[] = []
  const found = new Map<string, Stored>()
  const twins = new Set<string>()
  const lastSeq = new Map<string, number>()
  for (const event of stored) {
    const attempt = attempts.get(event.id)
    if (attempt === undefined) {
      violations.push({ kind: 'phantom', what: `${event.id} at ${event.position}` })
      continue
    }
    const before = found.get(event.id)
    if (before !== undefined && attempt.mayRepeat) {
      if (event.position === attempt.position) twins.add(event.id)
      continue
    }
    if (before !== undefined) {
      violations.push({ kind: 'duplicate', what: `${event.id} at ${before.position} and ${event.position}` })
      continue
    }
    found.set(event.id, event)
    const lane = `${attempt.producer} ${event.partition}`
    const last = lastSeq.get(lane) ?? 0
    if (attempt.seq < last) violations.push({ kind: 'order', what: `${event.id} behind ${attempt.producer}#${last}` })
    lastSeq.set(lane, Math.max(last, attempt.seq))
  }
  for (const { id, outcome, position } of attempts.values()) {
    if (outcome !== 'acked') continue
    const there = found.get(id)
    if (there === undefined) violations.push({ kind: 'lost', what: `${id}, acked at ${position}` })
    else if (there.position !== position && !twins.has(id))
      violations.push({ kind: 'place', what: `${id} is at ${there.position}, acked at ${position}` })
  }
  return violations
}

/** Dense positions: readers are judged by what is next, whatever offsets barriers and blocks take. */
export class TopicIndex {
  readonly lengths = new Map<number, number>()
  readonly #at = new Map<number, Map<number, number>>()

  constructor(stored: readonly Stored[]) {
    for (const { partition, place } of stored) {
      const length = this.lengths.get(partition) ?? 0
      this.lengths.set(partition, length + 1)
      const places = this.#at.get(partition) ?? new Map<number, number>()
      places.set(place, length)
      this.#at.set(partition, places)
    }
  }

  /** -1 for what lies before everything. */
  of(partition: number, place: number | undefined): number | undefined {
    return place === undefined ? -1 : this.#at.get(partition)?.get(place)
  }
}

export function judgeReader({ name, steps, faults, complete }: ReaderTrace, index: TopicIndex): Violation[] {
  const violations: Violation[] = faults.map((what) => ({ kind: 'event', what: `${name}: ${what}` }))
  const last = new Map<number, number>()
  let acked: Acked = { surely: new Map(), perhaps: new Map() }
  const indexOf = (partition: number, place: number | undefined): number => {
    const found = index.of(partition, place)
    if (found === undefined)
      violations.push({ kind: 'event', what: `${name}: read ${partition}/${place}, which is not there` })
    return found ?? -1
  }
  for (const step of steps) {
    switch (step.kind) {
      case 'opened':
        acked = step.at
        last.clear()
        for (const [partition, place] of acked.perhaps) last.set(partition, indexOf(partition, place))
        break
      case 'acked':
        acked = step.acked
        break
      case 'delivered':
        for (const [partition, place] of step.places) {
          const at = indexOf(partition, place)
          const previous = last.get(partition) ?? -1
          const low = indexOf(partition, acked.surely.get(partition)) + 1
          const high = indexOf(partition, acked.perhaps.get(partition)) + 1
          if (at > previous + 1)
            violations.push({ kind: 'skip', what: `${name}: ${partition}: ${at} after ${previous}` })
          else if (at <= previous && (at < low || at > high)) {
            violations.push({
              kind: 'again',
              what: `${name}: ${partition}: ${at} after ${previous}, acked to ${low - 1} (${high - 1})`,
            })
          }
          last.set(partition, at)
        }
    }
  }
  if (!complete) return violations
  for (const [partition, length] of index.lengths) {
    const reached = last.get(partition) ?? -1
    if (reached !== length - 1)
      violations.push({ kind: 'unread', what: `${name}: ${partition} up to ${reached} of ${length - 1}` })
  }
  return violations
}

/** A few of each kind, for a failed test's message. */
export function describeViolations(violations: readonly Violation[]): string {
  const kinds = new Map<string, string[]>()
  for (const { kind, what } of violations) kinds.set(kind, [...(kinds.get(kind) ?? []), what])
  return [...kinds].map(([kind, list]) => `${kind} ×${list.length}: ${list.slice(0, 5).join('; ')}`).join('\n')
}

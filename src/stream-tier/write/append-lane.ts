// Owns: the queue of one partition and its one batch in flight (design.md §3 rule 1).
// 1. At most one batch is in flight.
// 2. A refused batch of several sessions is tried again session by session, in the order of their first entry, before
//    anything younger; so order per session holds and one producer's fault hurts no other.
// 3. A batch is of one topic: records for a topic that was made anew never travel with those for the former one.
// Leaves out: which sessions may send (append-lanes.ts).
import type { AppendOutcome, RetireReason } from '../../ports/event-log.ts'
import type { ErrorName } from '../../protocol/errors.ts'
import type { SessionId, TopicId } from '../../protocol/ids.ts'
import type { AppendEntry, EntryOutcome } from './append-entry.ts'

export interface LaneEntry extends AppendEntry {
  readonly bytes: number
  readonly topicId: TopicId | undefined
  readonly settle: (outcome: EntryOutcome) => void
}

export interface LaneOwner {
  send(entries: readonly LaneEntry[]): Promise<AppendOutcome>
  /** Whether the session is neither stopped nor released. */
  maySend(session: SessionId): boolean
  /** Entries of one session, certainly not landed. */
  refuse(entries: readonly LaneEntry[], error: ErrorName): void
  settle(entry: LaneEntry, outcome: EntryOutcome): void
  retire(reason: RetireReason): void
  /** Nothing is queued or in flight: the lane may be dropped. */
  empty(): void
}

export class AppendLane {
  readonly #batchBytesMax: number
  readonly #owner: LaneOwner
  #queue: LaneEntry[] = []
  /** Shares of a refused batch, each to be sent alone, before the queue. */
  #shares: LaneEntry[][] = []
  #flying = false

  constructor(batchBytesMax: number, owner: LaneOwner) {
    this.#batchBytesMax = batchBytesMax
    this.#owner = owner
  }

  push(entry: LaneEntry): void {
    this.#queue.push(entry)
    this.#pump()
  }

  /** Takes out what the session has here that is not in flight. */
  withdraw(session: SessionId): readonly LaneEntry[] {
    const taken: LaneEntry[] = []
    const keep = (entry: LaneEntry): boolean => {
      if (entry.session !== session) return true
      taken.push(entry)
      return false
    }
    this.#shares = this.#shares.map((share) => share.filter(keep)).filter((share) => share.length > 0)
    this.#queue = this.#queue.filter(keep)
    return taken
  }

  withdrawAll(): readonly LaneEntry[] {
    const taken = [...this.#shares.flat(), ...this.#queue]
    this.#shares = []
    this.#queue = []
    return taken
  }

  #pump(): void {
    if (this.#flying) return // rule 1: one batch is in flight per partition
    const batch = this.#shares.shift() ?? this.#nextBatch()
    if (batch.length === 0) {
      this.#owner.empty()
      return
    }
    this.#flying = true
    void this.#fly(batch)
  }

  #nextBatch(): LaneEntry[] {
    let bytes = 0
    let count = 0
    const topicId = this.#queue[0]?.topicId
    for (const entry of this.#queue) {
      if (count > 0 && (bytes + entry.bytes > this.#batchBytesMax || entry.topicId !== topicId)) break
      bytes += entry.bytes
      count += 1
    }
    return this.#queue.splice(0, count)
  }

  async #fly(batch: readonly LaneEntry[]): Promise<void> {
    let outcome: AppendOutcome
    try {
      outcome = await this.#owner.send(batch)
    } catch {
      // The port never rejects; whatever it was, what became of the batch is not known: only a successor can tell.
      outcome = { kind: 'retired', reason: 'failed' }
    }
    this.#flying = false
    switch (outcome.kind) {
      case 'landed': {
        const { baseOffset, appendTimeMs } = outcome
        let offset = baseOffset
        for (const entry of batch) {
          this.#owner.settle(entry, { kind: 'landed', offset, appendTimeMs })
          offset += entry.records.length
        }
        break
      }
      case 'refused':
        this.#refused(batch, outcome.error)
        break
      case 'retired':
        for (const entry of batch) this.#owner.settle(entry, outcome)
        this.#owner.retire(outcome.reason)
        break
    }
    this.#pump()
  }

  #refused(batch: readonly LaneEntry[], error: ErrorName): void {
    const shares = bySession(batch)
    if (shares.length === 1) {
      this.#owner.refuse(batch, error)
      return
    }
    for (const share of shares) {
      if (share[0] !== undefined && this.#owner.maySend(share[0].session)) this.#shares.push(share)
      // Stopped or released while the batch was out: nothing of it landed, and nothing of it is sent again.
      else for (const entry of share) this.#owner.settle(entry, { kind: 'held' })
    }
  }
}

function bySession(batch: readonly LaneEntry[]): LaneEntry[][] {
  const shares = new Map<SessionId, LaneEntry[]>()
  for (const entry of batch) {
    const share = shares.get(entry.session)
    if (share === undefined) shares.set(entry.session, [entry])
    else share.push(entry)
  }
  return [...shares.values()]
}

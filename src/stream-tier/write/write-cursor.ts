// Owns: the write cursor of one write session: per partition a lower bound for a later look-up (design.md §3 rule 7).
// 1. The cursor in the reply to write n covers no write above n, and n itself only when every lower one is settled: a
//    later write may land before that reply is sent, and its own reply may be lost.
// 2. It never goes back.
// 3. It is refreshed to the end of the log only with ends that were read while nothing was outstanding, from the asking to
//    the answer: a write that is taken meanwhile may land below them.
// What the server cannot see is the client's part: it adopts the cursor of reply n only when every write ≤ n is answered,
// and that of another reply only while none of its writes is unanswered.
// Leaves out: sealing.
import type { WriteCursorContent } from '../../protocol/cursor-content.ts'
import type { TopicId } from '../../protocol/ids.ts'

export interface LandedPart {
  readonly partition: number
  /** Of its last record. */
  readonly offset: number
}

interface Outstanding {
  readonly n: number
  /** Set when it has landed while a lower one had not. */
  parts: readonly LandedPart[] | undefined
}

export class WriteCursor {
  readonly #topicId: TopicId
  readonly #offsets: number[]
  /** By n, ascending; at most a window of them. */
  readonly #outstanding: Outstanding[] = []
  /** Grows with every write that is taken. */
  #takes = 0

  /** @param offsets by partition: the ends at allocate, or where a take-over's scans ended. */
  constructor(topicId: TopicId, offsets: readonly number[]) {
    this.#topicId = topicId
    this.#offsets = [...offsets]
  }

  /** Write `n` was taken (staged, or handed to the log); again after it was refused or held. */
  taken(n: number): void {
    this.#takes += 1
    if (this.#outstanding.some((other) => other.n === n)) return
    const above = this.#outstanding.findIndex((other) => other.n > n)
    this.#outstanding.splice(above < 0 ? this.#outstanding.length : above, 0, { n, parts: undefined })
  }

  /** Write `n` has landed whole. Returns the content for its reply (invariant 1). */
  landed(n: number, parts: readonly LandedPart[], nowMs: number): WriteCursorContent {
    const entry = this.#outstanding.find((other) => other.n === n)
    if (entry === undefined) throw new Error('a write that was not taken has landed')
    entry.parts = parts
    this.#settleUpTo(n)
    const content = this.content(nowMs)
    this.#settleUpTo(Number.MAX_SAFE_INTEGER)
    return content
  }

  /**
   * Write `n` was refused or held. When a part of it has landed all the same, a look-up must still find that part: the
   * write stays outstanding until it is sent again and lands.
   */
  dropped(n: number, anyPartLanded: boolean): void {
    const index = this.#outstanding.findIndex((other) => other.n === n)
    if (index < 0 || anyPartLanded) return
    this.#outstanding.splice(index, 1)
    this.#settleUpTo(Number.MAX_SAFE_INTEGER)
  }

  /** Moves all partitions to the log's end when nothing is outstanding, now and until the answer. Errors: those of `readEnds`. */
  async refresh(readEnds: () => Promise<readonly number[]>): Promise<void> {
    if (this.#outstanding.length > 0) return
    const takesBefore = this.#takes
    const ends = await readEnds()
    if (this.#takes !== takesBefore) return // invariant 3
    for (const [partition, end] of ends.entries()) this.#raise(partition, end)
  }

  content(nowMs: number): WriteCursorContent {
    return { kind: 'write', topicId: this.#topicId, issuedAtMs: nowMs, offsets: [...this.#offsets] }
  }

  #settleUpTo(nMax: number): void {
    for (;;) {
      const lowest = this.#outstanding[0]
      if (lowest?.parts === undefined || lowest.n > nMax) return
      this.#outstanding.shift()
      for (const { partition, offset } of lowest.parts) this.#raise(partition, offset + 1)
    }
  }

  #raise(partition: number, offset: number): void {
    const known = this.#offsets[partition]
    if (known === undefined) throw new Error('a partition that the topic does not have')
    if (offset > known) this.#offsets[partition] = offset
  }
}

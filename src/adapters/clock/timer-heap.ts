// Owns: the pending timers of a simulation, earliest first; timers due at the same time keep the order of their making.
// Leaves out: what a timer does.

export interface HeapTimer {
  readonly dueAtMs: number
  /** Order of making. */
  readonly sequence: number
  readonly callback: () => void
  cancelled: boolean
}

/** Cancelled timers stay until they surface; above this many they are swept when they are the majority. */
const sweepAbove = 1_024

export class TimerHeap {
  #items: HeapTimer[] = []
  #cancelled = 0

  /** Timers that will still run. */
  get size(): number {
    return this.#items.length - this.#cancelled
  }

  add(timer: HeapTimer): void {
    this.#items.push(timer)
    this.#rise(this.#items.length - 1)
  }

  cancel(timer: HeapTimer): void {
    if (timer.cancelled) return
    timer.cancelled = true
    this.#cancelled += 1
    if (this.#cancelled > sweepAbove && this.#cancelled * 2 > this.#items.length) this.#sweep()
  }

  /** The earliest timer that will still run. */
  peek(): HeapTimer | undefined {
    for (;;) {
      const top = this.#items[0]
      if (top === undefined || !top.cancelled) return top
      this.#removeTop()
      this.#cancelled -= 1
    }
  }

  /** Takes the earliest timer out; a later cancel of it does nothing. */
  take(): HeapTimer | undefined {
    const top = this.peek()
    if (top === undefined) return undefined
    this.#removeTop()
    // Marked so that its owner's cancel, which may come at any time, does not count it again.
    top.cancelled = true
    return top
  }

  #removeTop(): void {
    const last = this.#items.pop()
    if (last === undefined || this.#items.length === 0) return
    this.#items[0] = last
    this.#sink(0)
  }

  #sweep(): void {
    // A sorted list is a heap.
    this.#items = this.#items.filter((timer) => !timer.cancelled).sort((a, b) => (before(a, b) ? -1 : 1))
    this.#cancelled = 0
  }

  #rise(from: number): void {
    let index = from
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!this.#swapIfBefore(index, parent)) return
      index = parent
    }
  }

  #sink(from: number): void {
    let index = from
    for (;;) {
      const left = index * 2 + 1
      const a = this.#items[left]
      const b = this.#items[left + 1]
      if (a === undefined) return
      const child = b !== undefined && before(b, a) ? left + 1 : left
      if (!this.#swapIfBefore(child, index)) return
      index = child
    }
  }

  #swapIfBefore(lower: number, upper: number): boolean {
    const a = this.#items[lower]
    const b = this.#items[upper]
    if (a === undefined || b === undefined || !before(a, b)) return false
    this.#items[lower] = b
    this.#items[upper] = a
    return true
  }
}

function before(a: HeapTimer, b: HeapTimer): boolean {
  return a.dueAtMs < b.dueAtMs || (a.dueAtMs === b.dueAtMs && a.sequence < b.sequence)
}

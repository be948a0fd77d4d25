// Owns: a bounded map that drops what was used longest ago, and tells who holds keys so that they can be wiped.
// Leaves out: ages (the values carry their own).

export class LruMap<V> {
  readonly #entries = new Map<string, V>()
  readonly #sizeMax: number
  readonly #onDrop: (value: V) => void

  /** `onDrop` gets every value that leaves the map, by whichever way. */
  constructor(sizeMax: number, onDrop: (value: V) => void) {
    if (!(sizeMax >= 1)) throw new Error('an LRU map holds at least one value')
    this.#sizeMax = sizeMax
    this.#onDrop = onDrop
  }

  get size(): number {
    return this.#entries.size
  }

  /** Counts as a use. */
  get(key: string): V | undefined {
    const value = this.#entries.get(key)
    if (value === undefined) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, value)
    return value
  }

  set(key: string, value: V): void {
    const former = this.#entries.get(key)
    if (former !== undefined) {
      this.#entries.delete(key)
      if (former !== value) this.#onDrop(former)
    }
    this.#entries.set(key, value)
    if (this.#entries.size <= this.#sizeMax) return
    const oldest = this.#entries.keys().next()
    if (!oldest.done) this.delete(oldest.value)
  }

  delete(key: string): void {
    const value = this.#entries.get(key)
    if (value === undefined) return
    this.#entries.delete(key)
    this.#onDrop(value)
  }

  /** Drops every value that `isOver` says so of. */
  deleteWhere(isOver: (value: V) => boolean): void {
    for (const [key, value] of [...this.#entries]) if (isOver(value)) this.delete(key)
  }

  values(): IterableIterator<V> {
    return this.#entries.values()
  }

  clear(): void {
    for (const key of [...this.#entries.keys()]) this.delete(key)
  }
}

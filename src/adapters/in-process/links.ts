// Owns: a collection that many short-lived items enter and leave, in the order in which they came.
// 1. What has left is reachable from nothing here, and reaches nothing. A Set copies its table again and again, and a table
//    that was left behind still points to its items and to the next table: one that grew old keeps all of them until the
//    next full collection of garbage (bench/overload.ts: 1.6 KiB of every call).

/** A place in the collection, for `delete`. */
export interface Link<T> {
  readonly item: T
  previous: Link<T> | undefined
  next: Link<T> | undefined
}

export class Links<T> {
  #first: Link<T> | undefined
  #last: Link<T> | undefined
  #size = 0

  get size(): number {
    return this.#size
  }

  add(item: T): Link<T> {
    const link: Link<T> = { item, previous: this.#last, next: undefined }
    if (this.#last === undefined) this.#first = link
    else this.#last.next = link
    this.#last = link
    this.#size += 1
    return link
  }

  /** No effect on a link that has left. */
  delete(link: Link<T>): void {
    const { previous, next } = link
    if (previous === undefined && this.#first !== link) return
    if (previous === undefined) this.#first = next
    else previous.next = next
    if (next === undefined) this.#last = previous
    else next.previous = previous
    link.previous = undefined
    link.next = undefined
    this.#size -= 1
  }

  /** As they are now, the oldest first. */
  items(): readonly T[] {
    const items: T[] = []
    for (let link = this.#first; link !== undefined; link = link.next) items.push(link.item)
    return items
  }
}

// Owns: what the provider over a key service knew last of its KEKs: which is current, which it refuses, who is told.
// 1. Only KEKs that proved to be ours are noted: a forged block does not fill the table.
// 2. At most `keksMax` are known; the one noted first goes, and the service itself is asked for it again. The current one stays.
// Leaves out: asking the service (the adapters).
import type { KekInfo, KeyChange } from '../ports/key-provider.ts'

export type ServiceKekState = 'usable' | 'revoked' | 'destroyed'

interface KekFacts {
  readonly state: ServiceKekState
  readonly createdAtMs: number
}

const keksMax = 1_000

export class KekStates {
  readonly #known = new Map<string, KekFacts>()
  readonly #listeners = new Set<(change: KeyChange) => void>()
  #current: string | undefined

  get ids(): readonly string[] {
    return [...this.#known.keys()]
  }

  note(kekId: string, facts: KekFacts): void {
    const before = this.#known.get(kekId)
    this.#known.set(kekId, facts)
    for (const id of this.#known.keys()) {
      if (this.#known.size <= keksMax) break
      if (id !== this.#current && id !== kekId) this.#known.delete(id)
    }
    if (before !== undefined && before.state !== facts.state) this.#tell('access')
  }

  noteCurrent(kekId: string): void {
    const before = this.#current
    this.#current = kekId
    if (before !== undefined && before !== kekId) this.#tell('current')
  }

  knows(kekId: string): boolean {
    return this.#known.has(kekId)
  }

  /** Before the service was ever heard nothing is superseded. */
  isCurrent(kekId: string): boolean {
    return this.#current === undefined || this.#current === kekId
  }

  refusalOf(kekId: string): 'KEY_UNAVAILABLE' | 'KEY_SHREDDED' | undefined {
    switch (this.#known.get(kekId)?.state) {
      case 'revoked':
        return 'KEY_UNAVAILABLE'
      case 'destroyed':
        return 'KEY_SHREDDED'
      case 'usable':
      case undefined:
        return undefined
    }
  }

  describe(): readonly KekInfo[] {
    return [...this.#known]
      .filter(([, { state }]) => state === 'usable')
      .map(([kekId, { createdAtMs }]) => ({ kekId, createdAtMs, current: kekId === this.#current }))
  }

  onChange(listener: (change: KeyChange) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  close(): void {
    this.#listeners.clear()
  }

  #tell(change: KeyChange): void {
    for (const listener of [...this.#listeners]) listener(change)
  }
}

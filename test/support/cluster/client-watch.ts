// Owns: what a fault did to one client: at which node its session was, whether it had to move, when it got its first
// good answer again.
// Leaves out: judging what was read and written (crash/verdict.ts).
import type { GatewayKeys } from '../../../src/crypto/gateway-keys.ts'
import { openSessionToken } from '../../../src/crypto/session-token.ts'
import type { Incarnation } from '../../../src/protocol/ids.ts'
import type { AllocateReply, MethodName } from '../../../src/protocol/messages.ts'
import type { CallWatch } from '../crash/observed-client.ts'

const timelineMax = 60

export type ClientKind = 'read' | 'write'

export class ClientWatch implements CallWatch {
  readonly name: string
  readonly kind: ClientKind
  /** It changes its session by its own will, too: its moves prove nothing. */
  readonly restless: boolean
  /** Its application does nothing just now: no good answer is to be expected. */
  resting = false
  /** Where its session is. */
  holder: Incarnation | undefined
  /** Where it was when the fault began. */
  holderBefore: Incarnation | undefined
  /** Sessions allocated since the fault began. */
  moves = 0
  /** From the fault to the first good answer in the session that came after it. */
  recoveredMs: number | undefined
  /** Failed calls since the fault began, by error. */
  readonly errors = new Map<string, number>()
  /** What it heard since the fault began, with the time; its first answers and all failures. For a failed test's message. */
  readonly timeline: string[] = []
  readonly #keys: GatewayKeys
  #faultMs = 0

  constructor(name: string, kind: ClientKind, restless: boolean, keys: GatewayKeys) {
    this.name = name
    this.kind = kind
    this.restless = restless
    this.#keys = keys
  }

  faultBegins(): void {
    this.#faultMs = performance.now()
    this.holderBefore = this.holder
    this.moves = 0
    this.recoveredMs = undefined
    this.errors.clear()
    this.timeline.length = 0
  }

  answered(method: MethodName, reply: unknown): void {
    if (this.recoveredMs === undefined) this.#note(method, 'ok')
    if (method === 'allocate') {
      this.holder = openSessionToken(this.#keys, (reply as AllocateReply).session).incarnation
      this.moves += 1
      return
    }
    if (method !== 'read' && method !== 'write' && method !== 'ack') return
    if (this.moves > 0) this.recoveredMs ??= performance.now() - this.#faultMs
  }

  failed(method: MethodName, { name }: Error): void {
    this.errors.set(name, (this.errors.get(name) ?? 0) + 1)
    this.#note(method, name)
  }

  #note(method: MethodName, what: string): void {
    if (this.timeline.length >= timelineMax) return
    this.timeline.push(`+${Math.round(performance.now() - this.#faultMs)} ${method} ${what}`)
  }
}

export function nodeIdOf(incarnation: Incarnation | undefined): string | undefined {
  return incarnation?.slice(0, incarnation.lastIndexOf('.'))
}

/** `p50/max ms` of some times; `-` when there are none. */
export function describeTimes(times: readonly number[]): string {
  const sorted = times.toSorted((a, b) => a - b)
  const at = (part: number): number => Math.round(sorted[Math.floor(part * (sorted.length - 1))] ?? 0)
  return sorted.length === 0 ? '-' : `${at(0.5)}/${at(1)} ms (${sorted.length})`
}

// Owns: a process's handle on the switchboard, through its gate: a paused node serves nothing until it goes on.
import type {
  AllocateOutcome,
  CallOptions,
  CallOutcome,
  NodePresence,
  ServeHandlers,
  Serving,
  Switchboard,
} from '../../../src/ports/switchboard.ts'
import type { Incarnation } from '../../../src/protocol/ids.ts'
import type { Gate } from './gate.ts'

export class GatedSwitchboard implements Switchboard {
  readonly #inner: Switchboard
  readonly #gate: Gate

  constructor(inner: Switchboard, gate: Gate) {
    this.#inner = inner
    this.#gate = gate
  }

  allocate(body: Uint8Array, options: CallOptions): Promise<AllocateOutcome> {
    return this.#gate.hear(this.#inner.allocate(body, options))
  }

  call(key: Incarnation, body: Uint8Array, options: CallOptions): Promise<CallOutcome> {
    return this.#gate.hear(this.#inner.call(key, body, options))
  }

  async serve(key: Incarnation, handlers: ServeHandlers): Promise<Serving> {
    const gated = (serve: () => Promise<Uint8Array>): Promise<Uint8Array> =>
      // The answer, too, leaves only while the process runs.
      new Promise((resolve, reject) => {
        this.#gate.run(() => void this.#gate.hear(serve()).then(resolve, reject))
      })
    return this.#inner.serve(key, {
      allocate: (body, context) => gated(() => handlers.allocate(body, context)),
      call: (body, context) => gated(() => handlers.call(body, context)),
    })
  }

  presence(): readonly NodePresence[] {
    return this.#inner.presence()
  }

  close(): Promise<void> {
    return this.#inner.close()
  }
}

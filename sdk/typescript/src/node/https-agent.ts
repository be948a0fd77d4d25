// Owns: HTTPS connections that take the client's certificates anew each time (tls.ts).

import { Agent, type AgentOptions, type RequestOptions } from 'node:https'
import type { Duplex } from 'node:stream'
import type { ClientTls } from './tls.ts'

/** No session is resumed over it. Whoever made it destroys it. */
export function httpsAgent(tls: ClientTls, options: AgentOptions): Agent {
  return new FreshAgent(tls, options)
}

class FreshAgent extends Agent {
  readonly #tls: ClientTls

  constructor(tls: ClientTls, options: AgentOptions) {
    super({ ...options, maxCachedSessions: 0 })
    this.#tls = tls
  }

  override createConnection(
    options: RequestOptions,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    return super.createConnection({ ...options, ...this.#tls.connectionTo(options.host ?? '') }, callback)
  }
}

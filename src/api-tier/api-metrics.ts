// Owns: what the API tier counts, as a narrow interface, so that a test can count nothing.
// Labels are of bounded cardinality: methods, error names, fronts.
import type { ErrorName } from '../protocol/errors.ts'

export type Front = 'thrift-tcp' | 'thrift-http' | 'json'

export interface ApiMetrics {
  /** One finished call; `outcome` is 'ok' or the error's name. */
  call(method: string, outcome: 'ok' | ErrorName, durationMs: number): void
  /** A connection of the Thrift listener opened (+1) or closed (-1). */
  tcpConnections(delta: 1 | -1): void
  /** A frame or body that did not decode. */
  decodeFailure(front: Front): void
}

export const nullApiMetrics: ApiMetrics = {
  call: () => {},
  tcpConnections: () => {},
  decodeFailure: () => {},
}

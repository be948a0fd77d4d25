// Owns: why a request got no answer. For logs and decisions inside this adapter; it never reaches a client.

export type TransportFailure =
  /** The broker does not want us: credentials, certificates, a name that is not its own, a version too old. */
  | 'refused'
  /** No connection came about: nothing was sent. */
  | 'unreachable'
  /** Handed to a socket that closed before an answer came. */
  | 'lost'
  | 'timeout'
  /** An answer that is none. */
  | 'malformed'
  | 'closed'

export class TransportError extends Error {
  readonly failure: TransportFailure

  constructor(failure: TransportFailure, what: string, cause?: unknown) {
    super(what, cause === undefined ? {} : { cause })
    this.name = 'TransportError'
    this.failure = failure
  }

  /** Certainly no byte of the request left this process. */
  get neverSent(): boolean {
    return this.failure === 'refused' || this.failure === 'unreachable' || this.failure === 'closed'
  }
}

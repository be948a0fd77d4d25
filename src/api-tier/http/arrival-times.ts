// Owns: how long a request may take to arrive, as options of Node's HTTP and HTTPS servers; the same for every listener.
// 1. Headers have no more time than the whole request.
// 2. Node looks for requests that do not arrive every 30 s by default: until then a slow client would keep its connection.

const slowCheckMs = 1_000

export interface ArrivalTimes {
  readonly requestTimeout: number
  readonly headersTimeout: number
  readonly connectionsCheckingInterval: number
}

export function arrivalTimes(limits: {
  readonly requestTimeoutMs: number
  readonly headersTimeoutMs?: number | undefined
}): ArrivalTimes {
  return {
    requestTimeout: limits.requestTimeoutMs,
    headersTimeout: Math.min(limits.headersTimeoutMs ?? limits.requestTimeoutMs, limits.requestTimeoutMs),
    connectionsCheckingInterval: slowCheckMs,
  }
}

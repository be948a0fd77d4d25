// Owns: how many bytes of a node are staged (written, not yet committed), by client, by tenant and together.
// 1. A client and a tenant stage at most so much: above it a write is refused TOO_MANY_REQUESTS, and comes again when they
//    have acked or disposed. So none of them holds the append buffer, which is everybody's, for as long as it likes.
// 2. All together stage at most half of the append buffer: above it a write is refused UNAVAILABLE. What is committed finds
//    the other half at least, whoever stages.
// 3. Sums are exact: what was added is removed once, by whoever added it; owners without bytes are forgotten.
// Leaves out: the append buffer itself (append-lanes.ts), the window of a session (session.machine.ts).
import { TrunklineError } from '../../protocol/errors.ts'
import { type Owner, OwnerSums } from '../owner-sums.ts'

export interface StagedBytesOptions {
  /** 0 or absent: no limit of its own. */
  readonly clientBytesMax?: number | undefined
  readonly tenantBytesMax?: number | undefined
  /** Of the node. */
  readonly appendBufferBytes: number
}

/** When an ack of theirs may have made room. */
const ownRetryMs = 1_000
/** As for a full append buffer. */
const sharedRetryMs = 100

export class StagedBytes {
  readonly #bytesMax: number
  readonly #clients: OwnerSums
  readonly #tenants: OwnerSums
  #bytes = 0

  constructor({ clientBytesMax = 0, tenantBytesMax = 0, appendBufferBytes }: StagedBytesOptions) {
    this.#bytesMax = Math.floor(appendBufferBytes / 2) // rule 2
    this.#clients = new OwnerSums({ limit: 'client staged bytes', max: clientBytesMax, retryAfterMs: ownRetryMs })
    this.#tenants = new OwnerSums({ limit: 'tenant staged bytes', max: tenantBytesMax, retryAfterMs: ownRetryMs })
  }

  /** Of all. */
  get bytes(): number {
    return this.#bytes
  }

  /** How many owners are remembered: 0 when nothing is staged. */
  get owners(): number {
    return this.#clients.size + this.#tenants.size
  }

  /** Whether `bytes` more may be staged now; nothing is taken. Errors: TOO_MANY_REQUESTS (rule 1), UNAVAILABLE (rule 2). */
  check({ client, tenant }: Owner, bytes: number): void {
    this.#clients.check(client, bytes)
    this.#tenants.check(tenant, bytes)
    if (this.#bytes + bytes > this.#bytesMax) throw new TrunklineError('UNAVAILABLE', { retryAfterMs: sharedRetryMs })
  }

  add({ client, tenant }: Owner, bytes: number): void {
    this.#bytes += bytes
    this.#clients.change(client, bytes)
    this.#tenants.change(tenant, bytes)
  }

  remove({ client, tenant }: Owner, bytes: number): void {
    this.#bytes -= bytes
    this.#clients.change(client, -bytes)
    this.#tenants.change(tenant, -bytes)
  }
}

// Owns: how much of this process a request takes while it is under way, as a number of bytes.
import type { MethodName, RequestOf } from '../../protocol/messages.ts'
import type { Demand } from './quotas.ts'

/** What any request costs besides its payload: token, numbers, promises. */
const requestBytes = 1_024
/** Beside its payload: key, id, headers and the object itself. */
const eventBytes = 256

export function demandOf(request: RequestOf<MethodName>): Demand {
  let bytes = requestBytes
  if ('blocks' in request) for (const { data } of request.blocks ?? []) bytes += data.length
  if ('events' in request) for (const { payload } of request.events ?? []) bytes += eventBytes + (payload?.length ?? 0)
  return {
    bytes,
    waits: 'waitMs' in request && (request.waitMs ?? 0) > 0,
    unpacks: 'asEvents' in request && request.asEvents === true,
  }
}

/** Of a call without a session. */
export const plainDemand: Demand = { bytes: requestBytes, waits: false, unpacks: false }

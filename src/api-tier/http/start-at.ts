// Owns: `from` and `cursor` of the JSON API → where a reader starts.
import type { StartAt } from '../../protocol/messages.ts'
import { badField, timeMsOf } from './json-values.ts'
import { bytesOfBase64url } from './session-headers.ts'

/** Default earliest. Errors: BAD_REQUEST (both, or not a time). */
export function startAtOf(from: string | undefined, cursor: string | undefined): StartAt {
  if (cursor !== undefined) {
    if (from !== undefined) throw badField('cursor', 'from or cursor, not both')
    return { cursor: bytesOfBase64url(cursor, 'cursor') }
  }
  if (from === undefined || from === 'earliest') return { earliest: true }
  if (from === 'latest') return { latest: true }
  return { timestampMs: timeMsOf(from, 'from') }
}

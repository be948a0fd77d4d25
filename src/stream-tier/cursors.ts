// Owns: a session's cursors: content (protocol) sealed for one (cluster, tenant, topic), and opened again on any node.
import { type CursorScope, CursorSealer, openCursor } from '../crypto/cursor-seal.ts'
import type { GatewayKeys } from '../crypto/gateway-keys.ts'
import type { Random } from '../ports/random.ts'
import {
  type CursorContent,
  decodeCursorContent,
  encodeCursorContent,
  type ReadCursorContent,
  type WriteCursorContent,
} from '../protocol/cursor-content.ts'
import { TrunklineError } from '../protocol/errors.ts'

export class SessionCursors {
  readonly #sealer: CursorSealer

  constructor(keys: GatewayKeys, scope: CursorScope, random: Random) {
    this.#sealer = new CursorSealer(keys, scope, random)
  }

  seal(content: CursorContent): Uint8Array {
    return this.#sealer.seal(encodeCursorContent(content))
  }
}

/** Errors: BAD_CURSOR (also a write cursor), CURSOR_FOREIGN, CURSOR_VERSION. */
export function openReadCursor(keys: GatewayKeys, scope: CursorScope, bytes: Uint8Array): ReadCursorContent {
  const content = decodeCursorContent(openCursor(keys, scope, bytes))
  if (content.kind !== 'read' || content.topicId !== scope.topicId) throw new TrunklineError('BAD_CURSOR')
  return content
}

/** Errors: BAD_CURSOR (also a read cursor), CURSOR_FOREIGN, CURSOR_VERSION. */
export function openWriteCursor(keys: GatewayKeys, scope: CursorScope, bytes: Uint8Array): WriteCursorContent {
  const content = decodeCursorContent(openCursor(keys, scope, bytes))
  if (content.kind !== 'write' || content.topicId !== scope.topicId) throw new TrunklineError('BAD_CURSOR')
  return content
}

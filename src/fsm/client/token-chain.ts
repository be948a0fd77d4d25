// Owns: rule 6 of exactly-once publishing, "one chain of tokens" (design.md §3), as pure code and in this file alone.
// T1 `held` is the newest session token under which a write was ever SENT; null before the first write.
// T2 An allocate carries `held`, so that the node asked takes over from the one session that may have appended.
// T3 An allocate's answer counts only if it was allocated with the token held NOW: since another one, writes may have
//    been sent elsewhere, and what that answer looked up is out of date.
// Tokens are compared by content: a snapshot that was stored and restored means the same.
// Leaves out: which writes are unanswered (write-window.ts), when to allocate (client-session.machine.ts).

import { equalBytes } from '../../protocol/turns.ts'

export type SessionToken = Uint8Array

export interface TokenChain {
  readonly held: SessionToken | null
}

/** A producer that has sent nothing. */
export const emptyChain: TokenChain = { held: null }

/** T1: a write goes out in the session of `token`. */
export function chainAfterSend(chain: TokenChain, token: SessionToken): TokenChain {
  return sameToken(chain.held, token) ? chain : { held: token }
}

/** T2: the token that the next allocate carries; null: a new producer is asked for. */
export function tokenToResume(chain: TokenChain): SessionToken | null {
  return chain.held
}

/** T3: whether the answer to an allocate that carried `allocatedWith` may be gone on with. */
export function answerCounts(chain: TokenChain, allocatedWith: SessionToken | null): boolean {
  return sameToken(allocatedWith, chain.held)
}

function sameToken(a: SessionToken | null, b: SessionToken | null): boolean {
  return a === b || (a !== null && b !== null && equalBytes(a, b))
}

// Owns: turn-keeping of one slot of a session (design.md §3 "One frame for every call"); pure, used by both sides.
// 1. Requests of a slot run in the order of `seq`, each once; a repeat within the window is answered from the cache.
// 2. A request that is refused (out of turn, wrong challenge) changes nothing.
// 3. A request echoes one of the last `window + 1` challenges, so a full window can be pipelined.
// Leaves out: the cached replies themselves, MACs (signed-bytes.ts).

export interface SlotTurns {
  /** The seq that runs next; the first is 1. */
  readonly next: number
  /** How many requests may be out at once: 1, or the announced write window. */
  readonly window: number
  /** Issued challenges, newest last, at most window + 1. */
  readonly challenges: readonly Uint8Array[]
}

export type TurnVerdict = 'run' | 'repeat' | 'out-of-turn' | 'bad-challenge'

export function openTurns(firstChallenge: Uint8Array, window: number): SlotTurns {
  return { next: 1, window, challenges: [firstChallenge] }
}

/** A repeat keeps the challenge of its first sending, so only its seq is judged here; its owner compares the content. */
export function judgeTurn(turns: SlotTurns, seq: number, challenge: Uint8Array): TurnVerdict {
  if (seq < turns.next && seq >= 1 && seq >= turns.next - turns.window) return 'repeat'
  if (seq !== turns.next) return 'out-of-turn'
  return turns.challenges.some((issued) => equalBytes(issued, challenge)) ? 'run' : 'bad-challenge'
}

/** The request with `turns.next` is taken. */
export function takeTurn(turns: SlotTurns): SlotTurns {
  return { ...turns, next: turns.next + 1 }
}

/** A reply goes out with a new challenge. */
export function issueChallenge(turns: SlotTurns, challenge: Uint8Array): SlotTurns {
  return { ...turns, challenges: [...turns.challenges, challenge].slice(-(turns.window + 1)) }
}

export function newestChallenge(turns: SlotTurns): Uint8Array {
  const newest = turns.challenges.at(-1)
  if (newest === undefined) throw new Error('a slot always has a challenge')
  return newest
}

/** Not constant-time: challenges are one-time values that prove freshness, the MAC proves identity. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

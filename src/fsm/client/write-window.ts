// Owns: the window of unanswered writes of one producer, as pure code.
// W1 Numbers are given at the first sending, contiguous, in the order of arrival; a write keeps its number and its
//    blocks until it is answered.
// W2 Writes go out in the order of their numbers, at most the announced window of them unanswered at once, and none a
//    window or more after the oldest unanswered one: its answer would not be kept for it any longer.
// W3 What a resume carries is every write that has a number: it was sent and never answered.
// W4 A write cursor from a reply is a lower bound for what was not sent yet when the reply came, but it may lie behind
//    a write whose own answer is still missing. So it is adopted only when everything sent by then is answered.
// Leaves out: why something is sent again (error-verdict.ts), tokens (token-chain.ts).
import { type PartResult, partState, type UnansweredWrite, type WriteOutcome } from '../../protocol/messages.ts'
import type { Lane, OpenSession, PendingWrite, WriteWindow } from './client-session.types.ts'

export const emptyWindow: WriteWindow = { writes: [], nextN: 1, cursor: null, candidate: null }

/** Whether one more write may be added: an empty window takes any. */
export function hasRoom(
  window: WriteWindow,
  bounds: { windowWrites: number; windowBytes: number },
  bytes: number,
): boolean {
  return fits(window.writes, bounds, bytes)
}

export function addWrite(
  window: WriteWindow,
  write: { id: number; partitions: readonly number[]; bytes: number },
): WriteWindow {
  const pending: PendingWrite = {
    id: write.id,
    n: 0,
    partitions: write.partitions,
    bytes: write.bytes,
    state: 'queued',
    seq: 0,
    challenge: null,
    sendings: 0,
    uncertain: false,
    landed: [],
  }
  return { ...window, writes: [...window.writes, pending] }
}

export function isOut(write: PendingWrite): boolean {
  return write.state !== 'queued'
}

export function isSettled(window: WriteWindow): boolean {
  return !window.writes.some(isOut)
}

/** Sends what is queued, as far as the announced window reaches (W1, W2). */
export function sendQueued(
  window: WriteWindow,
  session: OpenSession,
  lane: Lane,
): { window: WriteWindow; lane: Lane; sent: readonly PendingWrite[] } {
  let { nextN } = window
  let { nextSeq } = lane
  const out = window.writes.filter(isOut)
  const sent: PendingWrite[] = []
  // W2. Answers come in any order; that of the oldest can be lost while those after it arrive.
  const endSeq = Math.min(...out.map(({ seq }) => seq), nextSeq) + session.windowWrites
  let full = false
  const writes = window.writes.map((write) => {
    if (isOut(write)) return write
    full ||= nextSeq >= endSeq || !fits(out, session, write.bytes)
    if (full) return write
    const n = write.n === 0 ? nextN++ : write.n
    const next: PendingWrite = {
      ...write,
      n,
      state: 'sent',
      seq: nextSeq++,
      challenge: lane.challenge,
      sendings: write.sendings + 1,
      uncertain: true,
    }
    sent.push(next)
    out.push(next)
    return next
  })
  return sent.length === 0
    ? { window, lane, sent }
    : { window: { ...window, writes, nextN }, lane: { ...lane, nextSeq }, sent }
}

/** Repeats, as they were, the requests that wait for it. */
export function repeatWrites(window: WriteWindow): { window: WriteWindow; sent: readonly PendingWrite[] } {
  const sent: PendingWrite[] = []
  const writes = window.writes.map((write) => {
    if (write.state !== 'again') return write
    const next: PendingWrite = { ...write, state: 'sent', sendings: write.sendings + 1, uncertain: true }
    sent.push(next)
    return next
  })
  return { window: { ...window, writes }, sent }
}

export function changeWrite(window: WriteWindow, seq: number, change: Partial<PendingWrite>): WriteWindow {
  return {
    ...window,
    writes: window.writes.map((write) => (isOut(write) && write.seq === seq ? { ...write, ...change } : write)),
  }
}

export function removeWrite(window: WriteWindow, id: number): WriteWindow {
  return adoptCandidate({ ...window, writes: window.writes.filter((write) => write.id !== id) })
}

/** W4. Call it after the write that the reply answers was removed. */
export function noteCursor(window: WriteWindow, cursor: Uint8Array | undefined): WriteWindow {
  if (cursor === undefined || window.candidate !== null) return window
  return adoptCandidate({ ...window, candidate: { cursor, untilN: window.nextN - 1 } })
}

function adoptCandidate(window: WriteWindow): WriteWindow {
  const { candidate } = window
  if (candidate === null || window.writes.some(({ n }) => n > 0 && n <= candidate.untilN)) return window
  return { ...window, cursor: candidate.cursor, candidate: null }
}

/** W3. */
export function unansweredWrites(window: WriteWindow): readonly UnansweredWrite[] {
  return window.writes.filter(({ n }) => n > 0).map(({ n, partitions }) => ({ n, partitions }))
}

/** The session is gone: nothing is out any more, what was sent stays uncertain. */
export function leaveWindow(window: WriteWindow): WriteWindow {
  return {
    ...window,
    candidate: null,
    writes: window.writes.map((write) => ({ ...write, state: 'queued', seq: 0, challenge: null, sendings: 0 })),
  }
}

/** The producer is given up: what is left has never landed and is numbered anew. */
export function renumberWindow(window: WriteWindow): WriteWindow {
  return {
    ...emptyWindow,
    writes: leaveWindow(window).writes.map((write) => ({ ...write, n: 0, uncertain: false, landed: [] })),
  }
}

/** Whether an error that names the expected number names one that this window can send. */
export function awaits(window: WriteWindow, n: number | undefined): boolean {
  return n !== undefined && window.writes.some((write) => write.n === n)
}

export type Found = 'landed' | 'missing' | 'unknown'

/** What a look-up says of one write. A write it says nothing about is unknown: never guessed. */
export function foundState(outcome: WriteOutcome | undefined, parts: number): Found {
  if (outcome === undefined || outcome.parts.length !== parts) return 'unknown'
  if (outcome.parts.some(({ state }) => state === partState.unknown)) return 'unknown'
  return outcome.parts.every(({ state }) => state === partState.landed) ? 'landed' : 'missing'
}

/** Part results of a landed write; parts that only an earlier look-up could place are filled in. */
export function mergeParts(answered: readonly PartResult[], found: readonly PartResult[]): readonly PartResult[] {
  if (found.length === 0) return answered
  const byPart = new Map(answered.map((part) => [part.part, part]))
  for (const part of found) if (byPart.get(part.part)?.offset === undefined) byPart.set(part.part, part)
  return [...byPart.values()].sort((a, b) => a.part - b.part)
}

function fits(
  writes: readonly PendingWrite[],
  bounds: { readonly windowWrites: number; readonly windowBytes: number },
  bytes: number,
): boolean {
  if (writes.length === 0) return true
  return (
    writes.length < bounds.windowWrites && writes.reduce((sum, write) => sum + write.bytes, bytes) <= bounds.windowBytes
  )
}

// The window of unanswered writes: numbers, order, bounds, and when a write cursor may be believed.
import { describe, expect, it } from 'vitest'
import type { Lane, OpenSession, WriteWindow } from '../../../../src/fsm/client/client-session.types.ts'
import {
  addWrite,
  emptyWindow,
  foundState,
  hasRoom,
  leaveWindow,
  mergeParts,
  noteCursor,
  removeWrite,
  sendQueued,
  unansweredWrites,
} from '../../../../src/fsm/client/write-window.ts'
import { partState } from '../../../../src/protocol/messages.ts'

const session: OpenSession = {
  attempt: 1,
  token: new Uint8Array(1),
  keepAliveMs: 1,
  windowWrites: 3,
  proven: false,
  windowBytes: 10,
}
const lane: Lane = { nextSeq: 1, challenge: new Uint8Array(1), turnSeq: 1 }

/** Writes with these sizes, named by their index. */
function queued(...sizes: number[]): WriteWindow {
  return sizes.reduce((window, bytes, id) => addWrite(window, { id, partitions: [id], bytes }), emptyWindow)
}

describe('sending', () => {
  it('numbers in order, each once, and keeps the numbers for another session', () => {
    const first = sendQueued(queued(1, 1), session, lane)
    expect(first.sent.map(({ id, n, seq }) => [id, n, seq])).toEqual([
      [0, 1, 1],
      [1, 2, 2],
    ])
    const again = sendQueued(
      addWrite(leaveWindow(first.window), { id: 2, partitions: [0], bytes: 1 }),
      { ...session, attempt: 2 },
      lane,
    )
    expect(again.sent.map(({ id, n, seq }) => [id, n, seq])).toEqual([
      [0, 1, 1],
      [1, 2, 2],
      [2, 3, 3],
    ])
  })

  it('sends at most the announced writes', () => {
    expect(sendQueued(queued(1, 1, 1, 1), session, lane).sent).toHaveLength(3)
  })

  it('stays within a window of the oldest unanswered write, however many after it are answered', () => {
    const { window, lane: next } = sendQueued(queued(1, 1, 1, 1, 1), session, lane)
    const later = removeWrite(removeWrite(window, 1), 2)
    expect(sendQueued(later, session, next).sent).toEqual([])
    const { sent } = sendQueued(removeWrite(later, 0), session, next)
    expect(sent.map(({ seq }) => seq)).toEqual([4, 5])
  })

  it('never lets a small write overtake one that does not fit', () => {
    expect(sendQueued(queued(6, 6, 1), session, lane).sent.map(({ id }) => id)).toEqual([0])
  })

  it('sends a write above the window alone', () => {
    expect(sendQueued(queued(50), session, lane).sent).toHaveLength(1)
    expect(hasRoom(emptyWindow, session, 50)).toBe(true)
    expect(hasRoom(queued(1), session, 10)).toBe(false)
  })

  it('names as unanswered what has a number, and nothing else', () => {
    const { window } = sendQueued(queued(1, 1, 1, 1), session, lane)
    expect(unansweredWrites(window).map(({ n }) => n)).toEqual([1, 2, 3])
  })
})

describe('the write cursor', () => {
  it('is adopted only when everything sent by then is answered', () => {
    const { window } = sendQueued(queued(1, 1), session, lane)
    const cursor = Uint8Array.of(7)
    const afterSecond = noteCursor(removeWrite(window, 1), cursor)
    expect(afterSecond.cursor).toBeNull()
    expect(removeWrite(afterSecond, 0).cursor).toBe(cursor)
  })

  it('waits for no write that was sent later', () => {
    const { window, lane: next } = sendQueued(queued(1), session, lane)
    const noted = noteCursor(window, Uint8Array.of(7))
    const more = sendQueued(addWrite(noted, { id: 9, partitions: [0], bytes: 1 }), session, next)
    expect(removeWrite(more.window, 0).cursor).toEqual(Uint8Array.of(7))
  })

  it('is forgotten with the session it came in', () => {
    const { window } = sendQueued(queued(1), session, lane)
    expect(leaveWindow(noteCursor(window, Uint8Array.of(7))).candidate).toBeNull()
  })
})

describe('what a look-up found', () => {
  const part = (index: number, state: number) => ({ part: index, partition: 0, state })

  it.each([
    ['landed', [partState.landed, partState.landed]],
    ['missing', [partState.landed, partState.missing]],
    ['unknown', [partState.missing, partState.unknown]],
    // Fewer parts than were sent: nothing is guessed.
    ['unknown', [partState.landed]],
  ] as const)('is %s for parts %j', (found, states) => {
    expect(foundState({ n: 1, parts: states.map((state, index) => part(index, state)) }, 2)).toBe(found)
  })

  it('is unknown when it says nothing', () => {
    expect(foundState(undefined, 1)).toBe('unknown')
  })

  it('fills in the offsets that an answer leaves out', () => {
    const merged = mergeParts([part(0, partState.landed)], [{ ...part(0, partState.landed), offset: 5 }])
    expect(merged).toEqual([{ ...part(0, partState.landed), offset: 5 }])
  })
})

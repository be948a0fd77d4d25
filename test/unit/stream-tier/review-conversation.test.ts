// What a client that ignores its window can make a session keep is bounded, and no answer is lost by the bound.
import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import type { RequestRef } from '../../../src/fsm/server/session.types.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import type { Turn } from '../../../src/protocol/messages.ts'
import { Conversation } from '../../../src/stream-tier/conversation.ts'

function talk(window: number): {
  conversation: Conversation
  ask: (seq: number) => { request: RequestRef; answered: Promise<unknown> }
  refuse: (request: RequestRef) => void
} {
  const conversation = new Conversation({ random: new SeededRandom('talk'), leaseMs: 1, window })
  let turn: Turn = conversation.firstTurn()
  return {
    conversation,
    ask: (seq) => {
      turn = conversation.firstTurn()
      const begun = conversation.begin({ slot: 0, seq, challenge: turn.challenge }, `ack ${seq}`)
      if (begun.kind !== 'run') throw new Error('a repeat')
      return begun
    },
    refuse: (request) => conversation.answer(request, { error: new TrunklineError('STEP_BUSY') }),
  }
}

describe('a conversation whose oldest request waits', () => {
  it('given refusals without end behind it, then only those of the window are kept, and the oldest is answered', async () => {
    const { conversation, ask, refuse } = talk(1)
    const parked = ask(1)
    for (let seq = 2; seq <= 500; seq++) refuse(ask(seq).request)
    const repeat = (seq: number): unknown =>
      conversation.begin({ slot: 0, seq, challenge: new Uint8Array() }, `ack ${seq}`)
    expect(repeat(500)).toMatchObject({ kind: 'repeat' })
    expect(() => repeat(499)).toThrow(TrunklineError)
    expect(conversation.owes(parked.request)).toBe(true)
    conversation.answer(parked.request, { reply: {} })
    expect(await parked.answered).toMatchObject({ reply: { turn: { nextSeq: 501 } } })
    expect(conversation.open).toBe(0)
  })

  it('given more unanswered requests than the window and its slack, then TOO_MANY_REQUESTS, and nothing is spent', () => {
    const { conversation, ask } = talk(8)
    for (let seq = 1; seq <= 24; seq++) ask(seq)
    let refusal: unknown
    try {
      ask(25)
    } catch (thrown) {
      refusal = thrown
    }
    expect(refusal).toMatchObject({ name: 'TOO_MANY_REQUESTS', turn: { nextSeq: 25 } })
    conversation.answer({ slot: 0, seq: 1 }, { reply: {} })
    expect(ask(25).request.seq).toBe(25)
  })
})

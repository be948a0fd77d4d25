// C1 and C2: what is begun is answered once, what comes again gets that same answer, and nothing is kept for ever.
import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { type ErrorName, TrunklineError } from '../../../src/protocol/errors.ts'
import type { Proof } from '../../../src/protocol/messages.ts'
import { type Answered, Conversation } from '../../../src/stream-tier/conversation.ts'

function conversation(window = 1): Conversation {
  return new Conversation({ random: new SeededRandom('conversation'), leaseMs: 5, window })
}

const proof = (talk: Conversation, seq: number, at: 0 | 1 = 0): Proof => ({
  slot: at,
  seq,
  challenge: talk.firstTurn().challenge,
})

function errorOf(call: () => unknown): TrunklineError {
  try {
    call()
  } catch (thrown) {
    if (thrown instanceof TrunklineError) return thrown
    throw thrown
  }
  throw new Error('nothing was thrown')
}

const turnOf = (answered: Answered): { nextSeq: number; challenge: Uint8Array } => {
  const turn = 'error' in answered ? answered.error.turn : answered.reply.turn
  if (turn === undefined) throw new Error('no turn')
  return turn
}

describe('turns', () => {
  it('given a first request, then it runs, and its repeats before and after the answer get that very answer', async () => {
    const talk = conversation()
    const first = talk.begin(proof(talk, 1), 'read 1')
    if (first.kind !== 'run') throw new Error('not run')
    const before = talk.begin(proof(talk, 1), 'read 1')
    expect([before.kind, talk.open]).toEqual(['repeat', 1])
    talk.answer(first.request, { reply: { n: 1 } })
    const after = talk.begin(proof(talk, 1), 'read 1')
    const answers = await Promise.all([first.answered, before.answered, after.answered])
    expect(new Set(answers).size).toBe(1)
    expect([talk.open, turnOf(await first.answered).nextSeq]).toEqual([0, 2])
  })

  it('given a seq out of turn or a challenge that was never issued, then it is refused and nothing is spent', () => {
    const talk = conversation()
    for (const seq of [0, 2, -1]) {
      const error = errorOf(() => talk.begin(proof(talk, seq), 'x'))
      expect([error.name, error.expected]).toEqual(['SEQUENCE_MISMATCH', 1])
    }
    const wrong = errorOf(() => talk.begin({ slot: 0, seq: 1, challenge: new Uint8Array(12) }, 'x'))
    expect([wrong.name, wrong.turn?.nextSeq]).toEqual(['BAD_CHALLENGE', 1])
    for (const bad of [
      undefined,
      { seq: 1, slot: 2 },
      { slot: 0 },
      { slot: 0, seq: 1.5 },
      { slot: 0, seq: Number.NaN },
    ])
      expect(errorOf(() => talk.begin(bad, 'x')).name).toBe('BAD_REQUEST')
    expect(talk.begin(proof(talk, 1), 'x').kind).toBe('run')
  })

  it('given another request under a taken seq, then SEQUENCE_MISMATCH; another write, then WRITE_CHANGED', () => {
    const talk = conversation(8)
    talk.begin(proof(talk, 1), 'write 1 true aa')
    talk.begin(proof(talk, 2), 'read 1')
    const names: ErrorName[] = [
      errorOf(() => talk.begin(proof(talk, 1), 'write 1 true bb')).name,
      errorOf(() => talk.begin(proof(talk, 1), 'ack 1')).name,
      errorOf(() => talk.begin(proof(talk, 2), 'write 1 true aa')).name,
    ]
    expect(names).toEqual(['WRITE_CHANGED', 'SEQUENCE_MISMATCH', 'SEQUENCE_MISMATCH'])
  })

  it('given a window of eight, then eight run on one challenge, and answers out of order go to their own requests', async () => {
    const talk = conversation(8)
    const begun = Array.from({ length: 8 }, (_, i) => talk.begin(proof(talk, i + 1), `write ${i + 1}`))
    expect(talk.open).toBe(8)
    for (const one of [...begun].reverse())
      if (one.kind === 'run') talk.answer(one.request, { reply: { n: one.request.seq } })
    const replies = await Promise.all(begun.map(({ answered }) => answered))
    expect(replies.map((one) => ('reply' in one ? (one.reply as unknown as { n: number }).n : 0))).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8,
    ])
  })

  it('given challenges older than the window, then they are worn out', () => {
    const talk = conversation(1)
    const old = proof(talk, 1)
    for (let seq = 1; seq <= 3; seq++) {
      const one = talk.begin(proof(talk, seq), `${seq}`)
      if (one.kind === 'run') talk.answer(one.request, { reply: {} })
    }
    expect(errorOf(() => talk.begin({ ...old, seq: 4 }, '4')).name).toBe('BAD_CHALLENGE')
    expect(talk.begin(proof(talk, 4), '4').kind).toBe('run')
  })

  it('given an answer that left the window, then its repeat is out of turn', () => {
    const talk = conversation(1)
    for (let seq = 1; seq <= 2; seq++) {
      const one = talk.begin(proof(talk, seq), `${seq}`)
      if (one.kind === 'run') talk.answer(one.request, { reply: {} })
    }
    expect(errorOf(() => talk.begin(proof(talk, 1), '1')).expected).toBe(3)
    expect(talk.begin(proof(talk, 2), '2').kind).toBe('repeat')
  })

  it('given the two slots, then each has its own turns', () => {
    const talk = conversation()
    expect(talk.begin(proof(talk, 1, 0), 'read').kind).toBe('run')
    expect(talk.begin({ ...proof(talk, 1, 0), slot: 1 }, 'extend').kind).toBe('run')
    expect(talk.open).toBe(2)
  })
})

describe('the end', () => {
  it('given an error for all, then what is owed gets it and what was answered keeps its answer', async () => {
    const talk = conversation(8)
    const done = talk.begin(proof(talk, 1), 'ack 1')
    const owed = talk.begin(proof(talk, 2), 'read 2')
    const control = talk.begin(proof(talk, 1, 1), 'extend')
    if (done.kind === 'run') talk.answer(done.request, { reply: { n: 1 } })
    talk.answerAll(new TrunklineError('SESSION_GONE'))
    expect('reply' in (await done.answered)).toBe(true)
    for (const one of [owed, control]) {
      const answer = await one.answered
      expect('error' in answer && answer.error.name).toBe('SESSION_GONE')
    }
    expect(talk.open).toBe(0)
  })

  it('given that batches are let go, then a repeated read is SESSION_GONE and every other answer is still repeated', () => {
    const talk = conversation(8)
    for (const [seq, what] of ['read 1', 'ack 1', 'dispose'].entries()) {
      const one = talk.begin(proof(talk, seq + 1), what)
      if (one.kind === 'run') talk.answer(one.request, { reply: {} })
    }
    talk.forgetBatches()
    expect(errorOf(() => talk.begin(proof(talk, 1), 'read 1')).name).toBe('SESSION_GONE')
    expect(talk.begin(proof(talk, 2), 'ack 1').kind).toBe('repeat')
    expect(talk.begin(proof(talk, 3), 'dispose').kind).toBe('repeat')
  })

  it('given a second answer, then it is a bug and loud', () => {
    const talk = conversation()
    const one = talk.begin(proof(talk, 1), 'x')
    if (one.kind !== 'run') throw new Error('not run')
    expect(talk.owes(one.request)).toBe(true)
    talk.answer(one.request, { reply: {} })
    expect(talk.owes(one.request)).toBe(false)
    expect(() => talk.answer(one.request, { reply: {} })).toThrow('answered once')
  })
})

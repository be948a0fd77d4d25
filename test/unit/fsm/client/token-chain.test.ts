// Rule 6, one chain of tokens, by itself.
import { describe, expect, it } from 'vitest'
import { answerCounts, chainAfterSend, emptyChain, tokenToResume } from '../../../../src/fsm/client/token-chain.ts'

const a = Uint8Array.of(1)
const b = Uint8Array.of(2)

describe('the chain of tokens', () => {
  it('asks for a new producer before a write was ever sent', () => {
    expect(tokenToResume(emptyChain)).toBeNull()
    expect(answerCounts(emptyChain, null)).toBe(true)
  })

  it('resumes with the newest token under which a write was sent', () => {
    expect(tokenToResume(chainAfterSend(chainAfterSend(emptyChain, a), b))).toEqual(b)
  })

  it('takes no answer that was allocated with another token than the one held now', () => {
    const chain = chainAfterSend(chainAfterSend(emptyChain, a), b)
    expect(answerCounts(chain, a)).toBe(false)
    expect(answerCounts(chain, null)).toBe(false)
    expect(answerCounts(chain, b)).toBe(true)
  })

  it('compares tokens by content', () => {
    expect(answerCounts(chainAfterSend(emptyChain, a), a.slice())).toBe(true)
  })
})

// The judge of the crash and cluster runs: what it finds, and what a call that may be repeated is allowed.
import { describe, expect, it } from 'vitest'
import { Ledger } from '../../support/crash/ledger.ts'
import { judgeTopic, type Stored } from '../../support/crash/verdict.ts'

const at = (id: string, place: number): Stored => ({ id, partition: 0, place, position: `0:${place}:0` })

function kinds(mayRepeat: boolean, stored: readonly Stored[], position = '0:0:0'): string[] {
  const ledger = new Ledger()
  ledger.settle(ledger.attempt('p', 1, undefined, mayRepeat), 'acked', position)
  return judgeTopic(ledger.attempts, stored).map(({ kind }) => kind)
}

describe('the judge of a topic', () => {
  it('given an acked event that is there, missing, elsewhere or twice, then each is found', () => {
    expect(kinds(false, [at('p#1', 0)])).toEqual([])
    expect(kinds(false, [])).toEqual(['lost'])
    expect(kinds(false, [at('p#1', 3)])).toEqual(['place'])
    expect(kinds(false, [at('p#1', 0), at('p#1', 1)])).toEqual(['duplicate'])
  })

  it('given one that may repeat, then twins are none, and it still has to be where its answer said', () => {
    expect(kinds(true, [at('p#1', 0), at('p#1', 1)])).toEqual([])
    expect(kinds(true, [at('p#1', 0), at('p#1', 1)], '0:1:0')).toEqual([])
    expect(kinds(true, [at('p#1', 0), at('p#1', 1)], '0:2:0')).toEqual(['place'])
    expect(kinds(true, [])).toEqual(['lost'])
  })

  it('given an event that nobody attempted, then it is a phantom', () => {
    expect(kinds(false, [at('p#1', 0), at('q#1', 1)])).toEqual(['phantom'])
  })
})

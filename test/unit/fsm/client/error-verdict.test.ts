// What an error means for the request it answers.
import { describe, expect, it } from 'vitest'
import { judgeAllocateError, judgeError } from '../../../../src/fsm/client/error-verdict.ts'
import { type ErrorName, TrunklineError } from '../../../../src/protocol/errors.ts'

const turn = (nextSeq: number): { turn: { nextSeq: number; challenge: Uint8Array; leaseMs: number } } => ({
  turn: { nextSeq, challenge: new Uint8Array(), leaseMs: 1 },
})

describe('an error to request 5', () => {
  it.each([
    ['BAD_BLOCK', turn(6), 1, 'refused'],
    ['BAD_BLOCK', turn(6), 3, 'refused'],
    // Before the session: certain only when it was sent no other time.
    ['FRAME_TOO_LARGE', {}, 1, 'refused'],
    ['FRAME_TOO_LARGE', {}, 2, 'leave'],
    ['UNAVAILABLE', {}, 1, 'again'],
    ['UNAVAILABLE', turn(6), 1, 'resend'],
    ['UNAVAILABLE', turn(5), 1, 'again'],
    ['DEADLINE', {}, 4, 'again'],
    ['INTERNAL', {}, 1, 'again'],
    ['INTERNAL', turn(6), 1, 'resend'],
    ['WRITE_HELD', turn(6), 1, 'resend'],
    ['STORAGE_FULL', turn(6), 1, 'leave'],
    ['SESSION_GONE', {}, 1, 'leave'],
    ['DRAINING', {}, 1, 'leave'],
    ['BAD_CHALLENGE', turn(5), 1, 'again'],
    ['OUTCOME_UNKNOWN', turn(6), 1, 'unknown'],
    ['SEQUENCE_MISMATCH', { ...turn(4), expected: 4, details: { of: 'seq' } }, 1, 'again'],
    ['SEQUENCE_MISMATCH', { ...turn(20), expected: 20, details: { of: 'seq' } }, 1, 'leave'],
    ['SEQUENCE_MISMATCH', { ...turn(6), expected: 3, details: { of: 'n' } }, 1, 'resend'],
    ['SEQUENCE_MISMATCH', {}, 1, 'leave'],
  ] as const)('%s with %j, sent %d times, means %s', (name, extras, sendings, verdict) => {
    expect(judgeError(new TrunklineError(name, extras), 5, sendings)).toBe(verdict)
  })
})

describe('an error to an allocate', () => {
  it.each([
    ['PENDING', true, 'retry'],
    ['NO_CAPACITY', false, 'retry'],
    ['BAD_SESSION_TOKEN', true, 'forget'],
    ['SESSION_GONE', true, 'forget'],
    ['BAD_CURSOR', false, 'fatal'],
    ['TOPIC_CHANGED', true, 'fatal'],
    ['UNKNOWN_TOPIC', false, 'fatal'],
  ] as const)('%s, resuming: %s, means %s', (name: ErrorName, resumes, verdict) => {
    expect(judgeAllocateError(new TrunklineError(name), resumes)).toBe(verdict)
  })
})

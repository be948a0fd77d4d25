// Proves that failed logins are slowed by address and name, that nobody is slowed from elsewhere, and that neither made-up
// names, nor an own account, nor many addresses make the gateway forget cheaply.
import { describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { Callers } from '../../../src/api-tier/auth/callers.ts'
import { FailedLogins } from '../../../src/api-tier/auth/failed-logins.ts'
import { addressRanges } from '../../../src/config/address-ranges.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { bearers } from './support.ts'

const attacker = '192.0.2.66'
const perMinute = 6

function world(failedLoginsPerMinute = perMinute) {
  const clock = new SimulatedClock()
  const refused: string[] = []
  const logins = new FailedLogins({
    failedLoginsPerMinute,
    sharedAddresses: addressRanges(['10.0.0.1']) ?? { check: () => false },
    clock,
    metrics: { refused: (limit) => void refused.push(limit) },
  })
  const refusal = (remote: string | undefined, name: string): TrunklineError | undefined => {
    try {
      logins.check(remote, name)
      return undefined
    } catch (thrown) {
      if (thrown instanceof TrunklineError) return thrown
      throw thrown
    }
  }
  /** Attempts until it is slowed; answers how many failed. */
  const guess = (remote: string | undefined, name: string, attempts = 50): number => {
    for (let failures = 0; failures < attempts; failures++) {
      if (refusal(remote, name) !== undefined) return failures
      logins.failed(remote, name)
    }
    return attempts
  }
  return { clock, logins, refused, refusal, guess }
}

describe('failed logins', () => {
  it('given as many as a minute allows, when one more is tried, then it is refused with the time to wait, and later let through one by one', async () => {
    const { clock, guess, refusal, refused } = world()
    expect(guess(attacker, 'app')).toBe(perMinute)
    const error = refusal(attacker, 'app')
    expect([error?.name, error?.details, error?.retryAfterMs]).toEqual([
      'TOO_MANY_REQUESTS',
      { limit: 'failed logins' },
      10_000,
    ])
    expect(refused).toEqual(['failed logins', 'failed logins'])
    await clock.advance(10_000)
    expect(guess(attacker, 'app')).toBe(1)
    await clock.advance(30_000)
    expect(guess(attacker, 'app')).toBe(3)
  })

  it('given a client that somebody tries elsewhere, then it logs in from where it is', () => {
    const { guess, refusal } = world()
    guess(attacker, 'app')
    expect(refusal('192.0.2.1', 'app')).toBeUndefined()
    expect(refusal(attacker, 'other')).toBeUndefined()
    expect(refusal(undefined, 'app')).toBeUndefined()
  })

  it('given a success, then what failed before under that name is forgotten', () => {
    const { guess, logins } = world()
    for (let round = 0; round < 5; round++) {
      expect(guess(attacker, 'app', perMinute - 1)).toBe(perMinute - 1)
      logins.succeeded(attacker, 'app')
    }
  })

  it('given an own account beside the guesses, then its successes forget nothing of another name', () => {
    const { guess, logins } = world()
    let guesses = 0
    for (let round = 0; round < 50; round++) {
      guesses += guess(attacker, 'victim', 1)
      logins.succeeded(attacker, 'own')
    }
    expect(guesses).toBe(perMinute)
  })

  it('given names that are made up without end, then an address fails sixteen times the rate and no more, and no success helps', async () => {
    const { clock, guess, logins } = world()
    let failures = 0
    for (let index = 0; index < 2_000; index++) {
      failures += guess(attacker, `name-${index}`, 1)
      logins.succeeded(attacker, 'own')
    }
    // Fifteen names that failed once each, and all others together.
    expect(failures).toBe(15 + perMinute)
    let first = 0
    for (let index = 0; index < 15; index++) first += guess(attacker, `name-${index}`)
    expect(first).toBe(15 * (perMinute - 1))
    // The victim's name is one of the others now: slowed here, not elsewhere.
    expect([guess(attacker, 'victim'), guess('192.0.2.1', 'victim')]).toEqual([0, perMinute])
    await clock.advance(60_000)
    expect(guess(attacker, 'victim')).toBe(perMinute)
  })

  it('given names too long to keep, then they fail together', () => {
    const { guess } = world()
    expect(guess(attacker, 'a'.repeat(10_000))).toBe(perMinute)
    expect(guess(attacker, 'b'.repeat(10_000))).toBe(0)
  })

  it('given fewer other addresses than are remembered, then nobody is forgotten, also not one who is only refused', () => {
    const { guess, logins } = world()
    guess(attacker, 'app')
    for (let index = 0; index < 4_000; index++) logins.failed(`198.51.${index >> 8}.${index & 255}`, 'app')
    expect(guess(attacker, 'app')).toBe(0)
    // He was heard of just now, so as many come again before he is the oldest.
    for (let index = 0; index < 4_000; index++) logins.failed(`203.0.${index >> 8}.${index & 255}`, 'app')
    expect(guess(attacker, 'app')).toBe(0)
  })

  it('given one IPv6 network, then all of its addresses are one', () => {
    const { guess } = world()
    expect([guess('2001:db8::1', 'app'), guess('2001:db8::2', 'app')]).toEqual([perMinute, 0])
  })

  it('given a shared address, or no limit, then nobody is slowed', () => {
    expect(world().guess('10.0.0.1', 'app')).toBe(50)
    expect(world(0).guess(attacker, 'app')).toBe(50)
  })
})

describe('bearers', () => {
  const nameOf = async (caller: Promise<unknown>): Promise<string> =>
    await caller.then(
      () => 'ok',
      (thrown: unknown) => TrunklineError.from(thrown).name,
    )

  it('given bad ones again and again, then they are refused unverified; good ones and other addresses are not', async () => {
    const { logins } = world()
    let verified = 0
    const callers = new Callers(
      {
        verify: async (bearer, beforeCheck) => {
          if (bearer === 'bob') return await bearers.verify(bearer)
          beforeCheck?.()
          verified += 1
          return await bearers.verify(bearer)
        },
      },
      logins,
    )
    const outcomes: string[] = []
    // Each is new, as a guesser's are.
    for (let index = 0; index < 200; index++) outcomes.push(await nameOf(callers.of(`forged-${index}`, attacker)))
    const failed = outcomes.filter((name) => name === 'UNAUTHENTICATED').length
    expect([failed, verified]).toEqual([15 + perMinute, 15 + perMinute])
    expect(outcomes.at(-1)).toBe('TOO_MANY_REQUESTS')
    // bob was verified here before; alice comes for the first time.
    expect(await nameOf(callers.of('bob', attacker))).toBe('ok')
    expect(await nameOf(callers.of('alice', attacker))).toBe('TOO_MANY_REQUESTS')
    expect(await nameOf(callers.of('alice', '192.0.2.1'))).toBe('ok')
  })

  it('given tokens that have expired, then nothing has failed', async () => {
    const { logins } = world()
    const callers = new Callers(
      {
        verify: (bearer, beforeCheck) => {
          beforeCheck?.()
          return bearers.verify(bearer)
        },
      },
      logins,
    )
    for (let index = 0; index < 50; index++) expect(await nameOf(callers.of('expired', attacker))).toBe('TOKEN_EXPIRED')
  })
})

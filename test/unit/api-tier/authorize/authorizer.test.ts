// The authorizer: one answer to every denial, decisions that end with their policy, an audit that cannot fill a disk.
import { describe, expect, test } from 'vitest'
import { SimulatedClock } from '../../../../src/adapters/clock/simulated-clock.ts'
import type { Caller } from '../../../../src/api-tier/auth/bearer.ts'
import { Authorizer } from '../../../../src/api-tier/authorize/authorizer.ts'
import type { Policy } from '../../../../src/api-tier/authorize/policy.ts'
import { parsePolicy } from '../../../../src/api-tier/authorize/policy-file.ts'
import { principalHash, type SessionTokenContent } from '../../../../src/crypto/session-token.ts'
import type { Logger } from '../../../../src/observability/log.ts'
import { nullLogger } from '../../../../src/observability/log.ts'
import type { LogFields } from '../../../../src/observability/log-fields.ts'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import { makeIncarnation, parseSessionId, parseTopicId, parseTopicName } from '../../../../src/protocol/ids.ts'
import { mode } from '../../../../src/protocol/messages.ts'

const issuer = 'urn:gateway'
const access = { method: 'allocate', requestId: 'r1' }

function policyOf(...rules: object[]): Policy {
  const parsed = parsePolicy(JSON.stringify({ version: 1, rules }))
  if (!('policy' in parsed)) throw new Error(parsed.problems.join('\n'))
  return parsed.policy
}

const readers = { id: 'readers', allow: ['read'], topics: ['quakes'], to: [{ client: 'app' }], tenant: '*' }

function callerOf(client: string, tenant = 'default', from = issuer): Caller {
  return {
    principal: { subject: client, clientId: client, tenant, expiresAtMs: 1 },
    issuer: from,
    scopes: [],
    roles: [],
  }
}

function underTest(policy: Policy) {
  const clock = new SimulatedClock()
  const lines: (LogFields & { message: string })[] = []
  const decisions: string[] = []
  let suppressed = 0
  const keep = (fields: LogFields, message: string): void => {
    lines.push({ ...fields, message })
  }
  const logger: Logger = { ...nullLogger, info: keep, warn: keep }
  const authorizer = new Authorizer({
    policy,
    issuer,
    clients: [{ clientId: 'known', subject: 'known', tenant: 'default' }],
    clock,
    logger,
    metrics: {
      decided: (action, outcome) => decisions.push(`${action} ${outcome}`),
      auditSuppressed: (count) => {
        suppressed += count
      },
    },
  })
  return { authorizer, clock, lines, decisions, suppressed: () => suppressed }
}

function errorOf(run: () => void): TrunklineError | undefined {
  try {
    run()
    return undefined
  } catch (thrown) {
    if (thrown instanceof TrunklineError) return thrown
    throw thrown
  }
}

function tokenOf(client: string, over: Partial<SessionTokenContent> = {}, tenant = 'default'): SessionTokenContent {
  return {
    sessionId: parseSessionId('session-0001'),
    incarnation: makeIncarnation('n', 'e'),
    pid: 1,
    topic: parseTopicName('quakes'),
    topicId: parseTopicId('1'.repeat(32)),
    mode: mode.read,
    principal: principalHash(client, client, tenant),
    packing: 1,
    partitions: 1,
    issuedAtMs: 1,
    ...over,
  }
}

describe('a right', () => {
  test('given one of several, then it is enough; given none, then what is missing is named', () => {
    const { authorizer, decisions } = underTest(policyOf(readers))
    const caller = callerOf('app')
    authorizer.require({ ...access, caller }, 'quakes', 'publish', 'read', 'admin')
    expect(errorOf(() => authorizer.require({ ...access, caller }, 'quakes', 'publish'))).toMatchObject({
      name: 'FORBIDDEN',
      details: { right: 'publish', topic: 'quakes' },
    })
    expect(errorOf(() => authorizer.require({ ...access, caller }, 'x', 'publish', 'read'))?.details).toEqual({
      right: 'publish or read',
      topic: 'x',
    })
    expect(decisions).toEqual(['any allowed', 'publish denied', 'any denied'])
  })

  test('given another policy, then it counts from the next question on, both ways', () => {
    const { authorizer } = underTest(policyOf(readers))
    const ask = (): boolean =>
      errorOf(() => authorizer.require({ ...access, caller: callerOf('app') }, 'quakes', 'read')) === undefined
    expect([ask(), ask()]).toEqual([true, true])
    authorizer.replace(policyOf())
    expect([ask(), ask()]).toEqual([false, false])
    authorizer.replace(policyOf(readers))
    expect(ask()).toBe(true)
  })

  test('given callers that differ in one fact only, then none is taken for another', () => {
    const { authorizer } = underTest(policyOf({ ...readers, tenant: 'acme' }))
    const asked = [
      callerOf('app', 'acme'),
      callerOf('app'),
      callerOf('app', 'acme', 'urn:other'),
      callerOf('b', 'acme'),
    ]
    expect(asked.map((caller) => authorizer.allowsAny(caller, 'quakes'))).toEqual([true, false, false, false])
  })
})

describe('a session call', () => {
  const call = { method: 'read', requestId: 'r2' }

  test('given a bearer, then it is judged like the allocation, and the session is known from then on', () => {
    const { authorizer, decisions, lines } = underTest(policyOf(readers))
    const token = tokenOf('app')
    authorizer.requireSession(callerOf('app'), token, call)
    authorizer.requireSession(undefined, token, call)
    expect(decisions).toEqual([])
    authorizer.replace(policyOf())
    for (const caller of [undefined, callerOf('app')])
      expect(errorOf(() => authorizer.requireSession(caller, token, call))?.name).toBe('FORBIDDEN')
    expect(decisions).toEqual(['read denied', 'read denied'])
    expect(lines).toHaveLength(2)
    expect(errorOf(() => authorizer.requireSession(undefined, token, { ...call, method: 'dispose' }))).toBeUndefined()
  })

  test('given a session that was allocated elsewhere, then only a client of the gateway’s own is known', () => {
    const { authorizer } = underTest(policyOf())
    const judged = (token: SessionTokenContent) =>
      errorOf(() => authorizer.requireSession(undefined, token, call))?.name
    expect(judged(tokenOf('known'))).toBe('FORBIDDEN')
    expect(judged(tokenOf('known', {}, 'acme'))).toBeUndefined()
    expect(judged(tokenOf('stranger'))).toBeUndefined()
  })

  test('given a topic of a tenant, then its rules name it as the tenant does', () => {
    const { authorizer } = underTest(policyOf(readers))
    const token = tokenOf('app', { topic: parseTopicName('tl-acme.quakes') }, 'acme')
    const judged = (over: object) =>
      errorOf(() => authorizer.requireSession(callerOf('app', 'acme'), { ...token, ...over }, call))
    expect(judged({})).toBeUndefined()
    expect(judged({ mode: mode.write })?.details).toEqual({ right: 'publish', topic: 'quakes' })
  })
})

describe('the audit', () => {
  test('given an allocation, then its line says who, what and by which rule; a describe leaves none', () => {
    const { authorizer, lines } = underTest(policyOf(readers))
    const caller = callerOf('app', 'acme')
    authorizer.require({ ...access, caller }, 'quakes', 'read')
    authorizer.require({ ...access, method: 'describe', caller }, 'quakes', 'read', 'publish')
    expect(lines).toEqual([
      {
        message: 'access allowed',
        tier: 'api',
        event: 'audit',
        outcome: 'allowed',
        rule: 'readers',
        requestId: 'r1',
        method: 'allocate',
        action: 'read',
        topic: 'quakes',
        subject: 'app',
        clientId: 'app',
        tenant: 'acme',
        issuer,
      },
    ])
  })

  test('given a flood of denials, then few lines tell it and the rest is counted', async () => {
    const { authorizer, clock, lines, suppressed, decisions } = underTest(policyOf())
    const deny = (): unknown => errorOf(() => authorizer.require({ ...access, caller: callerOf('app') }, 'a', 'read'))
    for (let second = 0; second < 3; second++) {
      for (let at = 0; at < 1_000; at++) deny()
      await clock.advance(1_000)
    }
    expect(decisions).toHaveLength(3_000)
    expect(lines.filter(({ message }) => message === 'access denied')).toHaveLength(60)
    expect(lines.filter(({ count }) => count === 980)).toHaveLength(3)
    expect(suppressed()).toBe(2_940)
    for (let at = 0; at < 25; at++) deny()
    authorizer.close()
    expect(lines.at(-1)).toMatchObject({ count: 5 })
    expect(clock.pendingCount).toBe(0)
  })
})

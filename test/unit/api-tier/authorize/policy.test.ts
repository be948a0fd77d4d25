// What a policy says: deny by default, who a rule means, tenants, scopes.
import { describe, expect, test } from 'vitest'
import type { Caller } from '../../../../src/api-tier/auth/bearer.ts'
import { type Action, decide, openPolicy, type Policy, parseScope } from '../../../../src/api-tier/authorize/policy.ts'
import { parsePolicy, startingPolicyText } from '../../../../src/api-tier/authorize/policy-file.ts'

const own = 'urn:trunkline:kid'
const login = 'https://login.example'

const policy = policyOf({
  version: 1,
  scopesOf: [login],
  rules: [
    { id: 'app', allow: ['publish'], topics: ['orders.*'], to: [{ client: 'app' }] },
    { allow: ['read'], topics: ['*'], to: [{ subject: 'alice', client: 'console' }] },
    { id: 'auditors', allow: ['read'], topics: ['audit'], to: [{ issuer: login, role: 'auditor' }] },
    { id: 'acme', allow: ['publish', 'read', 'admin'], topics: ['*'], to: [{ client: 'app' }], tenant: 'acme' },
    { id: 'news', allow: ['read'], topics: ['news'], to: [{ everyone: true }], tenant: '*' },
  ],
})

function policyOf(content: object): Policy {
  const parsed = parsePolicy(JSON.stringify(content))
  if (!('policy' in parsed)) throw new Error(parsed.problems.join('\n'))
  return parsed.policy
}

interface Who {
  client?: string
  subject?: string
  tenant?: string
  issuer?: string
  scopes?: string[]
  roles?: string[]
}

function callerOf({
  client = 'x',
  subject = client,
  tenant = 'default',
  issuer = own,
  scopes = [],
  roles = [],
}: Who): Caller {
  return { principal: { subject, clientId: client, tenant, expiresAtMs: 1 }, issuer, scopes, roles }
}

describe('a decision', () => {
  test.each<[string, Who, Action, string, string]>([
    ['a client, its action and topic', { client: 'app' }, 'publish', 'orders.eu', 'app'],
    ['a rule without an id', { client: 'console', subject: 'alice' }, 'read', 'orders', '#2'],
    ['a role of its issuer', { issuer: login, roles: ['a', 'auditor'] }, 'read', 'audit', 'auditors'],
    ['a rule of the tenant', { client: 'app', tenant: 'acme' }, 'admin', 'anything', 'acme'],
    ['everyone of every tenant', { tenant: 'other', issuer: 'urn:any' }, 'read', 'news', 'news'],
    ['a scope', { issuer: login, scopes: ['x', 'trunkline:publish:a.*'] }, 'publish', 'a.b', 'trunkline:publish:a.*'],
  ])('allows %s', (_, who, action, topic, by) => {
    expect(decide(policy, callerOf(who), own, action, topic)).toEqual({ allowed: true, by })
  })

  test.each<[string, Who, Action, string, string]>([
    ['another action', { client: 'app' }, 'read', 'orders.eu', 'other actions'],
    ['another topic', { client: 'app' }, 'publish', 'payments', 'names this topic'],
    ['a client of another issuer', { client: 'app', issuer: login }, 'publish', 'orders.eu', 'names this topic'],
    ['one of two that must fit', { client: 'console', subject: 'bob' }, 'read', 'orders', 'names this topic'],
    [
      'a role of another issuer',
      { issuer: 'https://other.example', roles: ['auditor'] },
      'read',
      'audit',
      'this topic',
    ],
    ['a rule of another tenant', { client: 'app', tenant: 'blue' }, 'publish', 'orders.eu', 'names this topic'],
    ['a scope of the gateway’s own token', { scopes: ['trunkline:admin:*'] }, 'admin', 'a', 'names this topic'],
    ['a scope of another action', { issuer: login, scopes: ['trunkline:read:a'] }, 'publish', 'a', 'other actions'],
    ['a reserved name, whoever asks', { client: 'app', tenant: 'acme' }, 'read', 'tl-acme.orders', 'reserved'],
  ])('denies %s', (_, who, action, topic, why) => {
    expect(decide(policy, callerOf(who), own, action, topic)).toEqual({
      allowed: false,
      why: expect.stringContaining(why),
    })
  })

  test('given no rule for anybody, then that is why', () => {
    const nobody = policyOf({ version: 1, rules: [] })
    expect(decide(nobody, callerOf({ client: 'app' }), own, 'read', 'a')).toMatchObject({
      why: 'no rule names this caller',
    })
  })

  test('given no policy, then everybody may do everything but name what is reserved', () => {
    for (const who of [{}, { tenant: 'acme', issuer: login }]) {
      expect(decide(openPolicy, callerOf(who), own, 'admin', 'a')).toMatchObject({ allowed: true })
      expect(decide(openPolicy, callerOf(who), own, 'read', 'tl-a.b')).toMatchObject({ allowed: false })
    }
  })

  test('given the policy to start with, then the one client may do everything in its tenant, and nobody else anything', () => {
    const parsed = parsePolicy(startingPolicyText('app'))
    if (!('policy' in parsed)) throw new Error('it is right')
    const asked = (who: Who): boolean => decide(parsed.policy, callerOf(who), own, 'admin', 'a').allowed
    expect([asked({ client: 'app' }), asked({ client: 'b' }), asked({ client: 'app', issuer: login })]).toEqual([
      true,
      false,
      false,
    ])
  })
})

test.each([
  'trunkline:read',
  'trunkline:write:a',
  'trunkline:read:a:b',
  'trunkline:read:',
  'read:a',
  'trunkline:read:a*b',
])('the scope %s grants nothing', (word) => {
  expect(parseScope(word)).toBeUndefined()
})

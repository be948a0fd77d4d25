// What is wrong with a policy file: everything at once, with its line, and without a word of it.
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { Value } from 'typebox/value'
import { describe, expect, test } from 'vitest'
import { parsePolicy } from '../../../../src/api-tier/authorize/policy-file.ts'
import { policyFileSchema } from '../../../../src/api-tier/authorize/policy-schema.ts'
import { forAll } from '../../protocol/support/seed.ts'

function problemsOf(text: string): readonly string[] {
  const parsed = parsePolicy(text)
  return 'problems' in parsed ? parsed.problems : []
}

const rule = { allow: ['read'], topics: ['a'], to: [{ client: 'x' }] }
const withRule = (over: object): string => JSON.stringify({ version: 1, rules: [{ ...rule, ...over }] })

describe('a policy file', () => {
  test('given many mistakes, then each is told with its line and place', () => {
    const text = `{
  "version": 2,
  "CANARY": true,
  "rules": [
    { "allow": ["publish", "CANARY"], "topics": ["a*b"], "to": [{}] },
    {
      "id": "one",
      "allow": [],
      "topic": ["a"],
      "to": [{ "client": 7 }]
    },
    { "id": "two", "allow": ["read"], "topics": ["x*y", "tl-acme.a"], "to": [{ "role": "r" }, { "everyone": true, "client": "c" }] },
    { "id": "two", "allow": ["read"], "topics": ["x"], "to": [{ "client": "c" }], "tenant": "ACME" },
    { "id": "two", "allow": ["read"], "topics": ["x"], "to": [{ "client": "c" }], "id": "two" }
  ]
}`
    const found = problemsOf(text)
    expect(found.map((line) => line.slice(0, line.indexOf(': '))).sort()).toEqual([
      'line 10, /rules/1/to/0/client',
      'line 12, /rules/2/to/0',
      'line 12, /rules/2/to/1',
      'line 12, /rules/2/topics/0',
      'line 12, /rules/2/topics/1',
      'line 13, /rules/3/tenant',
      'line 14, /rules/4/id',
      'line 14, /rules/4/id',
      'line 2, /version',
      'line 3, /',
      'line 5, /rules/0/allow/1',
      'line 5, /rules/0/to/0',
      'line 6, /rules/1',
      'line 8, /rules/1/allow',
      'line 9, /rules/1',
    ])
    expect(found.join()).not.toContain('CANARY')
  })

  test.each([
    ['an empty file', '', 'not JSON'],
    ['half a file', '{"version": 1,\n "rules": [', 'line 2: it is not JSON'],
    ['a list', '[]', 'must be an object'],
    ['deep nonsense', '['.repeat(50_000), 'not JSON'],
    ['a role of the gateway', withRule({ to: [{ role: 'r', issuer: 'own' }] }), 'needs the issuer'],
    ['no rules', '{"version":1}', 'rules is missing'],
    ['no actions', withRule({ allow: [] }), '1 to 3'],
    ['__proto__', '{"version":1,"rules":[],"__proto__":{"a":1}}', 'no such member'],
  ])('given %s, then it is refused', (_, text, problem) => {
    expect(problemsOf(text).join('\n')).toContain(problem)
  })

  test('given more problems than anybody reads, then the rest is counted', () => {
    const rules = Array.from({ length: 150 }, () => ({ ...rule, allow: ['x'] }))
    const found = problemsOf(JSON.stringify({ version: 1, rules }, null, 1))
    expect(found).toHaveLength(101)
    expect(found.at(-1)).toBe('and 50 more')
  })

  test('given the examples on the page for people, then each is right', () => {
    const page = readFileSync(new URL('../../../../docs/policy.md', import.meta.url), 'utf8')
    const examples = [...page.matchAll(/```json policy\n([\s\S]*?)```/g)].map(([, text = '']) => text)
    expect(examples.length).toBeGreaterThan(0)
    for (const text of examples) expect(problemsOf(text)).toEqual([])
  })

  test('given any file, then it is taken only when the published schema takes it', () => {
    const word = fc.constantFrom<unknown>('read', 'publish', 'a.*', 'a*b', '', 1, null, 'own', true)
    const selector = fc.dictionary(fc.constantFrom('client', 'subject', 'role', 'issuer', 'everyone', 'x'), word, {
      maxKeys: 3,
    })
    const entry = fc.record(
      {
        id: word,
        allow: fc.array(fc.constantFrom<unknown>('read', 'admin', 'x'), { maxLength: 3 }),
        topics: fc.array(word, { maxLength: 3 }),
        to: fc.array(selector, { maxLength: 2 }),
        tenant: fc.constantFrom('acme', '*', 'A'),
      },
      { requiredKeys: ['allow', 'topics', 'to'] },
    )
    const file = fc.record({ version: fc.constantFrom(1, 2), rules: fc.array(entry, { maxLength: 2 }) })
    let taken = 0
    forAll(3_000, file, (content) => {
      const found = problemsOf(JSON.stringify(content))
      if (found.length > 0) return
      taken += 1
      expect(Value.Check(policyFileSchema, content)).toBe(true)
    })
    expect(taken).toBeGreaterThan(50)
  })
})

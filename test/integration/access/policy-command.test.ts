// `trunkline policy`: what is wrong with a file, and what it says, by the gateway's own code.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CliEnd, runCli } from '../../support/run-cli.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'trunkline-policy-'))
  const rule = { id: 'orders', allow: ['publish'], topics: ['orders.*'], to: [{ client: 'app' }] }
  const auditors = { allow: ['read'], topics: ['audit'], to: [{ issuer: 'urn:idp', role: 'auditor' }], tenant: 'acme' }
  const content = { version: 1, scopesOf: ['urn:idp'], rules: [rule, auditors] }
  writeFileSync(join(dir, 'good.json'), JSON.stringify(content), { mode: 0o600 })
  writeFileSync(join(dir, 'bad.json'), '{\n"version": 1,\n"rules": [{}, 7]}', { mode: 0o600 })
})
afterAll(() => rmSync(dir, { recursive: true }))

const policy = (...args: string[]): Promise<CliEnd> => runCli(['policy', ...args], { cwd: dir })

describe('trunkline policy', () => {
  it('check: given a good file, ends with 0; given a bad one, tells every problem and ends with 2', async () => {
    expect(await policy('check', 'good.json')).toMatchObject({ code: 0, stderr: 'nothing is wrong: 2 rules\n' })
    const bad = await policy('check', 'bad.json')
    expect(bad.code).toBe(2)
    expect(bad.stdout.trim().split('\n')).toHaveLength(4)
    expect(bad.stdout).toContain('line 3, /rules/1: must be an object')
    expect(await policy('check', 'none.json')).toMatchObject({
      code: 2,
      stdout: expect.stringContaining('cannot be read'),
    })
  })

  it.each<[string, string[], number, string]>([
    ['a rule', ['app', 'publish', 'orders.eu'], 0, 'allowed by orders\n'],
    ['a client of another name', ['alice', 'publish', 'orders.eu', '--client', 'app'], 0, 'allowed by orders\n'],
    [
      'another action',
      ['app', 'read', 'orders.eu'],
      1,
      'denied: rules for this caller and topic allow other actions only\n',
    ],
    ['nobody', ['x', 'read', 'a'], 1, 'denied: no rule names this caller\n'],
    [
      'a role',
      ['x', 'read', 'audit', '--issuer', 'urn:idp', '--role', 'auditor', '--tenant', 'acme'],
      0,
      'allowed by #2\n',
    ],
    [
      'a scope',
      ['x', 'admin', 'a', '--issuer', 'urn:idp', '--scope', 'trunkline:admin:a'],
      0,
      'allowed by trunkline:admin:a\n',
    ],
  ])('test: explains %s', async (_, args, code, stdout) => {
    expect(await policy('test', ...args, '--policy', 'good.json')).toMatchObject({ code, stdout })
  })

  it('test: given what cannot be asked, ends with 2', async () => {
    for (const args of [
      ['app', 'write', 'a', '--policy', 'good.json'],
      ['app', 'read', 'no name', '--policy', 'good.json'],
      ['app', 'read', 'a', '--policy', 'good.json', '--tenant', 'A'],
      ['app', 'read', 'a', '--policy', 'bad.json'],
      ['app', 'read', 'a'],
    ])
      expect((await policy('test', ...args)).code, args.join(' ')).toBe(2)
  })
})

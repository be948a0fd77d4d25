// Which providers are configured: the settings of one, the file of several, and that all problems are told at once.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadConfig } from '../../../src/config/load-config.ts'
import { devRole } from '../../../src/config/roles.ts'
import { checkClientSubjects, type Provider, readProviders } from '../../../src/main/providers-file.ts'

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'trunkline-providers-'))
  path = join(folder, 'providers.json')
})
afterEach(() => rmSync(folder, { recursive: true }))

const issuer = 'https://login.example/realms/main'

function read(options: Record<string, unknown>): readonly Provider[] {
  return readProviders(loadConfig(devRole, { options, environment: {} }).config)
}

function readFile(providers: readonly unknown[], options: Record<string, unknown> = {}): readonly Provider[] {
  writeFileSync(path, JSON.stringify({ version: 1, providers }))
  return read({ providersFile: path, ...options })
}

function problemsOf(run: () => unknown): Readonly<Record<string, string>> {
  try {
    run()
  } catch (thrown) {
    expect(thrown).toMatchObject({ name: 'BAD_CONFIG' })
    return (thrown as { details: Readonly<Record<string, string>> }).details
  }
  throw new Error('nothing was refused')
}

describe('the providers', () => {
  it('given nothing, then there are none', () => {
    expect(read({})).toEqual([])
  })

  it('given an issuer alone, then its RFC 9068 tokens for `trunkline` count, and its subjects begin with oidc', () => {
    expect(read({ oidcIssuer: issuer })).toEqual([
      {
        name: 'oidc',
        profile: {
          issuer,
          audience: 'trunkline',
          algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'],
          types: ['at+jwt'],
          subjectPrefix: 'oidc:',
          clientIdClaim: 'client_id',
          tenantClaim: undefined,
          tenantMayLack: false,
          rolesClaim: undefined,
        },
        jwksUrl: undefined,
        caFile: undefined,
        loopbackHttp: false,
      },
    ])
    expect(read({ oidcIssuer: issuer, oidcAudience: 'api://x' })[0]?.profile.audience).toBe('api://x')
  })

  it('given a file, then each entry says what differs, and the one of the settings stands beside', () => {
    const ca = join(folder, 'ca.pem')
    writeFileSync(ca, '-----BEGIN CERTIFICATE-----\n')
    const entra = {
      name: 'entra',
      issuer: 'https://sts.example/v2.0',
      audience: 'api://trunkline',
      jwksUrl: 'https://keys.example/?p=1',
      caFile: ca,
      clientIdClaim: 'azp',
      rolesClaim: 'roles',
      tenantClaim: 'tid',
      algorithms: ['RS256'],
      types: ['JWT'],
    }
    const [first, second] = readFile([entra], { oidcIssuer: issuer })
    expect([first?.name, second?.name]).toEqual(['oidc', 'entra'])
    expect(second).toMatchObject({
      profile: { audience: 'api://trunkline', types: ['JWT'], algorithms: ['RS256'], tenantClaim: 'tid' },
      jwksUrl: 'https://keys.example/?p=1',
      caFile: ca,
    })
  })

  it('given http, then it counts for this machine only, and only when that is allowed', () => {
    const local = { name: 'a', issuer: 'http://127.0.0.1:9000' }
    expect(problemsOf(() => readFile([local]))['providersFile']).toContain('oidcAllowLoopbackHttp')
    const allowed = { oidcAllowLoopbackHttp: true }
    for (const host of ['127.0.0.1:9000', 'localhost', '[::1]:1'])
      expect(readFile([{ ...local, issuer: `http://${host}` }], allowed)[0]?.loopbackHttp).toBe(true)
    for (const host of ['login.example', '127.0.0.1.evil.example', '0x7f.1.evil.example', '10.0.0.1'])
      expect(problemsOf(() => readFile([{ ...local, issuer: `http://${host}` }], allowed))).toHaveProperty(
        'providersFile',
      )
  })

  it('given many mistakes, then all are told at once and the file is not quoted', () => {
    const details = problemsOf(() =>
      readFile(
        [
          { name: 'a', issuer: 'https://user:CANARY@login.example' },
          { name: 'b', issuer: `${issuer}?CANARY`, jwksUrl: 'http://CANARY/' },
          { name: 'b', issuer, caFile: join(folder, 'CANARY') },
          { name: 'CANARY!', issuer },
          { name: 'c', issuer: `${issuer}#CANARY` },
        ],
        { oidcIssuer: 'http://login.example', oidcCaFile: path },
      ),
    )
    for (const place of ['/0/issuer', '/1/issuer', '/1/jwksUrl', '/2/caFile', '/3/name', '/4/issuer', 'same name'])
      expect(details['providersFile']).toContain(place)
    expect(details['oidcIssuer']).toContain('https')
    expect(details['oidcCaFile']).toContain('PEM')
    expect(JSON.stringify(details)).not.toContain('CANARY')
  })

  it.each<[string, string, readonly string[]]>([
    ['not JSON', '{CANARY', ['is not JSON']],
    ['another version', '{"version":2,"providers":[{"name":"a","issuer":"https://a"}]}', ['/version']],
    ['no provider', '{"version":1,"providers":[]}', ['/providers']],
    [
      'several entries of another form',
      '{"version":1,"providers":[{"name":"CANARY!","issuer":"https://a"},{"name":"b"},{"name":"c","issuer":"https://c","types":["CANARY"]},{"name":"d","issuer":"https://d","algorithms":["HS256"]},{"name":"e","issuer":"https://e","secret":"CANARY"}]}',
      ['/providers/0/name', '/providers/1', '/providers/2/types', '/providers/3/algorithms', '/providers/4'],
    ],
  ])('given %s, then it is refused where it is wrong', (_name, text, places) => {
    writeFileSync(path, text)
    const problem = problemsOf(() => read({ providersFile: path }))['providersFile'] ?? ''
    for (const place of places) expect(problem).toContain(place)
    expect(problem).not.toContain('CANARY')
  })

  it('given one issuer twice, or the name of the settings, then that is refused', () => {
    expect(problemsOf(() => readFile([{ name: 'a', issuer }], { oidcIssuer: issuer }))['providersFile']).toContain(
      'issuer',
    )
    expect(
      problemsOf(() => readFile([{ name: 'oidc', issuer: 'https://b' }], { oidcIssuer: issuer }))['providersFile'],
    ).toContain('name')
  })

  it('given a client of ours whose subject reads like one of a provider, then that is refused', () => {
    const providers = readFile([{ name: 'corp', issuer }])
    const client = { clientId: 'a', secretHash: '', tenant: 'default', subject: 'corp:alice' }
    expect(problemsOf(() => checkClientSubjects([client], providers))['clientsFile']).toContain('corp:')
    checkClientSubjects([{ ...client, subject: 'corporate' }], providers)
  })
})

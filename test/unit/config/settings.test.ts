// Owns: the rules that every setting keeps, and that docs/configuration.md is fresh.
import { readFileSync } from 'node:fs'
import { Value } from 'typebox/value'
import { describe, expect, test } from 'vitest'
import { configurationPage } from '../../../src/config/configuration-page.ts'
import { roles } from '../../../src/config/roles.ts'
import type { Setting } from '../../../src/config/setting.ts'

const settings: readonly (Setting & { role: string })[] = roles.flatMap(({ name: role, settings: all }) =>
  all.map((setting) => ({ ...setting, role })),
)
/** Without a value they do nothing at all, or a rule asks for them when they are needed. */
const offByDefault = [
  'otlpEndpoint',
  'kafkaSaslUsername',
  'rabbitUsername',
  'oidcIssuer',
  'kafkaOauthTokenUrl',
  'kafkaOauthClientId',
  'kafkaOauthScope',
  'awsKmsKey',
  'awsKmsRegion',
  'awsKmsEndpoint',
  'vaultUrl',
  'vaultNamespace',
]

describe('the settings', () => {
  test.each(settings)('$role, $name: says what it means and keeps the rules', (setting) => {
    const { name, kind, description, environmentName, minimum, maximum } = setting
    expect(description).toMatch(/^[A-Za-z0-9].*\.$/)
    expect(environmentName).toMatch(/^TRUNKLINE(_[A-Z][A-Z0-9]*)+$/)
    if (setting.default !== undefined) expect(Value.Check(setting.schema, setting.default)).toBe(true)
    else expect(setting.required || setting.hidden || offByDefault.includes(name), `${name} has no default`).toBe(true)
    expect(setting.hidden).toBe(name.endsWith('File'))
    expect(kind === 'integer').toBe(minimum !== undefined && maximum !== undefined)
    if (kind === 'integer')
      expect(name).toMatch(/(Ms|Bytes|Max|PerSecond|PerMinute|Port|Partitions|Replicas|Replication)$/)
  })

  test('given all of them, then one variable is one setting, and means the same in every role', () => {
    const byVariable = new Map<string, string>()
    for (const { environmentName, name, description, kind } of settings) {
      const meaning = JSON.stringify([name, description, kind])
      expect(byVariable.get(environmentName) ?? meaning).toBe(meaning)
      byVariable.set(environmentName, meaning)
    }
  })

  test('given the rules, then each names settings of its role', () => {
    for (const { rules, settings: own } of roles)
      for (const { names } of rules) expect(own.map(({ name }) => name)).toEqual(expect.arrayContaining([...names]))
  })
})

describe('docs/configuration.md', () => {
  test('given the settings, then the page lists each with its variable', () => {
    const page = configurationPage()
    for (const { name, environmentName } of settings) expect(page).toContain(`| \`${name}\` | \`${environmentName}\` |`)
    expect(page.endsWith('|\n')).toBe(true)
  })

  test('given the page in the tree, then it is what the generator makes now', () => {
    const path = new URL('../../../docs/configuration.md', import.meta.url)
    expect(readFileSync(path, 'utf8')).toBe(configurationPage())
  })
})

// Owns: the rules that every setting keeps, and that docs/configuration.md is fresh.
import { readFileSync } from 'node:fs'
import { Value } from 'typebox/value'
import { describe, expect, test } from 'vitest'
import { configurationPage } from '../../../src/config/configuration-page.ts'
import { settings } from '../../../src/config/gateway-settings.ts'

describe('the settings', () => {
  test.each(settings)('$name: says what it means and keeps the rules', (setting) => {
    const { name, kind, description, environmentName, minimum, maximum } = setting
    expect(description).toMatch(/^[A-Za-z0-9].*\.$/)
    expect(environmentName).toMatch(/^TRUNKLINE_[A-Z]+(_[A-Z]+)*$/)
    if (setting.default !== undefined) expect(Value.Check(setting.schema, setting.default)).toBe(true)
    else expect(setting.hidden, `${name} has neither a default nor a file that is made`).toBe(true)
    expect(kind === 'integer').toBe(minimum !== undefined && maximum !== undefined)
    if (kind === 'integer') expect(name).toMatch(/(Ms|Bytes|Max|Port|Partitions)$/)
  })

  test('given all of them, then no variable is used twice', () => {
    expect(new Set(settings.map(({ environmentName }) => environmentName)).size).toBe(settings.length)
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

// docs/operate.md speaks of metrics and settings that exist.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { roles } from '../../../src/config/roles.ts'

const page = (name: string): string => readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8')
const operate = page('operate.md')
const found = (pattern: RegExp): string[] => [...new Set([...operate.matchAll(pattern)].map(([, one = '']) => one))]

describe('docs/operate.md', () => {
  it('given a metric, then it is in the catalogue, with the label that is looked at', () => {
    const lines = page('metrics.md').split('\n')
    const named = found(/(trunkline_[a-z_]+(?:\{[a-z]+=)?)/g)
    expect(named.length).toBeGreaterThan(8)
    for (const one of named) {
      const [name = '', label] = one.replace('=', '').split('{')
      const line = lines.find((text) => text.startsWith(`| \`${name}\` |`))
      expect(line, one).toBeDefined()
      if (label !== undefined) expect(line?.split('|')[3], one).toContain(`\`${label}\``)
    }
  })

  it('given a setting or an option of a process, then the processes have it', () => {
    const settings = new Set(roles.flatMap((role) => role.settings.map(({ name }) => name)))
    const named = found(/`([a-z]+(?:[A-Z][a-z]*)+)`/g)
    expect(named.length).toBeGreaterThan(5)
    for (const name of named) expect(settings, name).toContain(name)
    const commands = operate.match(/^ {4}trunkline (?:api|stream)[\s\S]*?(?=\n\n)/gm)?.join('\n') ?? ''
    const options = [...commands.matchAll(/--([a-z-]+)/g)].map(([, one = '']) => one)
    expect(options.length).toBeGreaterThan(5)
    for (const option of options)
      expect(settings, option).toContain(option.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase()))
  })
})

// Every command says how it is used, and the page for people names every command and option.
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { roles } from '../../../../src/config/roles.ts'
import { buildProgram, runProgram } from '../../../../src/main/cli/program.ts'
import { addRoleOptions } from '../../../../src/main/cli/role-commands.ts'

function commandsOf(command: Command): readonly Command[] {
  return command.commands.flatMap((child) => (child.name() === 'help' ? [] : [child, ...commandsOf(child)]))
}

function helpOf(command: Command): string {
  let text = ''
  command.configureOutput({ writeOut: (part) => (text += part) })
  command.outputHelp()
  return text
}

const commands = commandsOf(buildProgram())

describe('the command line', () => {
  it('has the commands that the issue names', () => {
    const names = commands.map((command) => `${command.parent?.name()} ${command.name()}`)
    expect(names).toEqual([
      'trunkline dev',
      'trunkline topic',
      'topic create',
      'topic list',
      'topic describe',
      'topic delete',
      'trunkline publish',
      'trunkline read',
      'trunkline token',
      'trunkline check',
      'trunkline api',
      'trunkline stream',
      'trunkline keys',
      'keys init',
      'keys list',
      'keys verify',
      'keys rotate',
      'keys create',
      'keys revoke',
      'keys restore',
      'keys shred',
      'keys retire',
      'keys rewrap',
      'trunkline policy',
      'policy check',
      'policy test',
    ])
  })

  it.each(commands.map((command) => [command.name(), command] as const))(
    '%s shows an example in its help',
    (_, command) => {
      expect(helpOf(command)).toMatch(/Examples?:\n +\$ .*trunkline /)
    },
  )

  it.each(commands.map((command) => [command.name(), command] as const))(
    '%s stands on the page with its options',
    (name, command) => {
      const page = readFileSync(new URL('../../../../docs/cli.md', import.meta.url), 'utf8')
      expect(page).toContain(
        `trunkline ${command.parent?.name() === 'trunkline' ? '' : `${command.parent?.name()} `}${name}`,
      )
      for (const option of command.options) expect(page, name).toContain(option.long ?? option.flags)
    },
  )

  it.each(['api', 'stream'])('%s has every setting of its role as an option, only when it is named', async (name) => {
    const program = buildProgram()
    const command = program.commands.find((one) => one.name() === name)
    const bare = command?.options.map(({ long }) => long)
    expect(bare).toEqual(['--config'])
    await addRoleOptions(program, ['help', name])
    const settings = roles.find((role) => role.name === name)?.settings ?? []
    expect(command?.options.slice(1).map((option) => option.attributeName())).toEqual(settings.map((one) => one.name))
  })

  it('takes no secret as an argument', async () => {
    const program = buildProgram()
    await addRoleOptions(program, ['api', 'stream'])
    for (const option of commandsOf(program).flatMap((command) => command.options)) {
      expect(option.flags).not.toMatch(/(secret|token|password)(?!-file|-url|-ms)/)
    }
  })
})

describe('a command line that is wrong', () => {
  let printed = ''
  beforeEach(() => {
    printed = ''
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      printed += String(text)
      return true
    })
  })
  afterEach(() => {
    vi.restoreAllMocks()
  })

  it.each<[string, readonly string[], string]>([
    ['no command', [], 'Usage: trunkline'],
    ['an unknown command', ['reed'], 'Did you mean read?'],
    ['an unknown option', ['read', 'x', '--folow'], 'Did you mean --follow?'],
    ['no topic', ['publish'], "missing required argument 'topic'"],
    ['too many arguments', ['read', 'x', 'y'], 'too many arguments'],
    ['a start that is none', ['read', 'x', '--from', 'yesterday'], 'earliest, latest, or a time'],
    ['a count that is none', ['topic', 'create', 'x', '--partitions', '0'], 'whole number from 1'],
    ['a batch above the bound', ['publish', 'x', '--batch', '10001'], 'whole number from 1 to 10000'],
    ['a form that is none', ['read', 'x', '--output', 'xml'], 'Allowed choices are ndjson, payload'],
    ['fields of plain lines', ['publish', 'x', '--format', 'lines', '--key-field', 'a'], 'need --format ndjson'],
    ['half of the credentials', ['token', '--client-id', 'a'], 'go together'],
  ])('given %s, is told so and ends with 2', async (_, args, text) => {
    expect(await runProgram(args)).toBe(2)
    expect(printed).toContain(text)
    expect(printed).not.toMatch(/\n\s+at /)
  })
})

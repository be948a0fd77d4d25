// Every command says how it is used, and the page for people names every command and option.
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { buildProgram } from '../../../../src/main/cli/program.ts'

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
      expect(page).toContain(`trunkline ${command.parent?.name() === 'topic' ? 'topic ' : ''}${name}`)
      for (const option of command.options) expect(page, name).toContain(option.long ?? option.flags)
    },
  )

  it('takes no secret as an argument', () => {
    for (const option of commands.flatMap((command) => command.options)) {
      expect(option.flags).not.toMatch(/(secret|token|password)(?!-file|-url)/)
    }
  })
})

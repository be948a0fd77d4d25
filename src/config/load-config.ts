// Owns: the effective configuration of one process: option > environment > file > default, or a refusal to start.
// 1. All problems are found and told at once, each with its source and what to do, in one BAD_CONFIG.
// 2. Values are not repeated in problems: a secret may stand where it does not belong.
// 3. An empty variable is not set. Variables that are not ours are not looked at.
// 4. One file, and one environment, can serve all roles: settings of another role are left to it. Options cannot.
// Leaves out: what a setting means (gateway-settings.ts, broker-settings.ts), who has it (roles.ts).
import { readFileSync, statSync } from 'node:fs'
import { Value } from 'typebox/value'
import { TrunklineError } from '../protocol/errors.ts'
import { nearest } from './nearest-name.ts'
import { roles } from './roles.ts'
import type { Role, Setting } from './setting.ts'

export const configFileVariable = 'TRUNKLINE_CONFIG_FILE'
/** Of the commands of a client (src/main/cli/connection.ts), which may share the environment. */
const clientVariables = ['TRUNKLINE_CA_FILE', 'TRUNKLINE_CLIENT_CERT_FILE', 'TRUNKLINE_CLIENT_KEY_FILE']
const configFileBytesMax = 1024 * 1024

export interface ConfigSources {
  /** From the command line; texts are converted, undefined is not set. An unknown name is a problem. */
  readonly options?: Readonly<Record<string, unknown>>
  readonly environment: Readonly<Record<string, string | undefined>>
  /** A JSON object of settings. Default: what TRUNKLINE_CONFIG_FILE names, else none. */
  readonly file?: string | undefined
}

export type ConfigSource = 'option' | 'environment' | 'file' | 'default'

export interface LoadedConfig<Config> {
  readonly config: Config
  /** Where each value came from; settings without a value are absent. */
  readonly sources: Readonly<Partial<Record<string, ConfigSource>>>
  /** Variables that look like a misspelt setting, with the name that was probably meant. */
  readonly warnings: readonly string[]
}

export interface ConfigProblem {
  /** The setting, or the file, or the unknown name. */
  readonly subject: string
  /** What is wrong, where, and what would be right. */
  readonly problem: string
}

interface Given {
  readonly value: unknown
  readonly source: ConfigSource
  /** How a person finds it. */
  readonly where: string
}

/** Errors: BAD_CONFIG with one detail per setting that has a problem. */
export function loadConfig<Config>(role: Role<Config>, given: ConfigSources): LoadedConfig<Config> {
  const problems: ConfigProblem[] = []
  const fromFile = readConfigFile(given, problems)
  for (const name of Object.keys(given.options ?? {})) checkKnown(name, role.settings, 'the option', problems)

  const values: Record<string, unknown> = {}
  const sources: Partial<Record<string, ConfigSource>> = {}
  for (const setting of role.settings) {
    const { name } = setting
    const found = givenFor(setting, given, fromFile)
    // Related values are checked even when others are wrong: defaults stand in for those.
    if (setting.default !== undefined) values[name] = setting.default
    if (found === undefined) {
      if (setting.required) problems.push({ subject: name, problem: `must be set: ${setting.environmentName}` })
      continue
    }
    sources[name] = found.source
    if (Value.Check(setting.schema, found.value)) values[name] = found.value
    else problems.push({ subject: name, problem: `${found.where} must be ${expected(setting)}` })
  }
  for (const { names, holds, problem } of role.rules) {
    if (problems.some(({ subject }) => names.some((name) => name === subject))) continue
    // A rule looks at nothing but its own settings, and those are each fine.
    if (!holds(values as Config)) problems.push({ subject: names.join(', '), problem })
  }
  if (problems.length > 0) throw configError(problems)
  if (!role.isConfig(values)) throw new Error('settings that are each valid make no valid configuration')
  return { config: values, sources, warnings: misspelt(given.environment) }
}

/** The lines for a person, of an error that loadConfig threw; undefined for any other. */
export function configProblemLines(error: unknown): readonly string[] | undefined {
  if (!(error instanceof TrunklineError) || error.name !== 'BAD_CONFIG') return undefined
  return Object.entries(error.details).map(([subject, problem]) => `${subject}: ${problem}`)
}

export function configError(problems: readonly ConfigProblem[]): TrunklineError {
  const details = new Map<string, string>()
  for (const { subject, problem } of problems) {
    const earlier = details.get(subject)
    details.set(subject, earlier === undefined ? problem : `${earlier}; ${problem}`)
  }
  return new TrunklineError('BAD_CONFIG', { details: Object.fromEntries(details) })
}

function givenFor(setting: Setting, given: ConfigSources, fromFile: ReadonlyMap<string, unknown>): Given | undefined {
  const { name, environmentName } = setting
  const option = ownValue(given.options ?? {}, name)
  if (option !== undefined) return { value: converted(setting, option), source: 'option', where: `the option ${name}` }
  const variable = given.environment[environmentName]
  if (variable !== undefined && variable !== '') {
    return { value: converted(setting, variable), source: 'environment', where: environmentName }
  }
  if (fromFile.has(name)) return { value: fromFile.get(name), source: 'file', where: 'in the configuration file it' }
  if (setting.default === undefined) return undefined
  return { value: setting.default, source: 'default', where: 'the default' }
}

/** A text as the setting's own type; what does not convert is left for the check. */
function converted(setting: Setting, value: unknown): unknown {
  if (typeof value !== 'string') return value
  switch (setting.kind) {
    case 'integer':
      return /^-?\d{1,15}$/.test(value.trim()) ? Number(value) : value
    case 'boolean':
      return value === 'true' ? true : value === 'false' ? false : value
    case 'list':
      return value
        .split(',')
        .map((item) => item.trim())
        .filter((item) => item !== '')
    case 'choice':
    case 'text':
      return value
  }
}

function expected(setting: Setting): string {
  switch (setting.kind) {
    case 'integer':
      return `an integer from ${setting.minimum} to ${setting.maximum}`
    case 'boolean':
      return 'true or false'
    case 'choice':
      return `one of ${setting.choices.join(', ')}`
    case 'text':
      return `a text that fits: ${setting.description}`
    case 'list':
      return `a list that fits: ${setting.description}`
  }
}

function readConfigFile(given: ConfigSources, problems: ConfigProblem[]): ReadonlyMap<string, unknown> {
  const variable = given.environment[configFileVariable]
  const path = given.file ?? (variable === '' ? undefined : variable)
  const none = new Map<string, unknown>()
  if (path === undefined) return none
  const refuse = (problem: string): ReadonlyMap<string, unknown> => {
    problems.push({ subject: `configuration file ${path}`, problem })
    return none
  }
  let parsed: unknown
  try {
    if (statSync(path).size > configFileBytesMax) return refuse(`must be at most ${configFileBytesMax} bytes`)
    parsed = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    // The parser's own text quotes the file.
    if (error instanceof SyntaxError) return refuse('must be JSON: an object of settings')
    return refuse(`cannot be read (${codeOf(error)}): correct the path, or its permissions`)
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    return refuse('must be an object of settings')
  const entries = Object.entries(parsed)
  for (const [name] of entries) checkKnown(name, allSettings(), 'the configuration file', problems)
  return new Map<string, unknown>(entries)
}

function checkKnown(name: string, among: readonly Setting[], where: string, problems: ConfigProblem[]): void {
  if (among.some((setting) => setting.name === name)) return
  const secret = among.find((setting) => setting.secret && setting.name === `${name}File`)
  const meant = nearest(
    name,
    among.map((setting) => setting.name),
  )
  const advice =
    secret !== undefined
      ? `a secret is given by its file: use ${secret.name}`
      : meant === undefined
        ? 'there is no such setting'
        : `there is no such setting; did you mean ${meant}?`
  problems.push({ subject: name, problem: `${where} names it, but ${advice}` })
}

function misspelt(environment: Readonly<Record<string, string | undefined>>): readonly string[] {
  const known = [
    ...new Set(allSettings().map((setting) => setting.environmentName)),
    configFileVariable,
    ...clientVariables,
  ]
  return Object.keys(environment)
    .filter((name) => name.startsWith('TRUNKLINE_') && !known.includes(name))
    .flatMap((name) => {
      const meant = nearest(name, known)
      return meant === undefined ? [] : [`${name} is not a setting; did you mean ${meant}?`]
    })
}

/** Invariant 4. A name may be there more than once. */
function allSettings(): readonly Setting[] {
  return roles.flatMap(({ settings }) => settings)
}

function ownValue(from: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(from, name) ? from[name] : undefined
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown'
}

// Owns: the effective configuration of one process: option > environment > file > default, or a refusal to start.
// 1. All problems are found and told at once, each with its source and what to do, in one BAD_CONFIG.
// 2. Values are not repeated in problems: a secret may stand where it does not belong.
// 3. An empty variable is not set. Variables that are not ours are not looked at.
// Leaves out: what a setting means (gateway-settings.ts).
import { readFileSync, statSync } from 'node:fs'
import { Value } from 'typebox/value'
import { TrunklineError } from '../protocol/errors.ts'
import {
  conflictsOf,
  type GatewayConfig,
  gatewaySchema,
  type Setting,
  type SettingName,
  settings,
} from './gateway-settings.ts'
import { nearest } from './nearest-name.ts'

export const configFileVariable = 'TRUNKLINE_CONFIG_FILE'
const configFileBytesMax = 1024 * 1024

export interface ConfigSources {
  /** From the command line; texts are converted, undefined is not set. An unknown name is a problem. */
  readonly options?: Readonly<Record<string, unknown>>
  readonly environment: Readonly<Record<string, string | undefined>>
  /** A JSON object of settings. Default: what TRUNKLINE_CONFIG_FILE names, else none. */
  readonly file?: string | undefined
}

export type ConfigSource = 'option' | 'environment' | 'file' | 'default'

export interface LoadedConfig {
  readonly config: GatewayConfig
  /** Where each value came from; settings without a value are absent. */
  readonly sources: Readonly<Partial<Record<SettingName, ConfigSource>>>
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
export function loadConfig(given: ConfigSources): LoadedConfig {
  const problems: ConfigProblem[] = []
  const fromFile = readConfigFile(given, problems)
  for (const name of Object.keys(given.options ?? {})) checkKnown(name, 'the option', problems)

  const values: Record<string, unknown> = {}
  const sources: Partial<Record<SettingName, ConfigSource>> = {}
  for (const setting of settings) {
    const found = givenFor(setting, given, fromFile)
    if (found === undefined) continue
    sources[setting.name] = found.source
    if (Value.Check(setting.schema, found.value)) values[setting.name] = found.value
    else problems.push({ subject: setting.name, problem: `${found.where} must be ${expected(setting)}` })
  }
  // Related values are checked even when others are wrong: defaults stand in for those.
  const judged = { ...defaults(), ...values }
  if (!Value.Check(gatewaySchema, judged)) throw new Error('settings that are each valid make no valid configuration')
  for (const { names, problem } of conflictsOf(judged)) {
    if (names.every((name) => !problems.some(({ subject }) => subject === name))) {
      problems.push({ subject: names.join(', '), problem })
    }
  }
  if (problems.length > 0) throw configError(problems)
  return { config: judged, sources, warnings: misspelt(given.environment) }
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

function defaults(): Record<string, unknown> {
  return Object.fromEntries(
    settings.filter((setting) => setting.default !== undefined).map((setting) => [setting.name, setting.default]),
  )
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
  for (const [name] of entries) checkKnown(name, 'the configuration file', problems)
  return new Map<string, unknown>(entries)
}

function checkKnown(name: string, where: string, problems: ConfigProblem[]): void {
  if (settings.some((setting) => setting.name === name)) return
  const secret = settings.find((setting) => setting.hidden && setting.name === `${name}File`)
  const meant = nearest(
    name,
    settings.map((setting) => setting.name),
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
  const known = [...settings.map((setting) => setting.environmentName), configFileVariable]
  return Object.keys(environment)
    .filter((name) => name.startsWith('TRUNKLINE_') && !known.includes(name))
    .flatMap((name) => {
      const meant = nearest(name, known)
      return meant === undefined ? [] : [`${name} is not a setting; did you mean ${meant}?`]
    })
}

function ownValue(from: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(from, name) ? from[name] : undefined
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown'
}

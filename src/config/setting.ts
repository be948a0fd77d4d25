// Owns: what a setting is, how settings become a role's schema, and rules between settings.
// 1. The unit is last in the name. Numbers are plain integers in that unit.
// 2. No setting holds a secret: secrets are named by their file (`…File`), and the effective configuration shows only
//    that a file is set.
// Leaves out: which settings there are (gateway-settings.ts, broker-settings.ts) and who has them (roles.ts).
import { type Static, type TObject, type TSchema, Type } from 'typebox'
import { Value } from 'typebox/value'

/** What one process does; `dev` does everything. */
export type RoleName = 'dev' | 'api' | 'stream'

export type SettingValue = string | number | boolean | readonly string[]

export interface Setting {
  readonly name: string
  /** TRUNKLINE_HTTP_PORT of httpPort. */
  readonly environmentName: string
  readonly kind: 'integer' | 'boolean' | 'choice' | 'text' | 'list'
  readonly schema: TSchema
  readonly description: string
  readonly default: SettingValue | undefined
  /** Without a value the process does not start. Never so for one with a default. */
  readonly required: boolean
  readonly minimum: number | undefined
  readonly maximum: number | undefined
  /** Of a choice. */
  readonly choices: readonly string[]
  /** Names a file: shown in the effective configuration as `set`. */
  readonly hidden: boolean
  /** The file has to be of mode 0600. */
  readonly secret: boolean
}

/** A bound that holds between values that are each fine; it names all that it looks at. */
export interface Rule<Config> {
  readonly names: readonly string[]
  /** What is wrong when it does not hold; never with the values. */
  readonly problem: string
  readonly holds: (config: Config) => boolean
}

export interface Role<Config> {
  readonly name: RoleName
  readonly settings: readonly Setting[]
  readonly rules: readonly Rule<Config>[]
  isConfig(value: unknown): value is Config
}

/** `rulesOf<Config>()(names, holds, problem)`: `holds` sees the named settings only. */
export function rulesOf<Config>(): <Name extends keyof Config & string>(
  names: readonly Name[],
  holds: (config: Pick<Config, Name>) => boolean,
  problem: string,
) => Rule<Config> {
  return (names, holds, problem) => ({ names, holds, problem })
}

export function defineRole<Schema extends TObject>(
  name: RoleName,
  schema: Schema,
  rules: readonly Rule<Static<Schema>>[],
): Role<Static<Schema>> {
  const required = new Set<string>(schema.required ?? [])
  return {
    name,
    settings: Object.entries(schema.properties).map(([each, one]) => describeSetting(each, one, required.has(each))),
    rules,
    isConfig: (value): value is Static<Schema> => Value.Check(schema, value),
  }
}

export function whole(
  minimum: number,
  maximum: number,
  value: number,
  meaning: string,
): ReturnType<typeof Type.Integer> {
  return Type.Integer({ minimum, maximum, default: value, description: meaning })
}

export function listenPort(value: number, meaning: string): ReturnType<typeof Type.Integer> {
  return whole(0, 65_535, value, `${meaning} 0 takes any free one.`)
}

export const pathText = { minLength: 1, maxLength: 4_096 } as const

/** A file that anyone may read. */
export function file(description: string): ReturnType<typeof Type.String> {
  return Type.String({ ...pathText, hidden: true, description })
}

export function secretFile(description: string): ReturnType<typeof Type.String> {
  return Type.String({ ...pathText, hidden: true, secret: true, description })
}

export function variableOf(name: string): string {
  return `TRUNKLINE_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
}

function describeSetting(name: string, schema: TSchema, inRequired: boolean): Setting {
  const facts: Record<string, unknown> = { ...schema }
  const literals: readonly unknown[] = Array.isArray(facts['anyOf']) ? facts['anyOf'] : []
  const choices = literals.flatMap((literal) =>
    typeof literal === 'object' && literal !== null && 'const' in literal ? [String(literal.const)] : [],
  )
  const fallback = settingValueOf(facts['default'])
  return {
    name,
    environmentName: variableOf(name),
    kind: kindOf(name, facts['type'], choices),
    schema,
    description: typeof facts['description'] === 'string' ? facts['description'] : '',
    default: fallback,
    required: inRequired && fallback === undefined,
    minimum: typeof facts['minimum'] === 'number' ? facts['minimum'] : undefined,
    maximum: typeof facts['maximum'] === 'number' ? facts['maximum'] : undefined,
    choices,
    hidden: facts['hidden'] === true,
    secret: facts['secret'] === true,
  }
}

export function settingValueOf(value: unknown): SettingValue | undefined {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value
  if (Array.isArray(value) && value.every((item): item is string => typeof item === 'string')) return value
  return undefined
}

function kindOf(name: string, type: unknown, choices: readonly string[]): Setting['kind'] {
  if (type === 'integer' || type === 'boolean') return type
  if (type === 'string') return 'text'
  if (type === 'array') return 'list'
  if (choices.length > 0) return 'choice'
  throw new Error(`${name} has a schema that the configuration does not know`)
}

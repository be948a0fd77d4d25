// Owns: the text of docs/configuration.md, made from the settings.
import { configFileVariable } from './load-config.ts'
import { roles, rolesWith } from './roles.ts'
import type { RoleName, Setting } from './setting.ts'

/** Deterministic; ends with a line end. */
export function configurationPage(): string {
  return `# Configuration

<!-- Made by \`npm run generate\` from src/config/*-settings.ts and roles.ts: edit there. -->

Every setting of \`trunkline dev\` has a default. \`trunkline api\` and \`trunkline stream\` have to be told their brokers and
their keys, which \`trunkline keys init\` makes. A setting is taken from the first place that has it:

1. an option of the command line (\`trunkline dev --help\` lists those that have one; \`api\` and \`stream\` have one for
   every setting: \`--kafka-brokers\` of \`kafkaBrokers\`),
2. a variable of the environment (an empty one counts as not set),
3. the configuration file: a JSON object of settings, named by \`${configFileVariable}\` (or \`--config\` of \`api\` and \`stream\`),
4. its default.

One file, or one environment, can serve all processes: settings of another role are left to it.

Numbers are plain integers in the unit that ends the name. A list is a JSON array in the file and a text with commas
elsewhere. Relative paths start at the working folder. Secrets are never given by value: settings with *secret path*
name a file with mode 0600. The gateway logs its effective configuration at the start, without the names of files.

A configuration with a mistake does not start: all mistakes are listed at once (\`BAD_CONFIG\`), and the process ends
with exit code 2. Some values are checked together:

${rules()}

| setting | environment | of | default | values | meaning |
|---|---|---|---|---|---|
${byName().map(row).join('\n')}
`
}

/** The settings of all roles, each once, in the order of the roles. */
function byName(): readonly Setting[] {
  const all = new Map<string, Setting>()
  for (const { settings } of roles)
    for (const setting of settings) if (!all.has(setting.name)) all.set(setting.name, setting)
  return [...all.values()]
}

function rules(): string {
  const texts = roles.flatMap((role) =>
    role.rules.map((rule) => `* ${rule.names.map(code).join(', ')}: ${rule.problem}`),
  )
  return [...new Set(texts)].join('\n')
}

function row(setting: Setting): string {
  const { name, environmentName, description } = setting
  const of = rolesWith(name).map(code).join(' ')
  const cells = [code(name), code(environmentName), of, fallback(name), values(setting), description]
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

/** One text when all roles agree, else by role. */
function fallback(name: string): string {
  const texts = roles.flatMap((role): { role: RoleName; text: string }[] => {
    const setting = role.settings.find((one) => one.name === name)
    return setting === undefined ? [] : [{ role: role.name, text: fallbackIn(setting) }]
  })
  if (new Set(texts.map(({ text }) => text)).size === 1) return texts[0]?.text ?? ''
  return texts
    .filter(({ text }) => text !== '')
    .map(({ role, text }) => `${text} (${code(role)})`)
    .join(', ')
}

function fallbackIn(setting: Setting): string {
  if (setting.required) return 'required'
  const { default: value } = setting
  if (value === undefined || (typeof value === 'object' && value.length === 0)) return ''
  return code(typeof value === 'object' ? value.join(',') : String(value))
}

function values(setting: Setting): string {
  switch (setting.kind) {
    case 'integer':
      return `${setting.minimum} to ${setting.maximum}`
    case 'boolean':
      return '`true`, `false`'
    case 'choice':
      return setting.choices.map(code).join(', ')
    case 'list':
      return 'list'
    case 'text':
      return setting.secret ? 'secret path' : setting.hidden ? 'path' : 'text'
  }
}

function code(text: string): string {
  return `\`${text}\``
}

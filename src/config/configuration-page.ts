// Owns: the text of docs/configuration.md, made from the settings.

import { type Setting, settings } from './gateway-settings.ts'
import { configFileVariable } from './load-config.ts'

/** Deterministic; ends with a line end. */
export function configurationPage(): string {
  return `# Configuration

<!-- Made by \`npm run generate\` from src/config/gateway-settings.ts: edit there. -->

Every setting of \`trunkline dev\` has a default. A setting is taken from the first place that has it:

1. an option of the command line (\`trunkline dev --help\` lists those that have one),
2. a variable of the environment (an empty one counts as not set),
3. the configuration file: a JSON object of settings, named by \`${configFileVariable}\`,
4. its default.

Numbers are plain integers in the unit that ends the name. Relative paths start at the working folder. Secrets are
never given by value: the settings that end in \`File\` name a file with mode 0600, which is read again when it is
needed. The gateway logs its effective configuration at the start, without the names of those files.

A configuration with a mistake does not start: all mistakes are listed at once (\`BAD_CONFIG\`), and the process ends
with exit code 2. Some values are checked together: ports differ unless they are 0; \`drainTimeoutMs\` is below
\`shutdownTimeoutMs\`; \`keepAliveMs\` is at most half of \`sessionLeaseMs\`.

| setting | environment | default | values | meaning |
|---|---|---|---|---|
${settings.map(row).join('\n')}
`
}

function row(setting: Setting): string {
  const { name, environmentName, description } = setting
  const fallback = setting.default === undefined ? '' : `\`${setting.default}\``
  const cells = [`\`${name}\``, `\`${environmentName}\``, fallback, values(setting), description]
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

function values(setting: Setting): string {
  switch (setting.kind) {
    case 'integer':
      return `${setting.minimum} to ${setting.maximum}`
    case 'boolean':
      return '`true`, `false`'
    case 'choice':
      return setting.choices.map((choice) => `\`${choice}\``).join(', ')
    case 'text':
      return setting.hidden ? 'path' : 'text'
  }
}

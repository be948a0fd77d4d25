// Owns: the effective configuration as it may be logged.
import type { Role } from './setting.ts'
import { settingValueOf } from './setting.ts'

/** A plain object for one log line: files show as `set`, lists as one text, settings without a value are absent. */
export function redactedConfig<Config extends object>(
  role: Role<Config>,
  config: Config,
): Readonly<Record<string, string | number | boolean>> {
  const shown: Record<string, string | number | boolean> = {}
  const values = new Map<string, unknown>(Object.entries(config))
  for (const { name, hidden } of role.settings) {
    const value = settingValueOf(values.get(name))
    if (value === undefined) continue
    shown[name] = hidden ? 'set' : typeof value === 'object' ? value.join(', ') : value
  }
  return shown
}

// Owns: the effective configuration as it may be logged.
import { type GatewayConfig, settings } from './gateway-settings.ts'

/** A plain object for one log line: files of secrets show as `set`, settings without a value are absent. */
export function redactedConfig(config: GatewayConfig): Readonly<Record<string, string | number | boolean>> {
  const shown: Record<string, string | number | boolean> = {}
  for (const { name, hidden } of settings) {
    const value = config[name]
    if (value !== undefined) shown[name] = hidden ? 'set' : value
  }
  return shown
}

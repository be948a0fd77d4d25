// Owns: the operator's commands on one broker of a private stack.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Stack } from '../../../scripts/stack/stack.ts'
import { rabbitSbin } from '../../../scripts/stack/tools.ts'

/** Runs `rabbitmqctl` or another script of the package; rejects with what it wrote when it fails. */
export async function rabbitTool(
  stack: Stack,
  name: string,
  script: 'rabbitmqctl' | 'rabbitmq-plugins',
  ...args: readonly string[]
): Promise<string> {
  const folder = join(stack.dir, name)
  const { stdout } = await promisify(execFile)(join(rabbitSbin() ?? '', script), ['-n', `${name}@localhost`, ...args], {
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: folder,
      ERL_EPMD_PORT: String(stack.plan.epmdPort),
      RABBITMQ_CONF_ENV_FILE: '/dev/null',
      RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
      LANG: 'C.UTF-8',
    },
    timeout: 60_000,
  })
  return stdout
}

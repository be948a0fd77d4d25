// Owns: opening the RabbitMQ switchboard: its options, their defaults, what is refused before anything is tried.
import type { Clock } from '../../ports/clock.ts'
import type { Random } from '../../ports/random.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { checkShard, ignore, type RabbitAccess, type RabbitShard } from './connect.ts'
import { noRabbitMetrics, type RabbitMetrics } from './metrics.ts'
import { type RabbitSwitchboard, ShardedSwitchboard } from './rabbit-switchboard.ts'
import { allocQueueTtlMs, defaultRabbitSettings, type RabbitSettings } from './settings.ts'

export type { RabbitMetrics, RabbitSettings, RabbitShard, RabbitSwitchboard }

export interface RabbitSwitchboardOptions {
  readonly shards: readonly RabbitShard[]
  /** Credentials and certificates. A function is asked before each attempt to connect: what it reads may be rotated. */
  readonly access?: RabbitAccess | (() => RabbitAccess)
  /** Shown to operators as the connections' name. */
  readonly name: string
  readonly clock: Clock
  readonly random: Random
  readonly settings?: Partial<RabbitSettings>
  readonly metrics?: RabbitMetrics
  /** A shard was lost or refuses us, a plugin is missing, a handler rejected. For logs: nothing has to be done. */
  readonly onProblem?: (problem: unknown) => void
}

/**
 * Resolves when at least one shard is up; the others keep being tried, for ever. Its owner closes it. Errors: BAD_CONFIG,
 * BROKER_REFUSED when every shard refuses credentials, certificate or rights, UNAVAILABLE when none is up within
 * connectTimeoutMs.
 */
export async function openRabbitSwitchboard(options: RabbitSwitchboardOptions): Promise<RabbitSwitchboard> {
  const settings = { ...defaultRabbitSettings, ...options.settings }
  checkOptions(options.shards, settings)
  const { access = {} } = options
  const switchboard = new ShardedSwitchboard({
    shards: options.shards,
    access: typeof access === 'function' ? access : () => access,
    name: options.name,
    clock: options.clock,
    random: options.random,
    settings,
    metrics: options.metrics ?? noRabbitMetrics,
    onProblem: options.onProblem ?? ignore,
  })
  try {
    await switchboard.firstUp()
    return switchboard
  } catch (error) {
    await switchboard.close()
    throw error
  }
}

function checkOptions(shards: readonly RabbitShard[], settings: RabbitSettings): void {
  const problem = (why: string): TrunklineError => new TrunklineError('BAD_CONFIG', { details: { why } })
  if (shards.length === 0) throw problem('no shard is named')
  if (new Set(shards.map(({ name }) => name)).size < shards.length) throw problem('two shards have the same name')
  for (const shard of shards) checkShard(shard)
  if (settings.allocateWaitMs > allocQueueTtlMs) throw problem(`allocateWaitMs is at most ${allocQueueTtlMs}`)
}

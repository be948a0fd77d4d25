// Owns: what the adapters of Kafka and RabbitMQ are opened with, from the configuration, and opening them for as long as
// it takes.
// 1. Files are read again before every connection: what was rotated counts. For Kafka, what cannot be read any more leaves
//    what was read last, and is told once; for RabbitMQ that shard waits until it can.
// 2. A broker that is away is asked again, for ever, after pauses that grow to `pauseMsMax`; one that refuses this
//    gateway, and a mistake in the configuration, end the process.
import { type OauthClient, OauthTokens } from '../adapters/kafka/oauth-tokens.ts'
import type { KafkaLogOptions } from '../adapters/kafka/open.ts'
import {
  openRabbitSwitchboard,
  type RabbitSwitchboard,
  type RabbitSwitchboardOptions,
} from '../adapters/rabbitmq/open.ts'
import { type KafkaConfig, parseShard, type RabbitConfig } from '../config/broker-settings.ts'
import { FileReads } from '../config/secret-file.ts'
import { rabbitMetrics } from '../observability/adapter-metrics.ts'
import type { LogFields } from '../observability/log-fields.ts'
import { type Clock, sleep } from '../ports/clock.ts'
import { TrunklineError } from '../protocol/errors.ts'
import type { Parts } from './parts.ts'

const pauseMs = 250
const pauseMsMax = 5_000

export type KafkaAccess = Pick<KafkaLogOptions, 'brokers' | 'tls' | 'sasl'> & {
  /** Of `oauthbearer`, whose login is made of it for each connection. */
  readonly oauth?: OauthClient
}
export type RabbitAccess = Exclude<RabbitSwitchboardOptions['access'], (() => unknown) | undefined>

/** Errors: BAD_CONFIG naming every file that cannot be read. */
export function kafkaAccess(config: KafkaConfig): KafkaAccess {
  const reads = new FileReads()
  const ca = reads.pem('kafkaCaFile', config.kafkaCaFile)
  const cert = reads.pem('kafkaCertFile', config.kafkaCertFile)
  const key = reads.pem('kafkaKeyFile', config.kafkaKeyFile, 'secret')
  const password = reads.secret('kafkaSaslPasswordFile', config.kafkaSaslPasswordFile)
  const clientSecret = reads.secret('kafkaOauthClientSecretFile', config.kafkaOauthClientSecretFile)
  const oauthCa = reads.pem('kafkaOauthCaFile', config.kafkaOauthCaFile)
  reads.check()
  const { kafkaSaslMechanism: mechanism, kafkaSaslUsername: username } = config
  const { kafkaOauthTokenUrl: tokenUrl, kafkaOauthClientId: clientId, kafkaOauthScope: scope } = config
  return {
    brokers: config.kafkaBrokers,
    ...(tokenUrl === undefined || clientId === undefined || clientSecret === undefined
      ? {}
      : { oauth: { tokenUrl, clientId, clientSecret, scope, ca: oauthCa } }),
    ...(config.kafkaTls ? { tls: pems(ca, cert, key) } : {}),
    ...(mechanism === 'none' || mechanism === 'oauthbearer' || username === undefined || password === undefined
      ? {}
      : { sasl: { mechanism, username, password } }),
  }
}

/** kafkaAccess for each connection: invariant 1. Errors, the first time: as kafkaAccess. */
export function freshKafkaAccess(
  config: KafkaConfig,
  clock: Clock,
  onProblem: (problem: unknown) => void,
): () => KafkaAccess {
  const tokens = new OauthTokens(clock)
  let last = kafkaAccess(config)
  let told = false
  return () => {
    try {
      last = kafkaAccess(config)
      told = false
    } catch (problem) {
      if (!told) onProblem(problem)
      told = true
    }
    const { oauth, ...access } = last
    if (oauth === undefined) return access
    return { ...access, sasl: { mechanism: 'oauthbearer', token: () => tokens.get(oauth) } }
  }
}

/** Errors: as kafkaAccess. */
export function rabbitAccess(config: RabbitConfig): RabbitAccess {
  const reads = new FileReads()
  const ca = reads.pem('rabbitCaFile', config.rabbitCaFile)
  const cert = reads.pem('rabbitCertFile', config.rabbitCertFile)
  const key = reads.pem('rabbitKeyFile', config.rabbitKeyFile, 'secret')
  const password = reads.secret('rabbitPasswordFile', config.rabbitPasswordFile)
  reads.check()
  const { rabbitUsername: username } = config
  return {
    ...(username === undefined || password === undefined ? {} : { credentials: { username, password } }),
    ...(ca === undefined && cert === undefined ? {} : { tls: pems(ca, cert, key) }),
  }
}

function shardsOf({ rabbitShards }: RabbitConfig): RabbitSwitchboardOptions['shards'] {
  return rabbitShards.map((text) => {
    const shard = parseShard(text)
    if (shard === undefined) throw new Error('the configuration has checked the shards')
    return shard
  })
}

/** Undefined when `signal` ended it first; what is opened after that is closed. Errors: invariant 2. */
export async function openPatiently<T extends { close(): Promise<void> }>(
  what: string,
  { clock, random, logger }: Pick<Parts, 'clock' | 'random' | 'logger'>,
  signal: AbortSignal,
  open: () => Promise<T>,
): Promise<T | undefined> {
  for (let attempt = 1; !signal.aborted; attempt++) {
    try {
      const opened = await open()
      if (!signal.aborted) return opened
      await opened.close()
    } catch (thrown) {
      if (!(thrown instanceof TrunklineError) || !thrown.retryable) throw thrown
      const waitMs = Math.round(Math.min(pauseMsMax, pauseMs * 2 ** (attempt - 1)) * (0.5 + random.fraction() / 2))
      logger.warn(
        { tier: 'main', event: what, attempt, waitMs, ...problemFields(thrown), err: thrown },
        'a broker is away',
      )
      await sleep(clock, waitMs, signal)
    }
  }
  return undefined
}

/** `name` is shown to operators. Otherwise as openPatiently. */
export async function openSwitchboard(
  config: RabbitConfig,
  parts: Parts,
  name: string,
  signal: AbortSignal,
): Promise<RabbitSwitchboard | undefined> {
  const { clock, random, registry, logger } = parts
  return await openPatiently('rabbitmq', parts, signal, async () => {
    // A file that is not as it should be is said now, not by shards that stay away.
    rabbitAccess(config)
    return await openRabbitSwitchboard({
      shards: shardsOf(config),
      access: () => rabbitAccess(config),
      name,
      clock,
      random,
      metrics: rabbitMetrics(registry.metrics),
      onProblem: (problem) =>
        logger.warn({ tier: 'main', ...problemFields(problem), err: problem }, 'the switchboard met a problem'),
    })
  })
}

/** Which shard, and why: an error's own details do not reach the log. */
export function problemFields(problem: unknown): LogFields {
  if (!(problem instanceof TrunklineError)) return {}
  const { shard, why } = problem.details
  return {
    errorCode: problem.name,
    ...(shard === undefined ? {} : { shard }),
    ...(why === undefined ? {} : { reason: why }),
  }
}

type Seen = Pick<RabbitSwitchboard, 'shardStates' | 'presence'>

export function shardIsUp(switchboard: Pick<Seen, 'shardStates'> | undefined): boolean {
  return switchboard !== undefined && upShards(switchboard).length > 0
}

/** On a shard that is up: a node that is seen on others only gets no call. */
export function nodeIsThere(switchboard: Seen | undefined): boolean {
  if (switchboard === undefined) return false
  const up = upShards(switchboard)
  return switchboard.presence().some(({ shards }) => shards.some((shard) => up.includes(shard)))
}

function upShards(switchboard: Pick<Seen, 'shardStates'>): readonly string[] {
  return switchboard
    .shardStates()
    .filter(({ state }) => state === 'up')
    .map(({ name }) => name)
}

function pems(
  ca: string | undefined,
  cert: string | undefined,
  key: string | undefined,
): { readonly ca?: string; readonly cert?: string; readonly key?: string } {
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  }
}

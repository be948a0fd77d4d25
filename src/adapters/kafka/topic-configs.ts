// Owns: the settings a topic is made with, and what its settings say about exactly-once (docs/exactly-once.md).
// Pure.
import type { TopicSpec } from '../../ports/event-log.ts'

export interface TopicDefaults {
  readonly replication: number
  readonly minInsyncReplicas: number
}

/** What is asked of every topic's configuration. */
export const readConfigs: readonly string[] = [
  'cleanup.policy',
  'min.insync.replicas',
  'unclean.leader.election.enable',
  'retention.ms',
  'retention.bytes',
]

/** One block of 1,000,000 B, or a batch of 900 KiB, with room for heads and headers. */
const messageBytesMax = 1024 * 1024 + 64 * 1024
/** Kafka deletes whole segments: a topic's oldest records go at most a tenth later than asked. */
const segmentsPerRetention = 10
const segmentMsMin = 1_000
const segmentMsMax = 7 * 24 * 60 * 60_000
const segmentBytesMin = 4 * 1024 * 1024
const segmentBytesMax = 1024 * 1024 * 1024
/** A barrier has to outlive whoever it keeps out: a process that stood still ends after 10 minutes. */
const retentionMsMin = 60 * 60_000
const copiesMin = 2

export function configsOf(spec: TopicSpec, defaults: TopicDefaults): Readonly<Record<string, string>> {
  const { retentionMs, retentionBytes } = spec
  return {
    'cleanup.policy': 'delete',
    'min.insync.replicas': String(defaults.minInsyncReplicas),
    'unclean.leader.election.enable': 'false',
    'compression.type': 'producer',
    'message.timestamp.type': 'LogAppendTime',
    'max.message.bytes': String(messageBytesMax),
    'retention.ms': String(retentionMs ?? -1),
    'retention.bytes': String(retentionBytes ?? -1),
    ...(retentionMs === undefined ? {} : { 'segment.ms': part(retentionMs, segmentMsMin, segmentMsMax) }),
    ...(retentionBytes === undefined
      ? {}
      : { 'segment.bytes': part(retentionBytes, segmentBytesMin, segmentBytesMax) }),
  }
}

function part(whole: number, min: number, max: number): string {
  return String(Math.min(max, Math.max(min, Math.floor(whole / segmentsPerRetention))))
}

/** −1 and what is missing mean: no bound. */
export function boundOf(value: string | undefined): number | undefined {
  const bound = Number(value ?? -1)
  return Number.isSafeInteger(bound) && bound >= 0 ? bound : undefined
}

/** Setting → what it has to be. Empty: exactly-once holds. */
export function unsafeSettings(
  replication: number,
  configs: ReadonlyMap<string, string>,
): Readonly<Record<string, string>> {
  const unsafe: Record<string, string> = {}
  if (replication < copiesMin) unsafe['replication'] = `at least ${copiesMin}`
  const minInsync = Number(configs.get('min.insync.replicas') ?? 1)
  if (minInsync < copiesMin) unsafe['min.insync.replicas'] = String(copiesMin)
  if (configs.get('unclean.leader.election.enable') === 'true') unsafe['unclean.leader.election.enable'] = 'false'
  if ((configs.get('cleanup.policy') ?? 'delete') !== 'delete') unsafe['cleanup.policy'] = 'delete'
  const retentionMs = boundOf(configs.get('retention.ms'))
  if (retentionMs !== undefined && retentionMs < retentionMsMin) unsafe['retention.ms'] = `at least ${retentionMsMin}`
  return unsafe
}

// Owns: every setting of the gateway under `dev`: its schema, default, bounds and meaning. The page
// docs/configuration.md is made from it (configuration-page.ts).
// 1. The unit is last in the name. Numbers are plain integers in that unit.
// 2. No setting holds a secret: secrets are named by their file (`…File`), and the effective configuration shows only
//    that a file is set.
// Leaves out: settings of brokers and key services, which come with their adapters.
import { type Static, type TSchema, Type } from 'typebox'
import {
  blockRawBytesMax,
  keepAliveMs,
  leaseMs,
  topicPartitionsDefault,
  topicPartitionsMax,
  waitMsMax,
  windowBytes,
} from '../protocol/limits.ts'

const mebibyte = 1024 * 1024
const minuteMs = 60_000
const dayMs = 24 * 60 * minuteMs

interface Meaning {
  readonly description: string
  /** Shown in the effective configuration as `set`. */
  readonly hidden?: true
}

function whole(minimum: number, maximum: number, value: number, meaning: string): ReturnType<typeof Type.Integer> {
  return Type.Integer({ minimum, maximum, default: value, description: meaning })
}

const listenPort = (value: number, meaning: string): ReturnType<typeof Type.Integer> =>
  whole(0, 65_535, value, `${meaning} 0 takes any free one.`)

const pathText = { minLength: 1, maxLength: 4_096 } as const

const secretFile = (meaning: Meaning): ReturnType<typeof Type.String> => Type.String({ ...pathText, ...meaning })

export const gatewaySchema = Type.Object(
  {
    dataDir: Type.String({
      ...pathText,
      default: './.trunkline/data',
      description: 'Folder of the embedded log and of what `dev` makes beside it. Made with mode 0700.',
    }),
    nodeId: Type.String({
      pattern: '^[a-zA-Z0-9-]{1,64}$',
      default: 'dev',
      description: 'Name of the stream node: 1 to 64 letters, digits and hyphens. One process at a time bears it.',
    }),
    host: Type.String({
      minLength: 1,
      maxLength: 255,
      default: '127.0.0.1',
      description: 'Address that all listeners bind. Anything but loopback opens the gateway to the network.',
    }),
    httpPort: listenPort(7470, 'Port of HTTP: the JSON API and Thrift by POST.'),
    thriftPort: listenPort(7471, 'Port of framed Thrift over TCP.'),
    adminPort: listenPort(7479, 'Port of health and metrics.'),
    logLevel: Type.Union(
      [
        Type.Literal('debug'),
        Type.Literal('info'),
        Type.Literal('warn'),
        Type.Literal('error'),
        Type.Literal('silent'),
      ],
      { default: 'info', description: 'Lines below this level are not written.' },
    ),
    logFormat: Type.Union([Type.Literal('auto'), Type.Literal('json'), Type.Literal('pretty')], {
      default: 'auto',
      description: 'auto writes short lines to a terminal and JSON to everything else.',
    }),
    autoCreateTopics: Type.Boolean({
      default: true,
      description: 'Whether a topic that is written to for the first time is made with the defaults.',
    }),
    topicPartitions: whole(
      1,
      topicPartitionsMax,
      topicPartitionsDefault,
      'Partitions of a topic made without a number.',
    ),
    topicsMax: whole(1, 100_000, 1_000, 'Topics that may exist.'),

    keyringFile: Type.Optional(
      secretFile({
        hidden: true,
        description: 'Keyring that wraps data keys. Default: made in the data folder, 0600.',
      }),
    ),
    gatewayKeyFile: Type.Optional(
      secretFile({
        hidden: true,
        description: 'Keys of session tokens and cursors. Default: made in the data folder, 0600.',
      }),
    ),
    clientSecretFile: Type.Optional(
      secretFile({
        hidden: true,
        description: 'File with the secret of the client `dev`. Default: one is made and written to dev.json.',
      }),
    ),
    accessTokenMs: whole(minuteMs, dayMs, 60 * minuteMs, 'Life of an access token.'),

    sessionLeaseMs: whole(1_000, 60 * minuteMs, leaseMs, 'A session that is silent for so long is closed.'),
    keepAliveMs: whole(100, 10 * minuteMs, keepAliveMs, 'How often an idle client renews its lease; told to clients.'),
    sessionsMax: whole(1, 1_000_000, 10_000, 'Open sessions; above it allocations answer NO_CAPACITY.'),
    allocationsMax: whole(
      1,
      10_000,
      64,
      'Allocations that run at once; above it they wait up to 200 ms, then NO_CAPACITY.',
    ),
    connectionsMax: whole(1, 1_000_000, 10_000, 'Connections per listener; above it new ones are closed.'),
    readCacheBytes: whole(blockRawBytesMax, 64 * 1024 * mebibyte, 64 * mebibyte, 'Opened blocks kept for readers.'),
    appendBufferBytes: whole(
      // One write window at least.
      windowBytes,
      64 * 1024 * mebibyte,
      64 * mebibyte,
      'Sealed bytes that wait for the log; above it writes are answered as retryable.',
    ),
    requestTimeoutMs: whole(1_000, 10 * minuteMs, 20_000, 'A request that has not arrived whole by then is closed.'),
    // Above the longest wait of a read.
    idleTimeoutMs: whole(
      waitMsMax + 1_000,
      60 * minuteMs,
      120_000,
      'A connection without traffic for so long is closed.',
    ),
    drainTimeoutMs: whole(0, 10 * minuteMs, 10_000, 'How long a stopping gateway finishes what it has begun.'),
    shutdownTimeoutMs: whole(100, 15 * minuteMs, 15_000, 'When a stopping gateway ends whatever is left.'),
  },
  { additionalProperties: false },
)

export type GatewayConfig = Readonly<Static<typeof gatewaySchema>>
export type SettingName = keyof GatewayConfig

export interface Setting {
  readonly name: SettingName
  /** TRUNKLINE_HTTP_PORT of httpPort. */
  readonly environmentName: string
  readonly kind: 'integer' | 'boolean' | 'choice' | 'text'
  readonly schema: TSchema
  readonly description: string
  readonly default: string | number | boolean | undefined
  readonly minimum: number | undefined
  readonly maximum: number | undefined
  /** Of a choice. */
  readonly choices: readonly string[]
  readonly hidden: boolean
}

/** All settings, in the order of the page. */
export const settings: readonly Setting[] = Object.entries(gatewaySchema.properties).map(([name, schema]) =>
  describeSetting(name as SettingName, schema),
)

export interface SettingConflict {
  readonly names: readonly SettingName[]
  readonly problem: string
}

/** What is wrong between settings that are each fine; bounds that hold between two values live here. */
export function conflictsOf(config: GatewayConfig): readonly SettingConflict[] {
  const conflicts: SettingConflict[] = []
  const must = (holds: boolean, names: readonly SettingName[], problem: string): void => {
    if (!holds) conflicts.push({ names, problem })
  }
  const ports = (['httpPort', 'thriftPort', 'adminPort'] as const).filter((name) => config[name] !== 0)
  for (const [index, name] of ports.entries()) {
    const twins = ports.slice(index + 1).filter((other) => config[other] === config[name])
    for (const twin of twins) must(false, [name, twin], 'must differ, or be 0')
  }
  const { drainTimeoutMs, shutdownTimeoutMs, sessionLeaseMs, keepAliveMs: renewalMs } = config
  must(
    drainTimeoutMs < shutdownTimeoutMs,
    ['drainTimeoutMs', 'shutdownTimeoutMs'],
    'the first must be below the second',
  )
  must(
    2 * renewalMs <= sessionLeaseMs,
    ['keepAliveMs', 'sessionLeaseMs'],
    'the first must be at most half of the second, so that one lost renewal closes no session',
  )
  return conflicts
}

function describeSetting(name: SettingName, schema: TSchema): Setting {
  const facts: Record<string, unknown> = { ...schema }
  const literals: readonly unknown[] = Array.isArray(facts['anyOf']) ? facts['anyOf'] : []
  const choices = literals.flatMap((literal) =>
    typeof literal === 'object' && literal !== null && 'const' in literal ? [String(literal.const)] : [],
  )
  const fallback = facts['default']
  return {
    name,
    environmentName: `TRUNKLINE_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`,
    kind: kindOf(name, facts['type'], choices),
    schema,
    description: typeof facts['description'] === 'string' ? facts['description'] : '',
    default:
      typeof fallback === 'string' || typeof fallback === 'number' || typeof fallback === 'boolean'
        ? fallback
        : undefined,
    minimum: typeof facts['minimum'] === 'number' ? facts['minimum'] : undefined,
    maximum: typeof facts['maximum'] === 'number' ? facts['maximum'] : undefined,
    choices,
    hidden: facts['hidden'] === true,
  }
}

function kindOf(name: string, type: unknown, choices: readonly string[]): Setting['kind'] {
  if (type === 'integer' || type === 'boolean') return type
  if (type === 'string') return 'text'
  if (choices.length > 0) return 'choice'
  throw new Error(`${name} has a schema that the configuration does not know`)
}

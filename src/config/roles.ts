// Owns: which process has which settings, and the rules between the gateway's own.
import { type Static, type TObject, Type } from 'typebox'
import { addressRanges } from './address-ranges.ts'
import { brokerSettings, kafkaRules, kafkaSettings, rabbitRules, rabbitSettings } from './broker-settings.ts'
import {
  accessSettings,
  allowAllCallers,
  clientsFile,
  connectionSettings,
  devNodeId,
  embeddedSettings,
  frontSettings,
  gatewayKeyFile,
  keyringFile,
  nodeId,
  nodeSettings,
  processSettings,
  providerSettings,
  quotaSettings,
  signingKeyFile,
} from './gateway-settings.ts'
import { keyProviderRules, keyProviderSettings } from './key-settings.ts'
import { defineRole, type Role, type RoleName, type Rule, rulesOf } from './setting.ts'
import { tlsRules } from './tls-settings.ts'

const closed = { additionalProperties: false } as const

const devSchema = Type.Object(
  {
    nodeId: devNodeId,
    ...processSettings,
    ...frontSettings,
    ...accessSettings,
    ...quotaSettings,
    ...connectionSettings,
    ...providerSettings,
    ...embeddedSettings,
    ...nodeSettings,
    keyringFile: Type.Optional(keyringFile),
    gatewayKeyFile: Type.Optional(gatewayKeyFile),
    clientsFile: Type.Optional(clientsFile),
  },
  closed,
)

const apiSchema = Type.Object(
  {
    ...processSettings,
    ...frontSettings,
    ...accessSettings,
    allowAllCallers,
    ...quotaSettings,
    ...connectionSettings,
    ...providerSettings,
    gatewayKeyFile,
    signingKeyFile,
    clientsFile,
    ...brokerSettings,
    ...rabbitSettings,
  },
  closed,
)

const streamSchema = Type.Object(
  {
    nodeId,
    ...processSettings,
    ...nodeSettings,
    ...keyProviderSettings,
    gatewayKeyFile,
    ...brokerSettings,
    ...kafkaSettings,
    ...rabbitSettings,
  },
  closed,
)

/** What a command needs to read the log of a stream process; set as for that process. */
const logReaderSchema = Type.Object({ ...keyProviderSettings, ...brokerSettings, ...kafkaSettings }, closed)

export type ProcessConfig = Readonly<Static<TObject<typeof processSettings>>>
export type AccessConfig = Readonly<Static<TObject<typeof accessSettings>>>
export type FrontConfig = Readonly<
  Static<TObject<typeof frontSettings & typeof quotaSettings & typeof connectionSettings>>
> &
  ProcessConfig
export type ProviderConfig = Readonly<Static<TObject<typeof providerSettings>>>
export type NodeConfig = Readonly<Static<TObject<typeof nodeSettings>>> & ProcessConfig & { readonly nodeId: string }
export type GatewayConfig = Readonly<Static<typeof devSchema>>
export type ApiConfig = Readonly<Static<typeof apiSchema>>
export type StreamConfig = Readonly<Static<typeof streamSchema>>
export type LogReaderConfig = Readonly<Static<typeof logReaderSchema>>

const processRules: readonly Rule<ProcessConfig>[] = [
  rulesOf<ProcessConfig>()(
    ['drainTimeoutMs', 'shutdownTimeoutMs'],
    (config) => config.drainTimeoutMs < config.shutdownTimeoutMs,
    'the first must be below the second',
  ),
  ...tlsRules,
]

const nodeRules: readonly Rule<NodeConfig>[] = [
  rulesOf<NodeConfig>()(
    ['keepAliveMs', 'sessionLeaseMs'],
    (config) => 2 * config.keepAliveMs <= config.sessionLeaseMs,
    'the first must be at most half of the second, so that one lost renewal closes no session',
  ),
  rulesOf<NodeConfig>()(
    ['clientStagedBytesMax', 'tenantStagedBytesMax', 'appendBufferBytes'],
    ({ clientStagedBytesMax, tenantStagedBytesMax, appendBufferBytes }) =>
      clientStagedBytesMax <= tenantStagedBytesMax && 2 * tenantStagedBytesMax <= appendBufferBytes,
    'the first must be at most the second, and the second at most half of the third, so that no tenant stages it full',
  ),
]

const portPairs = [
  ['httpPort', 'thriftPort'],
  ['httpPort', 'adminPort'],
  ['thriftPort', 'adminPort'],
] as const
const frontRules: readonly Rule<FrontConfig>[] = [
  ...portPairs.map((names) =>
    rulesOf<FrontConfig>()(
      names,
      (config) => config[names[0]] === 0 || config[names[0]] !== config[names[1]],
      'must differ, or be 0',
    ),
  ),
  rulesOf<FrontConfig>()(
    ['sharedAddresses'],
    ({ sharedAddresses }) => addressRanges(sharedAddresses) !== undefined,
    'must be IP addresses, or ranges of them such as 10.0.0.0/8',
  ),
]

const accessRules: readonly Rule<ApiConfig>[] = [
  rulesOf<ApiConfig>()(
    ['policyFile', 'allowAllCallers'],
    (config) => config.allowAllCallers !== (config.policyFile !== undefined),
    'set exactly one: a policy file (`trunkline keys init` makes one), or allowAllCallers to true',
  ),
]

export const devRole: Role<GatewayConfig> = defineRole('dev', devSchema, [...frontRules, ...processRules, ...nodeRules])
export const apiRole: Role<ApiConfig> = defineRole('api', apiSchema, [
  ...frontRules,
  ...accessRules,
  ...processRules,
  ...rabbitRules,
])
export const streamRole: Role<StreamConfig> = defineRole('stream', streamSchema, [
  ...processRules,
  ...nodeRules,
  ...keyProviderRules,
  ...kafkaRules,
  ...rabbitRules,
])

export const logReaderRole: Role<LogReaderConfig> = defineRole('stream', logReaderSchema, [
  ...keyProviderRules,
  ...kafkaRules,
])

/** For what does not depend on the values: the page, misspelt names. */
export const roles: readonly (Pick<Role<never>, 'name' | 'settings'> & {
  readonly rules: readonly Pick<Rule<never>, 'names' | 'problem'>[]
})[] = [devRole, apiRole, streamRole]

/** Every role that has a setting of this name. */
export function rolesWith(name: string): readonly RoleName[] {
  return roles.filter(({ settings }) => settings.some((setting) => setting.name === name)).map((role) => role.name)
}

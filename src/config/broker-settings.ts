// Owns: the settings of Kafka and RabbitMQ, the rules between them, and the forms of their addresses.
// 1. Credentials never stand in an address, and go over the network without TLS only when that is allowed by name.
// Leaves out: reading the files (secret-file.ts), connecting (adapters).
import { type Static, type TObject, Type } from 'typebox'
import { isLoopback } from './loopback.ts'
import { file, type Rule, rulesOf, secretFile, whole } from './setting.ts'

const name = { minLength: 1, maxLength: 256 } as const

/** Of every process that talks to a broker. */
export const brokerSettings = {
  allowCleartextCredentials: Type.Boolean({
    default: false,
    description: 'Whether a password may go over the network without TLS. Within the machine it always may.',
  }),
}

export const kafkaSettings = {
  kafkaBrokers: Type.Array(Type.String({ pattern: '^(\\[[0-9a-fA-F:.]+\\]|[a-zA-Z0-9._-]+):[0-9]{1,5}$' }), {
    minItems: 1,
    maxItems: 100,
    uniqueItems: true,
    description: 'Kafka brokers to begin with, `host:port`; the others are found through them.',
  }),
  kafkaTls: Type.Boolean({ default: false, description: 'Whether connections to Kafka use TLS.' }),
  kafkaCaFile: Type.Optional(
    file('PEM of the authorities that Kafka’s certificate may come from. Default: the system’s.'),
  ),
  kafkaCertFile: Type.Optional(file('PEM of the certificate that this process shows to Kafka.')),
  kafkaKeyFile: Type.Optional(secretFile('PEM of the key of `kafkaCertFile`.')),
  kafkaSaslMechanism: Type.Union(
    [
      Type.Literal('none'),
      Type.Literal('plain'),
      Type.Literal('scram-sha-256'),
      Type.Literal('scram-sha-512'),
      Type.Literal('oauthbearer'),
    ],
    { default: 'none', description: 'How this process logs in to Kafka.' },
  ),
  kafkaSaslUsername: Type.Optional(Type.String({ ...name, description: 'User name at Kafka.' })),
  kafkaSaslPasswordFile: Type.Optional(secretFile('File with the password at Kafka.')),
  kafkaOauthTokenUrl: Type.Optional(
    Type.String({
      pattern: '^https?://[^@\\s]+$',
      maxLength: 1_024,
      description: 'Where `oauthbearer` gets its tokens (OAuth 2.0, client credentials).',
    }),
  ),
  kafkaOauthClientId: Type.Optional(Type.String({ ...name, description: 'Client that gets them.' })),
  kafkaOauthClientSecretFile: Type.Optional(secretFile('File with the secret of that client.')),
  kafkaOauthScope: Type.Optional(
    Type.String({ minLength: 1, maxLength: 1_024, description: 'Scope to ask for. Default: none is named.' }),
  ),
  kafkaOauthCaFile: Type.Optional(
    file('PEM of the authorities that the token URL’s certificate may come from. Default: those of Node.js.'),
  ),
  topicReplication: whole(1, 32, 3, 'Copies of each partition of a topic that is made through the gateway.'),
  topicMinInsyncReplicas: whole(1, 32, 2, 'Copies that have a write before it is acked, on topics made here.'),
  unsafeTopics: Type.Array(Type.String({ pattern: '^(\\*|[a-zA-Z0-9._-]{1,249})$' }), {
    maxItems: 10_000,
    uniqueItems: true,
    default: [],
    description:
      'Topics that may be written to although their settings cannot keep exactly-once (TOPIC_UNSAFE); `*` is all.',
  }),
  catchUpLanesMax: whole(1, 64, 2, 'Connections per broker for readers that are not at the end of a topic.'),
}

export const rabbitSettings = {
  rabbitShards: Type.Array(Type.String({ minLength: 1, maxLength: 1_024 }), {
    minItems: 1,
    maxItems: 64,
    uniqueItems: true,
    description:
      'RabbitMQ brokers, `name=amqps://host:port/vhost`, each on its own. API processes name all; a stream process may name some.',
  }),
  rabbitUsername: Type.Optional(Type.String({ ...name, description: 'User name at RabbitMQ.' })),
  rabbitPasswordFile: Type.Optional(secretFile('File with the password at RabbitMQ.')),
  rabbitCaFile: Type.Optional(
    file('PEM of the authorities that RabbitMQ’s certificate may come from. Default: the system’s.'),
  ),
  rabbitCertFile: Type.Optional(file('PEM of the certificate that this process shows to RabbitMQ.')),
  rabbitKeyFile: Type.Optional(secretFile('PEM of the key of `rabbitCertFile`.')),
}

export type KafkaConfig = Readonly<Static<TObject<typeof kafkaSettings & typeof brokerSettings>>>
export type RabbitConfig = Readonly<Static<TObject<typeof rabbitSettings & typeof brokerSettings>>>

/** Whoever listens has it. */
const sentAsItIs: ReadonlySet<string> = new Set(['plain', 'oauthbearer'])
const kafkaRule = rulesOf<KafkaConfig>()
export const kafkaRules: readonly Rule<KafkaConfig>[] = [
  kafkaRule(
    ['kafkaCertFile', 'kafkaKeyFile'],
    ({ kafkaCertFile: cert, kafkaKeyFile: key }) => (cert === undefined) === (key === undefined),
    'a certificate needs its key, and a key its certificate: set both or none',
  ),
  kafkaRule(
    ['kafkaTls', 'kafkaCaFile', 'kafkaCertFile'],
    (config) => config.kafkaTls || (config.kafkaCaFile === undefined && config.kafkaCertFile === undefined),
    'certificates are of use with TLS only: set kafkaTls to true, or leave them out',
  ),
  kafkaRule(
    ['kafkaSaslUsername', 'kafkaSaslPasswordFile'],
    ({ kafkaSaslUsername: user, kafkaSaslPasswordFile: password }) => (user === undefined) === (password === undefined),
    'a user name needs a password file, and a password file a user name: set both or none',
  ),
  kafkaRule(
    ['kafkaSaslMechanism', 'kafkaSaslUsername'],
    ({ kafkaSaslMechanism: mechanism, kafkaSaslUsername: user }) =>
      (mechanism === 'none' || mechanism === 'oauthbearer') === (user === undefined),
    'a mechanism needs a user name, and a user name a mechanism (oauthbearer has a client instead)',
  ),
  kafkaRule(
    ['kafkaTls', 'kafkaSaslMechanism', 'kafkaBrokers', 'allowCleartextCredentials'],
    (config) =>
      config.kafkaTls ||
      !sentAsItIs.has(config.kafkaSaslMechanism) ||
      config.allowCleartextCredentials ||
      config.kafkaBrokers.every((broker) => isLoopback(hostOf(broker))),
    'the password, or the token, would go over the network in the clear: set kafkaTls to true, or take scram-sha-512',
  ),
  kafkaRule(
    ['kafkaSaslMechanism', 'kafkaOauthTokenUrl', 'kafkaOauthClientId', 'kafkaOauthClientSecretFile'],
    (config) =>
      [config.kafkaOauthTokenUrl, config.kafkaOauthClientId, config.kafkaOauthClientSecretFile].every(
        (value) => (value !== undefined) === (config.kafkaSaslMechanism === 'oauthbearer'),
      ),
    'oauthbearer needs all three of token URL, client id and secret file, and they are of use with it only',
  ),
  kafkaRule(
    ['kafkaSaslMechanism', 'kafkaOauthScope', 'kafkaOauthCaFile'],
    (config) =>
      config.kafkaSaslMechanism === 'oauthbearer' ||
      (config.kafkaOauthScope === undefined && config.kafkaOauthCaFile === undefined),
    'these are of use with oauthbearer only',
  ),
  kafkaRule(
    ['kafkaOauthTokenUrl', 'allowCleartextCredentials'],
    ({ kafkaOauthTokenUrl: url, allowCleartextCredentials }) =>
      url === undefined ||
      allowCleartextCredentials ||
      urlOf(url)?.protocol === 'https:' ||
      isLoopback(urlOf(url)?.hostname ?? ''),
    'the secret of the client would go over the network in the clear: use https://',
  ),
  kafkaRule(
    ['topicMinInsyncReplicas', 'topicReplication'],
    (config) => config.topicMinInsyncReplicas <= config.topicReplication,
    'the first must not be above the second: nothing could be written',
  ),
  kafkaRule(
    ['topicMinInsyncReplicas', 'unsafeTopics'],
    (config) => config.topicMinInsyncReplicas >= 2 || config.unsafeTopics.length > 0,
    'topics with one copy at the time of an ack lose it with that broker, and are refused for writing: set the first to 2, or name the topics that may be unsafe',
  ),
]

const rabbitRule = rulesOf<RabbitConfig>()
export const rabbitRules: readonly Rule<RabbitConfig>[] = [
  rabbitRule(
    ['rabbitShards'],
    ({ rabbitShards }) => rabbitShards.every((text) => !hasCredentials(text)),
    'an address must not hold credentials: use rabbitUsername and rabbitPasswordFile',
  ),
  rabbitRule(
    ['rabbitShards'],
    ({ rabbitShards }) => rabbitShards.every((text) => parseShard(text) !== undefined),
    'each must be name=amqps://host:port/vhost (or amqp://): a name of 1 to 32 letters, digits and hyphens, and an address without options',
  ),
  rabbitRule(
    ['rabbitShards'],
    ({ rabbitShards }) => {
      const names = rabbitShards.map((text) => parseShard(text)?.name)
      return new Set(names).size === names.length
    },
    'each shard must have a name of its own',
  ),
  rabbitRule(
    ['rabbitUsername', 'rabbitPasswordFile'],
    ({ rabbitUsername: user, rabbitPasswordFile: password }) => (user === undefined) === (password === undefined),
    'a user name needs a password file, and a password file a user name: set both or none',
  ),
  rabbitRule(
    ['rabbitCertFile', 'rabbitKeyFile'],
    ({ rabbitCertFile: cert, rabbitKeyFile: key }) => (cert === undefined) === (key === undefined),
    'a certificate needs its key, and a key its certificate: set both or none',
  ),
  rabbitRule(
    ['rabbitShards', 'rabbitCaFile', 'rabbitCertFile'],
    (config) =>
      (config.rabbitCaFile === undefined && config.rabbitCertFile === undefined) ||
      config.rabbitShards.some((text) => parseShard(text)?.url.startsWith('amqps:') === true),
    'certificates are of use with amqps:// only',
  ),
  rabbitRule(
    ['rabbitShards', 'allowCleartextCredentials'],
    (config) =>
      config.allowCleartextCredentials ||
      config.rabbitShards.every((text) => {
        const url = parseShard(text)?.url
        return url === undefined || url.startsWith('amqps:') || isLoopback(new URL(url).hostname)
      }),
    'the password would go over the network in the clear: use amqps://',
  ),
]

export interface ShardAddress {
  readonly name: string
  /** amqp[s]://host:port/vhost. */
  readonly url: string
}

/** Undefined when the text has another form. */
export function parseShard(text: string): ShardAddress | undefined {
  const found = /^([a-zA-Z0-9-]{1,32})=(amqps?:\/\/.+)$/.exec(text)
  const [, shard, address] = found ?? []
  if (shard === undefined || address === undefined) return undefined
  const url = urlOf(address)
  if (url === undefined || url.hostname === '' || url.search !== '' || url.hash !== '') return undefined
  return { name: shard, url: address }
}

function hasCredentials(text: string): boolean {
  const url = urlOf(text.slice(text.indexOf('=') + 1))
  return url !== undefined && (url.username !== '' || url.password !== '')
}

function urlOf(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined
}

function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':'))
}

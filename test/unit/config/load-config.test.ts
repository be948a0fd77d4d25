// Owns: where settings come from, what is refused, and how it is told.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  type ConfigSources,
  configProblemLines,
  type LoadedConfig,
  loadConfig,
} from '../../../src/config/load-config.ts'
import { nearest } from '../../../src/config/nearest-name.ts'
import { redactedConfig } from '../../../src/config/redacted-config.ts'
import { apiRole, devRole, type GatewayConfig, streamRole } from '../../../src/config/roles.ts'
import { FileReads, readPemFile, readSecretFile } from '../../../src/config/secret-file.ts'
import type { Role } from '../../../src/config/setting.ts'
import { isErrorNamed } from '../../../src/protocol/errors.ts'

const canary = 'CANARY-91bc'
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'trunkline-config-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function file(content: unknown): string {
  const path = join(folder, 'config.json')
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

const { settings } = devRole

function load(sources: Partial<ConfigSources> = {}): LoadedConfig<GatewayConfig> {
  return loadConfig(devRole, { environment: {}, ...sources })
}

/** The problems by subject; fails when the configuration is taken. */
function problems(sources: Partial<ConfigSources>): Readonly<Record<string, string>> {
  return problemsOf(devRole, sources)
}

function problemsOf<Config>(role: Role<Config>, sources: Partial<ConfigSources>): Readonly<Record<string, string>> {
  try {
    loadConfig(role, { environment: {}, ...sources })
  } catch (error) {
    if (!isErrorNamed(error, 'BAD_CONFIG')) throw error
    expect(configProblemLines(error)?.length).toBe(Object.keys(error.details).length)
    return error.details
  }
  throw new Error('the configuration was taken')
}

describe('where a setting comes from', () => {
  test('given nothing, then the defaults hold', () => {
    const { config, sources, warnings } = load()
    expect(config).toMatchObject({
      host: '127.0.0.1',
      httpPort: 7470,
      thriftPort: 7471,
      adminPort: 7479,
      logLevel: 'info',
    })
    expect(config.keyringFile).toBeUndefined()
    expect(new Set(Object.values(sources))).toEqual(new Set(['default']))
    expect(warnings).toEqual([])
  })

  test('given all of them, then option is above environment, environment above file, file above default', () => {
    const sources = {
      options: { httpPort: '1001' },
      environment: { TRUNKLINE_HTTP_PORT: '1002', TRUNKLINE_THRIFT_PORT: '1003' },
      file: file({ httpPort: 1004, thriftPort: 1005, adminPort: 1006 }),
    }
    const loaded = load(sources)
    expect(loaded.config).toMatchObject({ httpPort: 1001, thriftPort: 1003, adminPort: 1006, nodeId: 'dev' })
    expect(loaded.sources).toMatchObject({
      httpPort: 'option',
      thriftPort: 'environment',
      adminPort: 'file',
      nodeId: 'default',
    })
  })

  test('given a file named by the environment, then it is read; an option names another', () => {
    const one = file({ nodeId: 'one' })
    const environment = { TRUNKLINE_CONFIG_FILE: one }
    expect(load({ environment }).config.nodeId).toBe('one')
    const two = join(folder, 'two.json')
    writeFileSync(two, '{"nodeId":"two"}')
    expect(load({ environment, file: two }).config.nodeId).toBe('two')
  })

  test('given empty variables and undefined options, then they count as not set', () => {
    const environment = { TRUNKLINE_HTTP_PORT: '', TRUNKLINE_CONFIG_FILE: '' }
    expect(load({ environment, options: { httpPort: undefined } }).config.httpPort).toBe(7470)
  })

  test('given every setting by its variable, then each arrives in its own type', () => {
    const texts: Record<string, string> = {}
    for (const setting of settings) {
      const { name, environmentName, kind, choices, minimum } = setting
      const byKind = {
        // One that wants more than texts has a default.
        list: Array.isArray(setting.default) && setting.default.length > 0 ? setting.default.join(',') : 'a,b',
        integer: String(setting.default ?? minimum),
        boolean: 'false',
        choice: choices[0] ?? '',
        text: name === 'otlpEndpoint' || name === 'oidcIssuer' ? 'http://127.0.0.1:4318' : 'x',
      }
      texts[environmentName] = byKind[kind]
    }
    const { config, sources } = load({ environment: texts })
    expect(new Set(Object.values(sources))).toEqual(new Set(['environment']))
    expect(config.autoCreateTopics).toBe(false)
    expect(typeof config.sessionLeaseMs).toBe('number')
    expect(Object.keys(config).sort()).toEqual(settings.map(({ name }) => name).sort())
  })
})

describe('what is refused', () => {
  test('given many mistakes in all places, then all are told at once, with their place and what would be right', () => {
    const found = problems({
      options: { httpPort: 'seventy' },
      environment: { TRUNKLINE_LOG_LEVEL: 'loud', TRUNKLINE_SESSIONS_MAX: '0', TRUNKLINE_AUTO_CREATE_TOPICS: 'yes' },
      file: file({ adminPort: '7479', thriftPort: 70_000, nodeId: 'a b', drainTimeoutMs: 20_000 }),
    })
    expect(found).toEqual({
      httpPort: 'the option httpPort must be an integer from 0 to 65535',
      logLevel: 'TRUNKLINE_LOG_LEVEL must be one of debug, info, warn, error, silent',
      sessionsMax: 'TRUNKLINE_SESSIONS_MAX must be an integer from 1 to 1000000',
      autoCreateTopics: 'TRUNKLINE_AUTO_CREATE_TOPICS must be true or false',
      adminPort: 'in the configuration file it must be an integer from 0 to 65535',
      thriftPort: 'in the configuration file it must be an integer from 0 to 65535',
      nodeId: expect.stringContaining('letters, digits and hyphens'),
      'drainTimeoutMs, shutdownTimeoutMs': 'the first must be below the second',
    })
  })

  test.each<[string, Readonly<Record<string, unknown>>, string, string]>([
    [
      'a host of the network without TLS',
      { host: '0.0.0.0' },
      'host, tlsCertFile, allowPlainListeners',
      'in the clear',
    ],
    ['a name that is not of this machine', { host: 'gw-1' }, 'host, tlsCertFile, allowPlainListeners', 'in the clear'],
    ['a certificate without its key', { tlsCertFile: 'c' }, 'tlsCertFile, tlsKeyFile', 'set both'],
    [
      'authorities of clients that nobody is asked for',
      { tlsCertFile: 'c', tlsKeyFile: 'k', tlsClientCaFile: 'a' },
      'tlsClientAuth, adminTlsClientAuth, tlsClientCaFile',
      'with request or require only',
    ],
    [
      'clients that are asked without authorities',
      { tlsCertFile: 'c', tlsKeyFile: 'k', adminTlsClientAuth: 'require' },
      'tlsClientAuth, adminTlsClientAuth, tlsClientCaFile',
      'needs its authorities',
    ],
    [
      'clients that are asked without TLS',
      { tlsClientAuth: 'require', tlsClientCaFile: 'a' },
      'tlsClientCaFile, tlsCertFile',
      'over TLS only',
    ],
    [
      'a shared address that is none',
      { sharedAddresses: ['10.0.0.1', '10.0.0.0/33'] },
      'sharedAddresses',
      'must be IP addresses',
    ],
  ])('given %s, then that is refused', (_, options, subject, problem) => {
    expect(problems({ options })).toEqual({ [subject]: expect.stringContaining(problem) })
  })

  test.each([
    { host: '0.0.0.0', tlsCertFile: 'c', tlsKeyFile: 'k' },
    { host: '0.0.0.0', allowPlainListeners: true },
    { host: 'localhost' },
    { host: '::1' },
    { host: '127.8.9.1' },
    { tlsCertFile: 'c', tlsKeyFile: 'k', tlsClientCaFile: 'a', tlsClientAuth: 'require', adminTlsClientAuth: 'none' },
  ])('given %j, then it is taken', (options) => {
    expect(() => load({ options })).not.toThrow()
  })

  test.each(['1.5', '1e3', '0x10', ' ', '١', '9999999999999999999', 'NaN', '--1'])(
    'given %j where a number belongs, then it is refused',
    (text) => {
      expect(Object.keys(problems({ environment: { TRUNKLINE_SESSIONS_MAX: text } }))).toEqual(['sessionsMax'])
    },
  )

  test('given equal ports, then each pair is told; two times 0 is fine', () => {
    expect(Object.keys(problems({ options: { httpPort: 7479, thriftPort: 7479 } }))).toEqual([
      'httpPort, thriftPort',
      'httpPort, adminPort',
      'thriftPort, adminPort',
    ])
    expect(load({ options: { httpPort: 0, thriftPort: 0, adminPort: 0 } }).config.adminPort).toBe(0)
  })

  test('given related values that do not fit, then both are named', () => {
    expect(problems({ options: { sessionLeaseMs: 10_000 } })).toEqual({
      'keepAliveMs, sessionLeaseMs': expect.stringContaining('half'),
    })
    expect(load({ options: { sessionLeaseMs: 10_000, keepAliveMs: 5_000 } }).config.keepAliveMs).toBe(5_000)
    // A smaller buffer wants a smaller share of each tenant.
    const staged = { appendBufferBytes: 20_000_000, tenantStagedBytesMax: 10_000_000, clientStagedBytesMax: 10_000_000 }
    const share = { 'clientStagedBytesMax, tenantStagedBytesMax, appendBufferBytes': expect.stringContaining('half') }
    expect(load({ options: staged }).config.tenantStagedBytesMax).toBe(10_000_000)
    expect(problems({ options: { ...staged, appendBufferBytes: 19_999_999 } })).toEqual(share)
    expect(problems({ options: { ...staged, clientStagedBytesMax: 10_000_001 } })).toEqual(share)
    expect(Object.keys(problems({ options: { drainTimeoutMs: 500, shutdownTimeoutMs: 500 } }))).toEqual([
      'drainTimeoutMs, shutdownTimeoutMs',
    ])
  })

  test('given a name that is none, then the nearest one is named, and a secret by value is sent to its file', () => {
    const found = problems({
      options: { htpPort: 1 },
      file: file({ clientSecret: canary, colour: 'red', __proto_: 1 }),
    })
    expect(found['htpPort']).toContain('did you mean httpPort?')
    expect(found['clientSecret']).toContain('use clientSecretFile')
    expect(found['colour']).toContain('there is no such setting')
    expect(JSON.stringify(found)).not.toContain(canary)
  })

  test.each(['toString', 'constructor', '__proto__'])(
    'given %s as a name in the file, then it is an unknown name',
    (name) => {
      expect(Object.keys(problems({ file: file(`{"${name}": 1}`) }))).toEqual([name])
    },
  )

  test('given a wrong value, then the problem never repeats it', () => {
    const found = problems({
      environment: { TRUNKLINE_NODE_ID: `${canary}!`, TRUNKLINE_LOG_LEVEL: canary, TRUNKLINE_HTTP_PORT: canary },
    })
    expect(Object.keys(found).length).toBe(3)
    expect(JSON.stringify(found)).not.toContain(canary)
  })

  test.each([
    ['not JSON', `{"nodeId": ${canary}`, 'must be JSON'],
    ['a list', '[]', 'must be an object'],
    ['null', 'null', 'must be an object'],
    ['too large', ' '.repeat(1024 * 1024 + 1), 'at most 1048576 bytes'],
  ])('given a file that is %s, then that is told without quoting it', (_what, text, problem) => {
    const found = problems({ file: file(text) })
    expect(Object.values(found)).toEqual([expect.stringContaining(problem)])
    expect(JSON.stringify(found)).not.toContain(canary)
  })

  test('given a file that is missing, then that is told together with the rest', () => {
    const found = problems({ file: join(folder, 'none.json'), options: { httpPort: -1 } })
    expect(Object.keys(found).length).toBe(2)
    expect(Object.values(found).join()).toContain('cannot be read (ENOENT)')
  })

  test('given a variable that looks like a misspelt setting, then that is a warning; others are not looked at', () => {
    const environment = { TRUNKLINE_HTP_PORT: '1', TRUNKLINE_TEST_SCALE: 'ci', HTTP_PORT: '2' }
    expect(load({ environment }).warnings).toEqual([
      'TRUNKLINE_HTP_PORT is not a setting; did you mean TRUNKLINE_HTTP_PORT?',
    ])
  })
})

describe('the roles of a cluster', () => {
  const keys = { gatewayKeyFile: 'g' }
  const oauth = { kafkaOauthTokenUrl: 'https://idp/t', kafkaOauthClientId: 'c', kafkaOauthClientSecretFile: 's' }
  const api = { ...keys, signingKeyFile: 's', clientsFile: 'c', policyFile: 'p', rabbitShards: 'a=amqp://127.0.0.1' }
  const stream = {
    ...keys,
    nodeId: 'one',
    keyringFile: 'k',
    kafkaBrokers: 'kafka-1:9092, [::1]:9092',
    rabbitShards: ['a=amqps://mq-a:5671/events', 'b=amqps://mq-b'],
  }

  test('given what they need and no more, then the rest has defaults and lists are lists', () => {
    expect(loadConfig(apiRole, { environment: {}, options: api }).config).toMatchObject({
      httpPort: 7470,
      rabbitShards: ['a=amqp://127.0.0.1'],
    })
    expect(loadConfig(streamRole, { environment: {}, options: stream }).config).toMatchObject({
      kafkaBrokers: ['kafka-1:9092', '[::1]:9092'],
      topicReplication: 3,
      topicMinInsyncReplicas: 2,
      unsafeTopics: [],
    })
  })

  test('given nothing, then everything that has no default is named with its variable', () => {
    expect(problemsOf(streamRole, {})).toEqual({
      nodeId: 'must be set: TRUNKLINE_NODE_ID',
      'keyProvider, keyringFile': expect.stringContaining('TRUNKLINE_KEYRING_FILE'),
      gatewayKeyFile: 'must be set: TRUNKLINE_GATEWAY_KEY_FILE',
      kafkaBrokers: 'must be set: TRUNKLINE_KAFKA_BROKERS',
      rabbitShards: 'must be set: TRUNKLINE_RABBIT_SHARDS',
    })
    expect(Object.keys(problemsOf(apiRole, {}))).toEqual([
      'gatewayKeyFile',
      'signingKeyFile',
      'clientsFile',
      'rabbitShards',
      'policyFile, allowAllCallers',
    ])
  })

  test('given an API process, then it starts with a policy, or with the word that everybody may do everything, never both', () => {
    const { policyFile, ...open } = api
    const load = (options: object): unknown =>
      loadConfig(apiRole, { environment: {}, options: { ...open, ...options } })
    for (const options of [{}, { policyFile, allowAllCallers: true }])
      expect(() => load(options)).toThrow(
        expect.objectContaining({ details: { 'policyFile, allowAllCallers': expect.stringContaining('exactly one') } }),
      )
    for (const options of [{ policyFile }, { allowAllCallers: true }]) expect(() => load(options)).not.toThrow()
  })

  test.each<[string, Record<string, unknown>, string | undefined]>([
    ['aws-kms without a key', { awsKmsRegion: 'eu-central-1' }, 'keyProvider, awsKmsKey, awsKmsRegion'],
    ['aws-kms whole', { awsKmsRegion: 'eu-central-1', awsKmsKey: 'alias/trunkline' }, undefined],
    ['vault-transit without a token', { vaultUrl: 'https://vault:8200' }, 'keyProvider, vaultUrl, vaultTokenFile'],
    ['vault-transit in the clear', { vaultUrl: 'http://vault:8200', vaultTokenFile: 't' }, 'vaultUrl'],
    [
      'vault-transit with a password in the URL',
      { vaultUrl: 'https://a:b@vault:8200', vaultTokenFile: 't' },
      'vaultUrl',
    ],
    ['vault-transit whole', { vaultUrl: 'https://vault:8200', vaultTokenFile: 't' }, undefined],
  ])('given %s, then the keyring is not asked for, and what is missing is', (name, settings, problem) => {
    const { keyringFile: _, ...rest } = stream
    const options = { ...rest, ...settings, keyProvider: name.split(' ')[0] }
    if (problem === undefined)
      expect(loadConfig(streamRole, { environment: {}, options }).config).toMatchObject(settings)
    else expect(Object.keys(problemsOf(streamRole, { options }))).toEqual([problem])
  })

  test('given one file and one environment for all, then each role takes its own; an option of another is refused', () => {
    const environment = { TRUNKLINE_KEYRING_FILE: 'k', TRUNKLINE_DATA_DIR: 'd' }
    const lists = { kafkaBrokers: ['kafka-1:9092'], rabbitShards: ['a=amqp://localhost'] }
    const path = file({ ...stream, ...api, ...lists, autoCreateTopics: false })
    expect(loadConfig(apiRole, { environment, file: path }).config).not.toHaveProperty('keyringFile')
    expect(loadConfig(streamRole, { environment, file: path }).config.keyringFile).toBe('k')
    expect(problemsOf(apiRole, { options: { ...api, keyringFile: 'k' } })).toEqual({
      keyringFile: expect.stringContaining('there is no such setting'),
    })
  })

  test.each<[string, object, string, string]>([
    ['a certificate without its key', { kafkaTls: true, kafkaCertFile: 'c' }, 'kafkaCertFile, kafkaKeyFile', 'both'],
    ['a CA without TLS', { kafkaCaFile: 'c' }, 'kafkaTls, kafkaCaFile, kafkaCertFile', 'with TLS only'],
    [
      'a password without a user',
      { kafkaSaslPasswordFile: 'p' },
      'kafkaSaslUsername, kafkaSaslPasswordFile',
      'needs a password file',
    ],
    [
      'a mechanism without a user',
      { kafkaSaslMechanism: 'scram-sha-512' },
      'kafkaSaslMechanism, kafkaSaslUsername',
      'needs a user name',
    ],
    [
      'a Kafka password in the clear',
      { kafkaSaslMechanism: 'plain', kafkaSaslUsername: 'u', kafkaSaslPasswordFile: 'p' },
      'kafkaTls, kafkaSaslMechanism, kafkaBrokers, allowCleartextCredentials',
      'in the clear',
    ],
    [
      'tokens without an issuer',
      { kafkaTls: true, kafkaSaslMechanism: 'oauthbearer' },
      'kafkaSaslMechanism, kafkaOauthTokenUrl, kafkaOauthClientId, kafkaOauthClientSecretFile',
      'needs all three',
    ],
    [
      'a scope without tokens',
      { kafkaOauthScope: 's' },
      'kafkaSaslMechanism, kafkaOauthScope, kafkaOauthCaFile',
      'with oauthbearer only',
    ],
    [
      'a Kafka token in the clear',
      { kafkaSaslMechanism: 'oauthbearer', ...oauth },
      'kafkaTls, kafkaSaslMechanism, kafkaBrokers, allowCleartextCredentials',
      'in the clear',
    ],
    [
      'the secret of the tokens in the clear',
      { kafkaTls: true, kafkaSaslMechanism: 'oauthbearer', ...oauth, kafkaOauthTokenUrl: 'http://idp/token' },
      'kafkaOauthTokenUrl, allowCleartextCredentials',
      'use https://',
    ],
    [
      'more copies to wait for than there are',
      { topicReplication: 1 },
      'topicMinInsyncReplicas, topicReplication',
      'must not be above',
    ],
    [
      'one copy without a name for it',
      { topicMinInsyncReplicas: 1 },
      'topicMinInsyncReplicas, unsafeTopics',
      'name the topics',
    ],
    ['credentials in a shard', { rabbitShards: [`a=amqps://u:${canary}@mq`] }, 'rabbitShards', 'credentials'],
    ['a shard without a name', { rabbitShards: ['amqps://mq'] }, 'rabbitShards', 'name=amqps://'],
    ['a shard with options', { rabbitShards: ['a=amqps://mq?heartbeat=0'] }, 'rabbitShards', 'without options'],
    ['a shard of another protocol', { rabbitShards: ['a=https://mq'] }, 'rabbitShards', 'name=amqps://'],
    ['two shards of one name', { rabbitShards: ['a=amqps://one', 'a=amqps://two'] }, 'rabbitShards', 'of its own'],
    ['a RabbitMQ user without a password', { rabbitUsername: 'u' }, 'rabbitUsername, rabbitPasswordFile', 'both'],
    [
      'a RabbitMQ certificate without TLS',
      { rabbitShards: ['a=amqp://localhost'], rabbitCaFile: 'c' },
      'rabbitShards, rabbitCaFile, rabbitCertFile',
      'amqps:// only',
    ],
    [
      'a RabbitMQ password in the clear',
      { rabbitShards: ['a=amqp://mq'] },
      'rabbitShards, allowCleartextCredentials',
      'use amqps://',
    ],
  ])('given %s, then that is refused', (_, changed, subject, problem) => {
    const found = problemsOf(streamRole, { options: { ...stream, ...changed } })
    expect(found).toEqual({ [subject]: expect.stringContaining(problem) })
    expect(JSON.stringify(found)).not.toContain(canary)
  })

  test('given what the refusals ask for, then it is taken', () => {
    const taken = [
      { kafkaTls: true, kafkaCertFile: 'c', kafkaKeyFile: 'k', kafkaCaFile: 'a' },
      { kafkaTls: true, kafkaSaslMechanism: 'plain', kafkaSaslUsername: 'u', kafkaSaslPasswordFile: 'p' },
      { kafkaSaslMechanism: 'scram-sha-512', kafkaSaslUsername: 'u', kafkaSaslPasswordFile: 'p' },
      { kafkaTls: true, kafkaSaslMechanism: 'oauthbearer', ...oauth, kafkaOauthScope: 's', kafkaOauthCaFile: 'c' },
      { kafkaTls: true, kafkaSaslMechanism: 'oauthbearer', ...oauth, kafkaOauthTokenUrl: 'http://[::1]:1/token' },
      { topicReplication: 1, topicMinInsyncReplicas: 1, unsafeTopics: 'one,two' },
      { rabbitShards: ['a=amqp://mq', 'b=amqps://mq'], rabbitCaFile: 'c', allowCleartextCredentials: 'true' },
      { rabbitShards: 'a=amqp://localhost:1,b=amqp://127.1.2.3:2,c=amqp://[::1]:3/x' },
    ]
    for (const changed of taken)
      expect(() => loadConfig(streamRole, { environment: {}, options: { ...stream, ...changed } })).not.toThrow()
  })

  test('given lists, then the redacted configuration shows them as one text, and files as set', () => {
    const { config } = loadConfig(streamRole, { environment: {}, options: stream })
    expect(redactedConfig(streamRole, config)).toMatchObject({
      kafkaBrokers: 'kafka-1:9092, [::1]:9092',
      keyringFile: 'set',
      unsafeTopics: '',
    })
  })
})

describe('secrets', () => {
  test('given files of secrets, then the redacted configuration shows only that they are set', () => {
    const { config } = load({ options: { clientSecretFile: `/etc/${canary}` } })
    const shown = redactedConfig(devRole, config)
    expect(shown['clientSecretFile']).toBe('set')
    expect(shown).toMatchObject({ httpPort: 7470, autoCreateTopics: true })
    expect(shown).not.toHaveProperty('keyringFile')
    expect(JSON.stringify(shown)).not.toContain(canary)
  })

  test('given a setting that names a file, then it is hidden', () => {
    expect(settings.filter(({ name }) => name.endsWith('File')).every(({ hidden }) => hidden)).toBe(true)
  })

  test('given a secret of mode 0600, then it is read without its line end, and again after it changed', () => {
    const path = join(folder, 'secret')
    writeFileSync(path, `${canary}\n`, { mode: 0o600 })
    expect(readSecretFile('clientSecretFile', path)).toBe(canary)
    writeFileSync(path, 'rotated')
    expect(readSecretFile('clientSecretFile', path)).toBe('rotated')
  })

  test.each([
    ['readable by others', 0o640, canary, 'set its mode to 0600'],
    ['empty', 0o600, '\n', 'is empty'],
    ['too large', 0o600, canary.repeat(10_000), 'at most 65536 bytes'],
  ])('given a secret that is %s, then it is refused without quoting it', (_what, mode, text, problem) => {
    const path = join(folder, 'secret')
    writeFileSync(path, text)
    chmodSync(path, mode)
    expect(() => readSecretFile('clientSecretFile', path)).toThrow(
      expect.objectContaining({
        name: 'BAD_CONFIG',
        details: { clientSecretFile: expect.stringContaining(problem) },
      }),
    )
  })

  test('given a secret that is missing, then that is told', () => {
    expect(() => readSecretFile('clientSecretFile', join(folder, 'none'))).toThrow(
      expect.objectContaining({
        details: { clientSecretFile: expect.stringContaining('cannot be opened') },
      }),
    )
  })
})

describe('several files', () => {
  test('given files that cannot be read, then all are told at once, and those that were not given are fine', () => {
    const open = join(folder, 'open')
    writeFileSync(open, '-----BEGIN PRIVATE KEY-----', { mode: 0o644 })
    const reads = new FileReads()
    expect(reads.secret('kafkaSaslPasswordFile', undefined)).toBeUndefined()
    expect(reads.pem('kafkaCaFile', open)).toContain('BEGIN')
    reads.pem('kafkaKeyFile', open, 'secret')
    reads.secret('rabbitPasswordFile', join(folder, 'none'))
    expect(() => reads.check()).toThrow(
      expect.objectContaining({
        details: {
          kafkaKeyFile: expect.stringContaining('set its mode to 0600'),
          rabbitPasswordFile: expect.stringContaining('cannot be opened'),
        },
      }),
    )
    new FileReads().check()
  })

  test('given a file that is no PEM, or a folder, then that is told without quoting it', () => {
    const path = join(folder, 'text')
    writeFileSync(path, canary)
    expect(() => readPemFile('kafkaCaFile', path, 'public')).toThrow(
      expect.objectContaining({ details: { kafkaCaFile: 'its file is not PEM' } }),
    )
    expect(() => readPemFile('kafkaCaFile', folder, 'public')).toThrow(
      expect.objectContaining({ details: { kafkaCaFile: 'its file is not a file' } }),
    )
  })
})

describe('the nearest name', () => {
  test.each([
    ['htpPort', 'httpPort'],
    ['HTTPPORT', 'httpPort'],
    ['httpPorts', 'httpPort'],
    ['colour', undefined],
    ['', undefined],
  ])('given %j, then %j is meant', (name, meant) => {
    expect(nearest(name, ['httpPort', 'thriftPort'])).toBe(meant)
  })
})

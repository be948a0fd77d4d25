// Owns: the settings of the service that wraps data keys, of stream processes, and the rules between them.
// 1. Credentials are named by their file. An endpoint without TLS is on loopback, or is refused.
// Leaves out: reading the files (secret-file.ts), the providers (adapters).
import { type Static, type TObject, Type } from 'typebox'
import { keyringFile } from './gateway-settings.ts'
import { type Rule, rulesOf, secretFile } from './setting.ts'

const endpoint = {
  pattern: '^(https://[^@\\s/]+|http://(127\\.0\\.0\\.1|localhost|\\[::1\\])(:[0-9]{1,5})?)$',
  maxLength: 1_024,
} as const

export const keyProviderSettings = {
  keyProvider: Type.Union([Type.Literal('keyring'), Type.Literal('aws-kms'), Type.Literal('vault-transit')], {
    default: 'keyring',
    description:
      'What wraps data keys; the same for all stream processes, for good: what one wrapped another does not open.',
  }),
  keyringFile: Type.Optional(keyringFile),
  awsKmsKey: Type.Optional(
    Type.String({
      pattern: '^[a-zA-Z0-9:/_-]{1,2048}$',
      description: 'KMS key: its id, `alias/…`, or the ARN of either. Pointing the alias to another key is a rotation.',
    }),
  ),
  awsKmsRegion: Type.Optional(
    Type.String({ pattern: '^[a-z0-9-]{1,32}$', description: 'Region of the KMS key, `eu-central-1`.' }),
  ),
  awsKmsEndpoint: Type.Optional(
    Type.String({
      ...endpoint,
      description: 'Another endpoint of KMS, `https://host[:port]`. Default: that of the region.',
    }),
  ),
  awsCredentialsFile: Type.Optional(
    secretFile(
      'File with `aws_access_key_id = …`, `aws_secret_access_key = …` and perhaps `aws_session_token = …`, read again when it changes. Default: what the AWS SDK finds, such as the role of the instance.',
    ),
  ),
  vaultUrl: Type.Optional(Type.String({ ...endpoint, description: 'Vault, `https://host[:port]`.' })),
  vaultTokenFile: Type.Optional(secretFile('File with the Vault token; read at each call, so an agent may renew it.')),
  vaultNamespace: Type.Optional(
    Type.String({ pattern: '^[a-zA-Z0-9/_.-]{1,256}$', description: 'Namespace of Vault.' }),
  ),
  vaultMount: Type.String({
    pattern: '^[a-zA-Z0-9/_-]{1,128}$',
    default: 'transit',
    description: 'Path that the transit engine is mounted at.',
  }),
  vaultKey: Type.String({
    pattern: '^[a-zA-Z0-9._-]{1,40}$',
    default: 'trunkline',
    description: 'Name of the transit key; a derived one (`derived=true`).',
  }),
}

export type KeyProviderConfig = Readonly<Static<TObject<typeof keyProviderSettings>>>

const rule = rulesOf<KeyProviderConfig>()
export const keyProviderRules: readonly Rule<KeyProviderConfig>[] = [
  rule(
    ['keyProvider', 'keyringFile'],
    ({ keyProvider, keyringFile: path }) => keyProvider !== 'keyring' || path !== undefined,
    'keyring needs a file: set TRUNKLINE_KEYRING_FILE, or take another keyProvider',
  ),
  rule(
    ['keyProvider', 'awsKmsKey', 'awsKmsRegion'],
    ({ keyProvider, awsKmsKey, awsKmsRegion }) =>
      keyProvider !== 'aws-kms' || (awsKmsKey !== undefined && awsKmsRegion !== undefined),
    'aws-kms needs a key and its region: set both',
  ),
  rule(
    ['keyProvider', 'vaultUrl', 'vaultTokenFile'],
    ({ keyProvider, vaultUrl, vaultTokenFile }) =>
      keyProvider !== 'vault-transit' || (vaultUrl !== undefined && vaultTokenFile !== undefined),
    'vault-transit needs the URL of Vault and a file with a token: set both',
  ),
]

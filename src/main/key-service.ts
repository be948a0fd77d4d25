// Owns: the KeyProvider that a stream process is configured with. Chooses its adapter and loads only that one.
// 1. A service that is away keeps no process from starting: writers and readers are told, and it is asked again.
// 2. Files of credentials are read when they are needed: what an agent renews needs no restart.
import type { KmsCredentials } from '../adapters/aws-kms/kms-calls.ts'
import type { WatchedKeyFile } from '../adapters/keyring/key-file-watch.ts'
import type { KeyProviderConfig } from '../config/key-settings.ts'
import { configError } from '../config/load-config.ts'
import { readSecretFile } from '../config/secret-file.ts'
import type { KeyProvider } from '../ports/key-provider.ts'
import { TrunklineError } from '../protocol/errors.ts'
import { keyringFiles } from './key-reload.ts'
import type { Parts } from './parts.ts'

export interface KeyService {
  readonly keys: KeyProvider
  /** To be watched: those of the keyring, when it is one. */
  readonly files: readonly WatchedKeyFile[]
}

/** Errors: BAD_CONFIG, KEYRING_…. The caller closes the provider. */
export async function openKeyService(
  config: KeyProviderConfig,
  { clock, random, logger }: Pick<Parts, 'clock' | 'random' | 'logger'>,
): Promise<KeyService> {
  const onProblem = (problem: unknown): void => {
    const { name, details } = TrunklineError.from(problem, 'KEY_UNAVAILABLE')
    logger.warn(
      { tier: 'stream', event: config.keyProvider, errorCode: name, reason: details['reason'] },
      'the key service could not be asked: the keys at hand go on',
    )
  }
  switch (config.keyProvider) {
    case 'keyring': {
      const { openKeyring } = await import('../adapters/keyring/keyring-provider.ts')
      const path = required('keyringFile', config.keyringFile)
      const keys = await openKeyring(path, { create: false, clock, random })
      return { keys, files: keyringFiles(path, keys) }
    }
    case 'aws-kms': {
      const [{ openKmsCalls }, { AwsKmsProvider }] = await Promise.all([
        import('../adapters/aws-kms/kms-calls.ts'),
        import('../adapters/aws-kms/aws-kms-provider.ts'),
      ])
      const path = config.awsCredentialsFile
      const credentials = path === undefined ? undefined : () => credentialsOf(path)
      // A mistake in the file is told at the start.
      credentials?.()
      const calls = await openKmsCalls({
        region: required('awsKmsRegion', config.awsKmsRegion),
        endpoint: config.awsKmsEndpoint,
        credentials,
        nowMs: () => clock.nowMs(),
      })
      const keyId = required('awsKmsKey', config.awsKmsKey)
      return { keys: new AwsKmsProvider({ calls, keyId, clock, onProblem }), files: [] }
    }
    case 'vault-transit': {
      const [{ TransitCalls }, { VaultTransitProvider }] = await Promise.all([
        import('../adapters/vault-transit/transit-calls.ts'),
        import('../adapters/vault-transit/vault-transit-provider.ts'),
      ])
      const path = required('vaultTokenFile', config.vaultTokenFile)
      const token = (): string => readSecretFile('vaultTokenFile', path)
      token()
      const { vaultMount: mount, vaultKey: key, vaultNamespace: namespace } = config
      const calls = new TransitCalls({ url: required('vaultUrl', config.vaultUrl), mount, key, namespace, token })
      return { keys: new VaultTransitProvider({ calls, key, clock, onProblem }), files: [] }
    }
  }
}

/** The lines of AWS's own credentials file; a profile's head and comments are passed over. Errors: BAD_CONFIG. */
function credentialsOf(path: string): KmsCredentials {
  const lines = readSecretFile('awsCredentialsFile', path).split('\n')
  const values = new Map(
    lines.flatMap((line) => {
      const [, name, value] = /^\s*(aws_[a-z_]+)\s*=\s*(\S+)\s*$/.exec(line) ?? []
      return name === undefined || value === undefined ? [] : [[name, value] as const]
    }),
  )
  const [accessKeyId, secretAccessKey, sessionToken] = [
    'aws_access_key_id',
    'aws_secret_access_key',
    'aws_session_token',
  ].map((name) => values.get(name))
  if (accessKeyId === undefined || secretAccessKey === undefined)
    throw configError([
      { subject: 'awsCredentialsFile', problem: 'its file needs aws_access_key_id and aws_secret_access_key' },
    ])
  return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) }
}

/** The rules of the settings hold this already. */
function required(subject: string, value: string | undefined): string {
  if (value === undefined) throw configError([{ subject, problem: 'must be set' }])
  return value
}

// Owns: the calls to AWS KMS, through the AWS SDK, in our words.
// 1. The SDK is loaded by `openKmsCalls` and nowhere else: who does not use KMS does not pay for it, nor needs it installed.
// 2. Bounded: a call has 2 s and is tried twice; the waiting of sealers and readers (5 s) covers both.
// 3. Errors are ours: what KMS said is a cause for the log, and `fault` in one word; nothing of it travels.
import type { KMSClient } from '@aws-sdk/client-kms'
import { TrunklineError } from '../../protocol/errors.ts'

export interface KmsCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

export interface KmsAccess {
  readonly region: string
  /** Undefined: the public one of the region. */
  readonly endpoint?: string | undefined
  /** Asked again after `credentialsMs`. Undefined: the SDK's own chain (role of the instance, web identity, …). */
  readonly credentials?: (() => KmsCredentials) | undefined
  readonly nowMs: () => number
}

export type EncryptionContext = Readonly<Record<string, string>>

/** damaged: the cipher text is not what this key made. refused: KMS will not use the key as it is now. */
export type KmsFault = 'damaged' | 'refused' | 'away'

export interface KmsKey {
  readonly arn: string
  readonly createdAtMs: number
  readonly state: 'usable' | 'revoked' | 'destroyed'
}

export interface KmsCalls {
  generate(
    keyId: string,
    context: EncryptionContext,
  ): Promise<{ arn: string; plaintext: Uint8Array; cipherText: Uint8Array }>
  decrypt(keyId: string, cipherText: Uint8Array, context: EncryptionContext): Promise<Uint8Array>
  reEncrypt(
    from: string,
    to: string,
    cipherText: Uint8Array,
    context: EncryptionContext,
  ): Promise<{ arn: string; cipherText: Uint8Array }>
  describe(keyId: string): Promise<KmsKey>
  close(): void
}

export class KmsError extends Error {
  readonly fault: KmsFault

  constructor(fault: KmsFault, cause: unknown) {
    super(`KMS: ${fault}`, { cause })
    this.fault = fault
  }
}

const connectMs = 800
const requestMs = 1_200
const attemptsMax = 2
const credentialsMs = 60_000

/** Errors: BAD_CONFIG when the SDK is not installed. */
export async function openKmsCalls(access: KmsAccess): Promise<KmsCalls> {
  const sdk = await import('@aws-sdk/client-kms').catch((cause: unknown) => {
    const problem = 'aws-kms needs the package @aws-sdk/client-kms: npm install @aws-sdk/client-kms'
    throw new TrunklineError('BAD_CONFIG', { details: { keyProvider: problem }, cause })
  })
  const { credentials, nowMs } = access
  const client: KMSClient = new sdk.KMSClient({
    region: access.region,
    maxAttempts: attemptsMax,
    requestHandler: { requestTimeout: requestMs, connectionTimeout: connectMs, throwOnRequestTimeout: true },
    ...(access.endpoint === undefined ? {} : { endpoint: access.endpoint }),
    ...(credentials === undefined
      ? {}
      : { credentials: async () => ({ ...credentials(), expiration: new Date(nowMs() + credentialsMs) }) }),
  })
  return {
    generate: async (keyId, context) => {
      const command = new sdk.GenerateDataKeyCommand({ KeyId: keyId, KeySpec: 'AES_256', EncryptionContext: context })
      const { KeyId, Plaintext, CiphertextBlob } = await answered(client.send(command))
      return { arn: there(KeyId), plaintext: there(Plaintext), cipherText: there(CiphertextBlob) }
    },
    decrypt: async (keyId, cipherText, context) => {
      const command = new sdk.DecryptCommand({ KeyId: keyId, CiphertextBlob: cipherText, EncryptionContext: context })
      return there((await answered(client.send(command))).Plaintext)
    },
    reEncrypt: async (from, to, cipherText, context) => {
      const command = new sdk.ReEncryptCommand({
        SourceKeyId: from,
        DestinationKeyId: to,
        CiphertextBlob: cipherText,
        SourceEncryptionContext: context,
        DestinationEncryptionContext: context,
      })
      const answer = await answered(client.send(command))
      return { arn: there(answer.KeyId), cipherText: there(answer.CiphertextBlob) }
    },
    describe: async (keyId) => {
      const { KeyMetadata } = await answered(client.send(new sdk.DescribeKeyCommand({ KeyId: keyId })))
      return {
        arn: there(KeyMetadata?.Arn),
        createdAtMs: KeyMetadata?.CreationDate?.getTime() ?? 0,
        state: stateOf(KeyMetadata?.KeyState),
      }
    },
    close: () => client.destroy(),
  }
}

/** A key that waits for its deletion counts as destroyed: whoever scheduled that wants its data gone. Cancelling it undoes that. */
function stateOf(state: string | undefined): KmsKey['state'] {
  switch (state) {
    case 'Enabled':
    case 'Updating':
      return 'usable'
    case 'PendingDeletion':
    case 'PendingReplicaDeletion':
      return 'destroyed'
    default:
      return 'revoked'
  }
}

async function answered<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (thrown) {
    throw new KmsError(faultOf(thrown), thrown)
  }
}

function faultOf(thrown: unknown): KmsFault {
  switch (thrown instanceof Error ? thrown.name : '') {
    case 'InvalidCiphertextException':
    case 'IncorrectKeyException':
      return 'damaged'
    case 'DisabledException':
    case 'KMSInvalidStateException':
    case 'NotFoundException':
    case 'AccessDeniedException':
      return 'refused'
    default:
      return 'away'
  }
}

function there<T>(value: T | undefined): T {
  if (value === undefined) throw new KmsError('away', new Error('KMS left a field out'))
  return value
}

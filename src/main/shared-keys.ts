// Owns: what the processes of one cluster share: made once by `trunkline keys init`, then given to each by its settings.
//   keyring.json       keyringFile      stream
//   gateway-keys.json  gatewayKeyFile   stream, api
//   signing-key.json   signingKeyFile   api
//   clients.json       clientsFile      api
//   policy.json        policyFile       api
//   client-secret      for the one client: belongs to whoever logs in, not to the gateway
// 1. Nothing is ever replaced: with another keyring what is in Kafka cannot be opened any more.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createKeyFile, readKeyFile } from '../adapters/keyring/key-files.ts'
import { freshKeyring, keyringText } from '../adapters/keyring/keyring-content.ts'
import { generateSigningJwk, parseSigningJwk, type SigningJwk } from '../api-tier/auth/signing-key.ts'
import { startingPolicyText } from '../api-tier/authorize/policy-file.ts'
import { GatewayKeys } from '../crypto/gateway-keys.ts'
import type { Clock } from '../ports/clock.ts'
import type { Random } from '../ports/random.ts'
import { clientsFileText } from './clients-file.ts'

export interface SharedKeyPaths {
  readonly keyringFile: string
  readonly gatewayKeyFile: string
  readonly signingKeyFile: string
  readonly clientsFile: string
  readonly policyFile: string
  readonly clientSecretFile: string
}

const secretSize = 24

export function sharedKeyPaths(dir: string): SharedKeyPaths {
  return {
    keyringFile: join(dir, 'keyring.json'),
    gatewayKeyFile: join(dir, 'gateway-keys.json'),
    signingKeyFile: join(dir, 'signing-key.json'),
    clientsFile: join(dir, 'clients.json'),
    policyFile: join(dir, 'policy.json'),
    clientSecretFile: join(dir, 'client-secret'),
  }
}

/** Paths that are there already (then nothing was written), or none. Errors: KEYRING_UNREADABLE when it cannot write. */
export async function initSharedKeys(
  dir: string,
  clientId: string,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Promise<readonly string[]> {
  const paths = sharedKeyPaths(dir)
  const there = Object.values<string>({ ...paths }).filter((path) => existsSync(path))
  if (there.length > 0) return there
  const secret = Buffer.from(random.bytes(secretSize)).toString('base64url')
  const gatewayKeys = GatewayKeys.generate(random, clock)
  const texts: readonly (readonly [string, string])[] = [
    [paths.keyringFile, keyringText(freshKeyring(random, clock))],
    [paths.gatewayKeyFile, gatewayKeys.toText()],
    [paths.signingKeyFile, `${JSON.stringify(await generateSigningJwk(random))}\n`],
    [paths.clientsFile, clientsFileText(clientId, secret)],
    [paths.policyFile, startingPolicyText(clientId)],
    [paths.clientSecretFile, `${secret}\n`],
  ]
  gatewayKeys.close()
  for (const [path, text] of texts) {
    // Another one was at it in the same moment: what it made is not mixed with ours.
    if (!(await createKeyFile(path, text, random))) return [path]
  }
  return []
}

/** Errors: KEYRING_MISSING, KEYRING_UNREADABLE. */
export async function readSigningKey(path: string): Promise<SigningJwk> {
  return await parseSigningJwk(await readKeyFile(path))
}

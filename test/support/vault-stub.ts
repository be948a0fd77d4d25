// Owns: a STUB of Vault's transit engine, not Vault: written after its documented HTTP API
// (https://developer.hashicorp.com/vault/api-docs/secret/transit), as far as the adapter uses it: derived keys with versions,
// datakey/plaintext, decrypt, rewrap, keys, rotate, config, trim, tokens. Its sealing is real AES-256-GCM.
// What a real Vault does beyond that document is not shown by tests that use it.
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

interface StubKey {
  readonly derived: boolean
  readonly versions: Map<number, { readonly key: Buffer; readonly madeAt: number }>
  latest: number
  minDecryption: number
  minAvailable: number
}

export interface VaultStub {
  readonly url: string
  readonly token: string
  /** Calls that came, as `POST datakey`. */
  readonly calls: string[]
  addKey(name: string, derived?: boolean): void
  rotate(name: string): void
  config(name: string, minDecryption: number): void
  /** Versions below are gone. */
  trim(name: string, minAvailable: number): void
  close(): Promise<void>
}

type Answer = readonly [status: number, body: object]
const failed = (status: number, error: string): Answer => [status, { errors: [error] }]

export async function startVaultStub(): Promise<VaultStub> {
  const keys = new Map<string, StubKey>()
  const token = randomBytes(12).toString('hex')
  const calls: string[] = []
  const keyOf = (name: string): StubKey => {
    const key = keys.get(name)
    if (key === undefined) throw new Error(`the stub has no key ${name}`)
    return key
  }
  const server = createServer((request, response) => {
    let text = ''
    request.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
    request.on('end', () => {
      const [, operation = '', name = ''] =
        /^\/v1\/transit\/(datakey\/plaintext|[a-z]+)\/([^/]+)$/.exec(request.url ?? '') ?? []
      calls.push(`${request.method} ${operation}`)
      const key = keys.get(name)
      const body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
      const [status, answer] =
        request.headers['x-vault-token'] !== token
          ? failed(403, 'permission denied')
          : key === undefined
            ? failed(404, '')
            : answerOf(key, operation, body)
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    token,
    calls,
    addKey: (name, derived = true) => {
      keys.set(name, { derived, versions: new Map([[1, fresh()]]), latest: 1, minDecryption: 1, minAvailable: 0 })
    },
    rotate: (name) => {
      const key = keyOf(name)
      key.latest += 1
      key.versions.set(key.latest, fresh())
    },
    config: (name, minDecryption) => {
      keyOf(name).minDecryption = minDecryption
    },
    trim: (name, minAvailable) => {
      const key = keyOf(name)
      key.minAvailable = minAvailable
      for (const version of key.versions.keys()) if (version < minAvailable) key.versions.delete(version)
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function answerOf(key: StubKey, operation: string, body: Record<string, unknown>): Answer {
  const context = typeof body['context'] === 'string' ? Buffer.from(body['context'], 'base64') : Buffer.alloc(0)
  if (operation !== 'keys' && key.derived && context.length === 0)
    return failed(400, "missing 'context' for key derivation; the key was created using a derived key")
  switch (operation) {
    case 'datakey/plaintext': {
      const plaintext = randomBytes(32)
      return [200, { data: { plaintext: plaintext.toString('base64'), ciphertext: sealed(key, plaintext, context) } }]
    }
    case 'decrypt':
    case 'rewrap': {
      const opened = open(key, String(body['ciphertext']), context)
      if (typeof opened === 'string') return failed(400, opened)
      if (operation === 'rewrap') return [200, { data: { ciphertext: sealed(key, opened, context) } }]
      return [200, { data: { plaintext: opened.toString('base64') } }]
    }
    case 'keys':
      return [
        200,
        {
          data: {
            type: 'aes256-gcm96',
            derived: key.derived,
            keys: Object.fromEntries([...key.versions].map(([version, { madeAt }]) => [version, madeAt])),
            latest_version: key.latest,
            min_decryption_version: key.minDecryption,
            min_available_version: key.minAvailable,
          },
        },
      ]
    default:
      return failed(404, 'unsupported path')
  }
}

function sealed(key: StubKey, plaintext: Buffer, context: Buffer): string {
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', derived(key, key.latest, context), iv)
  const bytes = Buffer.concat([iv, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
  return `vault:v${key.latest}:${bytes.toString('base64')}`
}

function open(key: StubKey, text: string, context: Buffer): Buffer | string {
  const [, version = '', data = ''] = /^vault:v(\d+):(.+)$/.exec(text) ?? []
  if (Number(version) < key.minDecryption) return 'ciphertext or signature version is disallowed by policy (too old)'
  if (!key.versions.has(Number(version))) return 'invalid ciphertext: version is too new'
  try {
    const bytes = Buffer.from(data, 'base64')
    const decipher = createDecipheriv('aes-256-gcm', derived(key, Number(version), context), bytes.subarray(0, 12))
    decipher.setAuthTag(bytes.subarray(-16))
    return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()])
  } catch {
    return 'cipher: message authentication failed'
  }
}

function derived(key: StubKey, version: number, context: Buffer): Buffer {
  const { key: secret } = key.versions.get(version) ?? { key: Buffer.alloc(32) }
  return key.derived ? Buffer.from(hkdfSync('sha256', secret, '', context, 32)) : secret
}

function fresh(): { key: Buffer; madeAt: number } {
  return { key: randomBytes(32), madeAt: 1_770_000_000 }
}

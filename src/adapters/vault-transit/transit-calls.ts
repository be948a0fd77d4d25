// Owns: the calls to Vault's transit engine over HTTP, as its API documents them; no library.
// 1. Bounded: a call has 2 s, an answer 64 KiB; what failed for lack of an answer is tried once more.
// 2. The token is read from its file at each call: an agent that renews it needs no restart. It goes nowhere else.
// 3. Errors are ours: what Vault said is a cause for the log, and `fault` in one word.
import { TrunklineError } from '../../protocol/errors.ts'

export interface TransitAccess {
  /** `http(s)://host:port`. */
  readonly url: string
  readonly mount: string
  readonly key: string
  readonly namespace?: string | undefined
  readonly token: () => string
}

/** damaged: the cipher text is not what this key made. refused: Vault will not use the key, or not for us. */
export type TransitFault = 'damaged' | 'refused' | 'away'

export class TransitError extends Error {
  readonly fault: TransitFault

  constructor(fault: TransitFault, cause: unknown) {
    super(`transit: ${fault}`, { cause })
    this.fault = fault
  }
}

export interface TransitKey {
  /** The key derives another one for each context: without that a context would bind nothing. */
  readonly derived: boolean
  readonly latest: number
  /** Versions below are refused, until this is lowered again. */
  readonly decryptsFrom: number
  /** Versions below were trimmed: gone for good. */
  readonly availableFrom: number
  /** By version: when it was made. */
  readonly createdAtMs: ReadonlyMap<number, number>
}

export interface Sealed {
  readonly version: number
  readonly cipherText: Uint8Array
}

const requestMs = 2_000
const attemptsMax = 2
const answerBytesMax = 64 * 1024

export class TransitCalls {
  readonly #access: TransitAccess

  constructor(access: TransitAccess) {
    this.#access = access
  }

  async generate(context: Uint8Array): Promise<Sealed & { plaintext: Uint8Array }> {
    const data = await this.#call('POST', 'datakey/plaintext', { bits: 256, context: base64(context) })
    return { plaintext: bytesOf(data, 'plaintext'), ...sealedOf(data) }
  }

  async decrypt(sealed: Sealed, context: Uint8Array): Promise<Uint8Array> {
    const data = await this.#call('POST', 'decrypt', { ciphertext: textOf(sealed), context: base64(context) })
    return bytesOf(data, 'plaintext')
  }

  /** The same under the latest version. */
  async rewrap(sealed: Sealed, context: Uint8Array): Promise<Sealed> {
    return sealedOf(await this.#call('POST', 'rewrap', { ciphertext: textOf(sealed), context: base64(context) }))
  }

  async describe(): Promise<TransitKey> {
    const data = await this.#call('GET', 'keys')
    const versions = fieldsOf(data.get('keys'))
    return {
      derived: data.get('derived') === true,
      latest: numberOf(data, 'latest_version'),
      decryptsFrom: numberOf(data, 'min_decryption_version'),
      availableFrom: data.has('min_available_version') ? numberOf(data, 'min_available_version') : 0,
      createdAtMs: new Map([...versions].map(([version, made]) => [Number(version), msOf(made)])),
    }
  }

  /** The answer's `data`. */
  async #call(method: 'GET' | 'POST', operation: string, body?: object): Promise<ReadonlyMap<string, unknown>> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#once(method, operation, body)
      } catch (thrown) {
        if (!(thrown instanceof TransitError) || thrown.fault !== 'away' || attempt === attemptsMax) throw thrown
      }
    }
  }

  async #once(method: string, operation: string, body: object | undefined): Promise<ReadonlyMap<string, unknown>> {
    const { url, mount, key, namespace, token } = this.#access
    const headers = {
      'x-vault-token': token(),
      'x-vault-request': 'true',
      ...(namespace === undefined ? {} : { 'x-vault-namespace': namespace }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    }
    let answer: Response
    let text: string
    try {
      answer = await fetch(`${url}/v1/${mount}/${operation}/${key}`, {
        method,
        headers,
        redirect: 'error',
        signal: AbortSignal.timeout(requestMs),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      text = await boundedText(answer)
    } catch (thrown) {
      throw new TransitError('away', thrown)
    }
    if (answer.status >= 200 && answer.status < 300) return parsed(text)
    throw new TransitError(faultOf(answer.status, operation), new Error(`HTTP ${answer.status}`))
  }
}

/** 400 of a decryption says that it did not open, or that its version is below what is allowed: the caller looks which. */
function faultOf(status: number, operation: string): TransitFault {
  if (status === 400 && operation !== 'keys') return 'damaged'
  return status >= 500 || status === 429 ? 'away' : 'refused'
}

async function boundedText(answer: Response): Promise<string> {
  const parts: Uint8Array[] = []
  let size = 0
  const reader: ReadableStreamDefaultReader<Uint8Array> | undefined = answer.body?.getReader()
  for (let read = await reader?.read(); read?.value !== undefined; read = await reader?.read()) {
    size += read.value.length
    if (size > answerBytesMax) throw new Error('the answer is too large')
    parts.push(read.value)
  }
  return Buffer.concat(parts).toString('utf8')
}

function parsed(text: string): ReadonlyMap<string, unknown> {
  try {
    return fieldsOf(fieldsOf(JSON.parse(text)).get('data'))
  } catch (thrown) {
    // The parser's own text would quote the answer, which holds a key.
    throw thrown instanceof TransitError ? thrown : new TransitError('away', new Error('not JSON'))
  }
}

function fieldsOf(value: unknown): ReadonlyMap<string, unknown> {
  if (typeof value !== 'object' || value === null) throw unknownAnswer()
  return new Map<string, unknown>(Object.entries(value))
}

function bytesOf(data: ReadonlyMap<string, unknown>, name: string): Uint8Array {
  const value = data.get(name)
  if (typeof value !== 'string') throw unknownAnswer()
  return Uint8Array.from(Buffer.from(value, 'base64'))
}

function numberOf(data: ReadonlyMap<string, unknown>, name: string): number {
  const value = data.get(name)
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw unknownAnswer()
  return value
}

/** Seconds since 1970, or, for some kinds of keys, an object that says so. */
function msOf(made: unknown): number {
  if (typeof made === 'number') return made * 1_000
  const creation = typeof made === 'object' && made !== null && 'creation_time' in made ? made.creation_time : undefined
  const ms = typeof creation === 'string' ? Date.parse(creation) : Number.NaN
  return Number.isNaN(ms) ? 0 : ms
}

/** `vault:v3:<base64>`. */
function sealedOf(data: ReadonlyMap<string, unknown>): Sealed {
  const value = data.get('ciphertext')
  const [, version, text] = (typeof value === 'string' && /^vault:v(\d{1,9}):([A-Za-z0-9+/]+=*)$/.exec(value)) || []
  if (version === undefined || text === undefined) throw unknownAnswer()
  return { version: Number(version), cipherText: Uint8Array.from(Buffer.from(text, 'base64')) }
}

function textOf({ version, cipherText }: Sealed): string {
  return `vault:v${version}:${base64(cipherText)}`
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}

function unknownAnswer(): TransitError {
  return new TransitError('away', new TrunklineError('KEY_UNAVAILABLE', { details: { reason: 'unknown answer' } }))
}

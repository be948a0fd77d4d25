// Owns: a second opener for blocks, tokens and cursors, written from docs/formats.md alone, as another language would.
// It imports nothing of src on purpose, and knows HKDF as two HMACs.
import { createDecipheriv, createHash, createHmac } from 'node:crypto'

interface Place {
  readonly partition: number
  readonly producerId: string
  readonly n: bigint
  readonly part: number
}

/** Answers the plain text and the fields of the header; throws when anything does not fit. */
export function openBlockByTheBook(sealedHex: string, dataKey: Buffer, place: Place): Record<string, string | number> {
  const reader = new Reader(Buffer.from(sealedHex, 'hex'))
  if (reader.take(3).toString('latin1') !== 'TLB') throw new Error('magic')
  if (reader.number(1) !== 1) throw new Error('version')
  if (reader.number(1) !== 1) throw new Error('suite')
  const kekId = reader.take(reader.number(1)).toString('latin1')
  const wrapped = reader.take(reader.number(2)).toString('hex')
  const commitment = reader.take(16)
  if (!commitment.equals(hkdf(dataKey, Buffer.alloc(0), 'tl1 commit', 16))) throw new Error('commitment')
  const topicId = reader.take(16).toString('hex')
  const count = reader.number(2)
  const packing = reader.number(1)
  const encoding = reader.number(1)
  const rawSize = reader.number(4)
  const nonce = reader.take(12)
  const numbers = Buffer.alloc(30)
  numbers.writeUInt32BE(place.partition, 0)
  Buffer.from(place.producerId, 'hex').copy(numbers, 4)
  numbers.writeBigUInt64BE(place.n, 20)
  numbers.writeUInt16BE(place.part, 28)
  const aad = Buffer.concat([reader.before(), numbers])
  const data = open(dataKey, nonce, aad, reader.rest()).toString('hex')
  return { kekId, wrapped, topicId, count, packing, encoding, rawSize, data, commitment: commitment.toString('hex') }
}

export function openTokenByTheBook(tokenHex: string, gatewayKeyFile: string): Record<string, string | number> {
  const reader = new Reader(Buffer.from(tokenHex, 'hex'))
  if (reader.number(1) !== 1) throw new Error('version')
  const key = gatewayKey(gatewayKeyFile, reader.take(4).toString('hex'))
  const salt = reader.take(16)
  const subkey = hkdf(key, salt, 'tl1 session token', 32)
  const plain = open(subkey, Buffer.alloc(12), reader.before(), reader.rest())
  const content = new Reader(plain)
  const flags = content.number(1)
  const packing = content.number(1)
  const partitions = content.number(2)
  const issuedAtMs = String(content.number(6))
  const pid = BigInt(`0x${content.take(7).toString('hex')}`).toString()
  const topicId = content.take(16).toString('hex')
  const principal = content.take(16).toString('hex')
  const producerId = (flags & 4) === 0 ? undefined : content.take(16).toString('hex')
  const [topic, incarnation, sessionId] = [content.name(), content.name(), content.name()]
  if (content.rest().length !== 0) throw new Error('rest')
  return {
    ...{ sessionId, incarnation, pid, topic, topicId, mode: flags & 3, principal, packing, partitions, issuedAtMs },
    ...(producerId === undefined ? {} : { producerId }),
    ...((flags & 8) === 0 ? {} : { macAlgorithm: 'hmac-md5' }),
  }
}

export function sessionSecretByTheBook(tokenHex: string, gatewayKeyFile: string, isMd5: boolean): string {
  const reader = new Reader(Buffer.from(tokenHex, 'hex').subarray(1))
  const key = gatewayKey(gatewayKeyFile, reader.take(4).toString('hex'))
  return hkdf(key, reader.take(16), `tl1 session secret${isMd5 ? ' md5' : ''}`, 32).toString('hex')
}

export function openCursorByTheBook(
  cursorHex: string,
  gatewayKeyFile: string,
  scope: { readonly clusterId: string; readonly tenant: string; readonly topicId: string },
): string {
  const texts = [scope.clusterId, scope.tenant].flatMap((text) => {
    const bytes = Buffer.from(text, 'utf8')
    return [Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]
  })
  const scopeBytes = Buffer.concat([...texts, Buffer.from(scope.topicId, 'hex')])
  const reader = new Reader(Buffer.from(cursorHex, 'hex'))
  if (reader.number(1) !== 1) throw new Error('version')
  const scopeHash = createHash('sha256').update('tl1 cursor scope').update(scopeBytes).digest().subarray(0, 8)
  if (!reader.take(8).equals(scopeHash)) throw new Error('scope')
  const key = gatewayKey(gatewayKeyFile, reader.take(4).toString('hex'))
  const subkey = hkdf(key, reader.take(16), 'tl1 cursor', 32)
  const nonce = Buffer.concat([Buffer.alloc(8), reader.take(4)])
  return open(subkey, nonce, Buffer.concat([reader.before(), scopeBytes]), reader.rest()).toString('hex')
}

class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  take(size: number): Buffer {
    if (this.#at + size > this.#bytes.length) throw new Error('too short')
    this.#at += size
    return this.#bytes.subarray(this.#at - size, this.#at)
  }

  number(size: number): number {
    return this.take(size).readUIntBE(0, size)
  }

  name(): string {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-'
    const characters = this.number(1)
    let value = BigInt(`0x0${this.take(Math.ceil((characters * Math.log2(65)) / 8)).toString('hex')}`)
    const name: string[] = []
    for (let index = 0; index < characters; index += 1) {
      name.unshift(alphabet.charAt(Number(value % 65n)))
      value /= 65n
    }
    return name.join('')
  }

  before(): Buffer {
    return this.#bytes.subarray(0, this.#at)
  }

  rest(): Buffer {
    return this.#bytes.subarray(this.#at)
  }
}

function open(key: Buffer, nonce: Buffer, aad: Buffer, sealed: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 })
  decipher.setAAD(aad)
  decipher.setAuthTag(sealed.subarray(sealed.length - 16))
  return Buffer.concat([decipher.update(sealed.subarray(0, sealed.length - 16)), decipher.final()])
}

/** RFC 5869 with SHA-256, for at most 32 bytes. */
function hkdf(secret: Buffer, salt: Buffer, info: string, size: number): Buffer {
  const extracted = createHmac('sha256', salt.length === 0 ? Buffer.alloc(32) : salt)
    .update(secret)
    .digest()
  return createHmac('sha256', extracted).update(info).update(Buffer.of(1)).digest().subarray(0, size)
}

function gatewayKey(file: string, id: string): Buffer {
  const { keys } = JSON.parse(file) as { readonly keys: readonly { readonly id: string; readonly secret: string }[] }
  const found = keys.find((key) => key.id === id)
  if (found === undefined) throw new Error('key id')
  return Buffer.from(found.secret, 'base64')
}

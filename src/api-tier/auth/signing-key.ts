// Owns: the gateway's own key for access tokens (ES256), as a private JWK that main keeps in a 0600 file.
// Leaves out: file I/O (main), providers other than the gateway itself.
import { createECDH } from 'node:crypto'
import { calculateJwkThumbprint, type JWK } from 'jose'
import type { Random } from '../../ports/random.ts'
import { TrunklineError } from '../../protocol/errors.ts'

/** A private P-256 key. `kid` is its RFC 7638 thumbprint. */
export interface SigningJwk {
  readonly kty: 'EC'
  readonly crv: 'P-256'
  readonly x: string
  readonly y: string
  readonly d: string
  readonly kid: string
  readonly alg: 'ES256'
  readonly use: 'sig'
}

const coordinateSize = 32
const attemptsMax = 8

/** A fresh key. */
export async function generateSigningJwk(random: Random): Promise<SigningJwk> {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const secret = random.bytes(coordinateSize)
    const ecdh = createECDH('prime256v1')
    try {
      ecdh.setPrivateKey(secret)
    } catch {
      // 0, or not below the group's order: 1 in 2^32.
      continue
    }
    const point = ecdh.getPublicKey()
    return await withThumbprint({
      x: point.subarray(1, 1 + coordinateSize).toString('base64url'),
      y: point.subarray(1 + coordinateSize).toString('base64url'),
      d: Buffer.from(secret).toString('base64url'),
    })
  }
  throw new Error('the random source gives no private key')
}

/** From the text of the file. Errors: KEYRING_UNREADABLE. */
export async function parseSigningJwk(text: string): Promise<SigningJwk> {
  let fields: unknown
  try {
    fields = JSON.parse(text)
  } catch {
    throw unreadable('not JSON')
  }
  if (typeof fields !== 'object' || fields === null) throw unreadable('not an object')
  const { kty, crv, x, y, d } = fields as JWK
  if (kty !== 'EC' || crv !== 'P-256') throw unreadable('not a P-256 key')
  if (!isCoordinate(x) || !isCoordinate(y) || !isCoordinate(d)) throw unreadable('not a private key')
  return await withThumbprint({ x, y, d })
}

/** What anyone may see. */
export function publicJwk(key: SigningJwk): JWK {
  return { kty: key.kty, crv: key.crv, x: key.x, y: key.y, kid: key.kid, alg: key.alg, use: key.use }
}

async function withThumbprint(key: { x: string; y: string; d: string }): Promise<SigningJwk> {
  const kid = await calculateJwkThumbprint({ kty: 'EC', crv: 'P-256', x: key.x, y: key.y })
  return { kty: 'EC', crv: 'P-256', ...key, kid, alg: 'ES256', use: 'sig' }
}

function isCoordinate(value: unknown): value is string {
  return typeof value === 'string' && Buffer.from(value, 'base64url').length === coordinateSize
}

function unreadable(why: string): TrunklineError {
  return new TrunklineError('KEYRING_UNREADABLE', { details: { file: 'signing key', why } })
}

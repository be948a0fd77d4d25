// Owns: the session's frame in HTTP headers (design.md §8): Trunkline-Session, -Seq, -Slot, -Challenge in requests,
// Trunkline-Next-Seq, -Next-Challenge, -Lease-Ms in answers; Trunkline-Mac (signed-requests.ts) in both. Bytes are
// base64url, numbers decimal.
import type { FastifyReply } from 'fastify'
import { TrunklineError } from '../../protocol/errors.ts'
import type { Proof, Turn } from '../../protocol/messages.ts'

/** A header as it arrives: an array when it came twice. */
export type HeaderValues = Readonly<Record<string, string | string[] | undefined>>

const headerCharactersMax = 512
const base64urlPattern = /^[A-Za-z0-9_-]*={0,2}$/
const numberPattern = /^\d{1,16}$/
/** The signed bytes hold a slot in 32 bits; which slots there are says the node. */
const slotMax = 2 ** 31 - 1

export interface SessionHeaders {
  readonly session: Uint8Array
  readonly proof: Proof
}

/** Errors: BAD_REQUEST (a header is missing or malformed), BAD_SESSION_TOKEN. */
export function readSessionHeaders(headers: HeaderValues): SessionHeaders {
  const session = headerBytes(headers, 'trunkline-session')
  if (session === undefined) throw badHeader('trunkline-session', 'missing')
  const seq = headerNumber(headers, 'trunkline-seq')
  if (seq === undefined) throw badHeader('trunkline-seq', 'missing')
  return {
    session,
    proof: {
      slot: headerNumber(headers, 'trunkline-slot', slotMax) ?? 0,
      seq,
      challenge: headerBytes(headers, 'trunkline-challenge'),
    },
  }
}

/** `Producer-*` would promise named producers, which are not built: refused, never ignored. Errors: UNSUPPORTED. */
export function refuseProducerHeaders(headers: HeaderValues): void {
  const name = Object.keys(headers).find((header) => header.startsWith('producer-'))
  if (name !== undefined) throw new TrunklineError('UNSUPPORTED', { details: { field: name.slice(0, 64) } })
}

export function writeTurn(reply: FastifyReply, turn: Turn): void {
  reply.header('trunkline-next-seq', String(turn.nextSeq))
  reply.header('trunkline-next-challenge', base64url(turn.challenge))
  reply.header('trunkline-lease-ms', String(turn.leaseMs))
}

export function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url')
}

/** Errors: BAD_REQUEST naming `field`. */
export function bytesOfBase64url(text: string, field: string): Uint8Array {
  if (!base64urlPattern.test(text)) throw badHeader(field, 'not base64url')
  return Buffer.from(text, 'base64url')
}

/** The one value of a header; undefined when it is not there. Errors: BAD_REQUEST (it came twice, or is too long). */
export function headerText(
  headers: HeaderValues,
  name: string,
  charactersMax = headerCharactersMax,
): string | undefined {
  const value = headers[name]
  if (value === undefined) return undefined
  if (typeof value !== 'string') throw badHeader(name, 'came twice')
  if (value.length > charactersMax) throw badHeader(name, 'too long')
  return value
}

/** Bytes of a base64url header. Errors: BAD_REQUEST. */
export function headerBytes(headers: HeaderValues, name: string): Uint8Array | undefined {
  const text = headerText(headers, name)
  return text === undefined ? undefined : bytesOfBase64url(text, name)
}

function headerNumber(headers: HeaderValues, name: string, max: number = Number.MAX_SAFE_INTEGER): number | undefined {
  const text = headerText(headers, name)
  if (text === undefined) return undefined
  const value = Number(text)
  if (!numberPattern.test(text) || value > max) throw badHeader(name, 'not a number')
  return value
}

function badHeader(field: string, why: string): TrunklineError {
  return new TrunklineError('BAD_REQUEST', { details: { field, why } })
}

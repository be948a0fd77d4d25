// Owns: what a MAC covers when a call of a session travels as JSON (docs/formats.md "Signed HTTP"): the bytes on the wire
// themselves, so that nobody has to agree on how JSON means something.
// 1. A request is bound to its method, path, type, body and proof; an answer to the request that it answers (its proof and
//    MAC), its status, its body and the turn in its headers.
// 2. The host is left out: proxies change it, and the keys belong to one gateway anyway.
// Leaves out: headers' names (api-tier/http/session-headers.ts), keys (signed-bytes.ts).
import { hash } from 'node:crypto'
import { hmac, keyRoom } from './hmac.ts'
import type { Proof, Turn } from './messages.ts'
import type { MacKeys } from './signed-bytes.ts'

export interface SignedHttpRequest {
  readonly method: string
  /** Path and query, as sent. */
  readonly path: string
  /** The Content-Type header; empty when there is none. */
  readonly contentType: string
  /** Empty when there is none. */
  readonly body: Uint8Array
  readonly session: Uint8Array
  readonly proof: Proof
}

export interface SignedHttpReply {
  readonly status: number
  readonly body: Uint8Array
  /** Undefined: the answer's headers carry none. */
  readonly turn: Turn | undefined
}

export function httpRequestBytes(request: SignedHttpRequest): Uint8Array {
  return Buffer.concat([
    ...opening('request'),
    ...prefixed(Buffer.from(request.method)),
    ...prefixed(Buffer.from(request.path)),
    ...prefixed(Buffer.from(request.contentType)),
    ...prefixed(sha256(request.body)),
    ...prefixed(request.session),
    ...proofBytes(request.proof),
  ])
}

/** `answered`: the proof of the request, with its MAC. */
export function httpReplyBytes(answered: Proof, reply: SignedHttpReply): Uint8Array {
  const { turn } = reply
  return Buffer.concat([
    ...opening('reply'),
    ...proofBytes(answered),
    ...prefixed(answered.mac ?? new Uint8Array(0)),
    i32(reply.status),
    ...prefixed(sha256(reply.body)),
    i64(turn?.nextSeq ?? 0),
    ...prefixed(turn?.challenge ?? new Uint8Array(0)),
    i32(turn?.leaseMs ?? 0),
  ])
}

/** By the algorithm of the keys; the digest of the body is SHA-256 in any case. */
export function httpRequestMac(keys: MacKeys, request: SignedHttpRequest): Uint8Array {
  return mac(keys, keys.c2s, httpRequestBytes(request))
}

/** As httpRequestMac, of the answer. */
export function httpReplyMac(keys: MacKeys, answered: Proof, reply: SignedHttpReply): Uint8Array {
  return mac(keys, keys.s2c, httpReplyBytes(answered, reply))
}

function opening(direction: 'request' | 'reply'): Uint8Array[] {
  return [...prefixed(Buffer.from('tl1 http')), ...prefixed(Buffer.from(direction))]
}

/** slot i32 │ seq i64 │ lp(challenge) */
function proofBytes({ slot = 0, seq = 0, challenge }: Proof): Uint8Array[] {
  return [i32(slot), i64(seq), ...prefixed(challenge ?? new Uint8Array(0))]
}

function prefixed(bytes: Uint8Array): [Uint8Array, Uint8Array] {
  return [i32(bytes.length), bytes]
}

function i32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function i64(value: number): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(value))
  return bytes
}

function sha256(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer')
}

function mac({ algorithm }: MacKeys, key: Uint8Array, bytes: Uint8Array): Uint8Array {
  return hmac(algorithm, key, Buffer.concat([room, bytes]))
}

const room = new Uint8Array(keyRoom)

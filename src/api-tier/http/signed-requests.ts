// Owns: the MACs of session calls over JSON: Trunkline-Mac in requests and in their answers, over the bytes as they
// travel (protocol/signed-http.ts). For the routes of the scope that have a session in their path.
// 1. A MAC is checked before the body is parsed; the body is held for that, within the limit that it has anyway.
// 2. The answer to a signed request is signed, errors too; that to a wrong MAC never is, nor what is about the bearer
//    (session-proofs.ts).
import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { TrunklineError } from '../../protocol/errors.ts'
import type { Proof, Turn } from '../../protocol/messages.ts'
import { type MacKeys, sameMac } from '../../protocol/signed-bytes.ts'
import { httpReplyMac, httpRequestMac } from '../../protocol/signed-http.ts'
import { isSignable, type SessionProofs } from '../session-proofs.ts'
import type { HttpApp } from './http-app.ts'
import { base64url, headerBytes, readSessionHeaders } from './session-headers.ts'

interface Signed {
  readonly keys: MacKeys
  readonly proof: Proof
}

const macHeader = 'trunkline-mac'

export function signRequests(app: HttpApp, proofs: SessionProofs): void {
  const signed = new WeakMap<FastifyRequest, Signed>()
  app.addHook('preParsing', async (request, _reply, payload) => {
    if (!hasSession(request)) return payload
    const mac = headerBytes(request.headers, macHeader)
    if (mac === undefined) {
      proofs.ofUnsignedHttp()
      return payload
    }
    const { session, proof } = readSessionHeaders(request.headers)
    const body = await bodyOf(payload, request.routeOptions.bodyLimit)
    const contentType = request.headers['content-type'] ?? ''
    const message = { method: request.method, path: request.url, contentType, body, session, proof }
    const keys = proofs.ofHttp(session, (candidate) => sameMac(mac, httpRequestMac(candidate, message)))
    signed.set(request, { keys, proof: { ...proof, mac } })
    return Readable.from(body.length === 0 ? [] : [body], { objectMode: false })
  })
  app.addHook('onSend', async (request, reply, payload) => {
    const to = signed.get(request)
    if (to === undefined || unsignable.has(reply)) return
    const body = typeof payload === 'string' ? Buffer.from(payload) : payload instanceof Uint8Array ? payload : nothing
    const mac = httpReplyMac(to.keys, to.proof, { status: reply.statusCode, body, turn: turnOf(reply) })
    reply.header(macHeader, base64url(mac))
  })
}

const unsignable = new WeakSet<FastifyReply>()

/** Invariant 2, of an answer that is this error. */
export function noteError(reply: FastifyReply, error: TrunklineError): void {
  if (!isSignable(error)) unsignable.add(reply)
}

const nothing = new Uint8Array(0)

function hasSession(request: FastifyRequest): boolean {
  const { params } = request
  return typeof params === 'object' && params !== null && 'id' in params
}

/** Errors: FRAME_TOO_LARGE. */
async function bodyOf(payload: AsyncIterable<unknown>, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of payload) {
    if (!Buffer.isBuffer(chunk)) throw new Error('a raw body comes as bytes')
    bytes += chunk.length
    if (bytes > bytesMax) throw new TrunklineError('FRAME_TOO_LARGE', { details: { bytesMax: String(bytesMax) } })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, bytes)
}

/** As writeTurn put it into the headers. */
function turnOf(reply: FastifyReply): Turn | undefined {
  const [nextSeq, challenge, leaseMs] = ['next-seq', 'next-challenge', 'lease-ms'].map((name) =>
    reply.getHeader(`trunkline-${name}`),
  )
  if (nextSeq === undefined || challenge === undefined || leaseMs === undefined) return undefined
  return {
    nextSeq: Number(nextSeq),
    challenge: Buffer.from(String(challenge), 'base64url'),
    leaseMs: Number(leaseMs),
  }
}

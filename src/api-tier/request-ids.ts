// Owns: request ids: made when a caller brings none, accepted when they are harmless in logs and headers.
import type { Random } from '../ports/random.ts'

const sanePattern = /^[A-Za-z0-9._:+/=-]{1,64}$/
const traceparentPattern = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/
const idBytes = 16

/** Each of its own random bytes: callers see their ids, and a counter would tell each how much the others ask. */
export function requestIdsFrom(random: Random): () => string {
  return () => Buffer.from(random.bytes(idBytes)).toString('hex')
}

export function saneRequestId(text: unknown): string | undefined {
  return typeof text === 'string' && sanePattern.test(text) ? text : undefined
}

/** W3C trace context, version 00; anything else is as good as none. */
export function saneTraceparent(text: unknown): string | undefined {
  return typeof text === 'string' && traceparentPattern.test(text) ? text : undefined
}

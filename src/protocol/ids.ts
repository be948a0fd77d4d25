// Owns: the branded ids that cross module borders, with one parser each.
// Leaves out: how ids are made (the tiers, with the Random port).
import { TrunklineError } from './errors.ts'

declare const brand: unique symbol
type Brand<T, B extends string> = T & { readonly [brand]: B }

/** Kafka's topic name rules: 1..249 of [a-zA-Z0-9._-], not "." or "..". */
export type TopicName = Brand<string, 'TopicName'>
/** A topic's own id, a UUID made at creation: 32 lower-case hex digits. */
export type TopicId = Brand<string, 'TopicId'>
/** One client instance that numbers its writes: 32 lower-case hex digits (16 bytes on the wire). */
export type ProducerId = Brand<string, 'ProducerId'>
/** `<nodeId>.<epoch>`: one run of a stream node; its routing key and its log identity. */
export type Incarnation = Brand<string, 'Incarnation'>
/** Short public id of a session: fit for paths and logs, no secret. */
export type SessionId = Brand<string, 'SessionId'>

const topicPattern = /^[a-zA-Z0-9._-]{1,249}$/
const hex32Pattern = /^[0-9a-f]{32}$/
const incarnationPattern = /^[a-zA-Z0-9-]{1,64}\.[a-z0-9]{1,32}$/
const codeOfZero = '0'.charCodeAt(0)
const codeOfA = 'a'.charCodeAt(0)
const sessionPattern = /^[a-zA-Z0-9_-]{8,40}$/

/** Errors: BAD_TOPIC_NAME. */
export function parseTopicName(text: string): TopicName {
  if (!topicPattern.test(text) || text === '.' || text === '..') throw new TrunklineError('BAD_TOPIC_NAME')
  return text as TopicName
}

export function parseTopicId(text: string): TopicId {
  return parseHex32(text, 'topic id') as TopicId
}

export function parseProducerId(text: string): ProducerId {
  return parseHex32(text, 'producer id') as ProducerId
}

export function parseIncarnation(text: string): Incarnation {
  if (!incarnationPattern.test(text)) throw new Error('not an incarnation')
  return text as Incarnation
}

export function makeIncarnation(nodeId: string, epoch: string): Incarnation {
  return parseIncarnation(`${nodeId}.${epoch}`)
}

/** Errors: SESSION_GONE (an id nobody can know). */
export function parseSessionId(text: string): SessionId {
  if (!sessionPattern.test(text)) throw new TrunklineError('SESSION_GONE')
  return text as SessionId
}

/** 16 bytes ⇄ 32 hex digits. */
export function idToBytes(id: TopicId | ProducerId): Uint8Array {
  const bytes = new Uint8Array(id.length / 2)
  for (let at = 0; at < bytes.length; at++) bytes[at] = (digitAt(id, 2 * at) << 4) | digitAt(id, 2 * at + 1)
  return bytes
}

/** Of lower-case hex, which ids are. */
function digitAt(id: string, at: number): number {
  const code = id.charCodeAt(at)
  return code < codeOfA ? code - codeOfZero : code - codeOfA + 10
}

export function topicIdFromBytes(bytes: Uint8Array): TopicId {
  return parseTopicId(hexOf(bytes))
}

export function producerIdFromBytes(bytes: Uint8Array): ProducerId {
  return parseProducerId(hexOf(bytes))
}

const hexByte = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

function hexOf(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += hexByte[byte]
  return text
}

function parseHex32(text: string, what: string): string {
  if (!hex32Pattern.test(text)) throw new Error(`not a ${what}`)
  return text
}

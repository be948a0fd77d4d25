// Owns: what a message between two parties looks like on a shard: its kind, ids and numbers in AMQP properties, its body
// untouched. The names of exchanges and queues.
// 1. `appId` carries the version. A request of another version is answered `lost` under the version it came with: that
//    answer (appId, type, correlationId, no body) is the same in every version.
// 2. Numbers travel as decimal text: AMQP clients disagree about the width of integers in headers.
// Leaves out: what bodies mean (src/protocol/envelope.ts).
import type { Message } from 'amqplib'
import type { PublishProperties } from './publisher.ts'

const application = 'trunkline/'
export const wireVersion = `${application}1`

/**
 * call, allocate: requests. answer: the body. lost: it did not run to its end. taken: an allocation began at a node.
 * ready: a large answer waits at its node; send, drop: what to do with it. here, bye, who: presence. ping: a probe.
 */
const kinds = [
  'call',
  'allocate',
  'answer',
  'lost',
  'taken',
  'ready',
  'send',
  'drop',
  'here',
  'bye',
  'who',
  'ping',
] as const
export type WireKind = (typeof kinds)[number]
const kindNames: ReadonlySet<string> = new Set(kinds)

/** What the kinds need besides correlation id and reply queue. */
export interface WireFields {
  /** The caller's own name for itself, the same on every shard (sender-clocks.ts). */
  readonly sender?: string | undefined
  /** Sender's monotonic time of sending. */
  readonly sentAtMs?: number | undefined
  /** What was left of the deadline then. */
  readonly leftMs?: number | undefined
  /** A node's incarnation and its queue. */
  readonly key?: string | undefined
  readonly queue?: string | undefined
  /** Size of a large answer. */
  readonly bytes?: number | undefined
}

export interface WireMessage extends WireFields {
  readonly kind: WireKind
  readonly id: string
  readonly replyTo: string
  /** A request that the shard gave back unserved: it expired, or did not fit, in its queue. */
  readonly refused: boolean
  readonly body: Uint8Array
}

export type Parsed =
  | { readonly kind: 'ours'; readonly message: WireMessage }
  | { readonly kind: 'foreign' }
  | { readonly kind: 'malformed' }
  | { readonly kind: 'version'; readonly appId: string; readonly id: string; readonly replyTo: string }

export function propertiesOf(
  kind: WireKind,
  id: string,
  fields: WireFields = {},
  replyTo?: string,
  appId = wireVersion,
): PublishProperties {
  const headers: Record<string, string> = {}
  if (fields.sender !== undefined) headers['sender'] = fields.sender
  if (fields.sentAtMs !== undefined) headers['sent'] = fields.sentAtMs.toFixed(1)
  if (fields.leftMs !== undefined) headers['left'] = fields.leftMs.toFixed(1)
  if (fields.key !== undefined) headers['key'] = fields.key
  if (fields.queue !== undefined) headers['queue'] = fields.queue
  if (fields.bytes !== undefined) headers['bytes'] = String(fields.bytes)
  return { appId, type: kind, correlationId: id, headers, ...(replyTo === undefined ? {} : { replyTo }) }
}

export function parseMessage({ properties, content }: Message): Parsed {
  const { appId, type, correlationId, replyTo } = properties as unknown as Readonly<Record<string, unknown>>
  const headers: unknown = properties.headers
  if (typeof appId !== 'string' || !appId.startsWith(application)) return { kind: 'foreign' }
  const id = typeof correlationId === 'string' ? correlationId : ''
  const answerTo = typeof replyTo === 'string' ? replyTo : ''
  if (appId !== wireVersion) return { kind: 'version', appId, id, replyTo: answerTo }
  if (typeof type !== 'string' || !isKind(type)) return { kind: 'malformed' }
  const table: Record<string, unknown> = isTable(headers) ? headers : {}
  return {
    kind: 'ours',
    message: {
      kind: type,
      id,
      replyTo: answerTo,
      refused: table['x-death'] !== undefined,
      // Without Buffer's own methods and `slice`: a body is plain bytes to everybody else.
      body: new Uint8Array(content.buffer, content.byteOffset, content.length),
      sender: textOf(table['sender']),
      key: textOf(table['key']),
      queue: textOf(table['queue']),
      sentAtMs: numberOf(table['sent']),
      leftMs: numberOf(table['left']),
      bytes: numberOf(table['bytes']),
    },
  }
}

export function bufferOf(body: Uint8Array): Buffer {
  return Buffer.from(body.buffer, body.byteOffset, body.length)
}

export const noBody = Buffer.alloc(0)

export interface Topology {
  /** Direct; routing key = incarnation. */
  readonly sessExchange: string
  /** Fanout to the alloc queue; the routing key is the caller's reply queue, so that what expires goes back there. */
  readonly allocExchange: string
  readonly allocQueue: string
  readonly presenceExchange: string
}

export function topologyOf(prefix: string): Topology {
  return {
    sessExchange: `${prefix}.sess`,
    allocExchange: `${prefix}.alloc`,
    allocQueue: `${prefix}.alloc`,
    presenceExchange: `${prefix}.presence`,
  }
}

function isKind(text: string): text is WireKind {
  return kindNames.has(text)
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function numberOf(value: unknown): number | undefined {
  const parsed = typeof value === 'string' && value !== '' ? Number(value) : Number.NaN
  return Number.isFinite(parsed) && parsed >= 0 ? parsed : undefined
}

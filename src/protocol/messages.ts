// Owns: the TypeScript shapes of idl/trunkline.thrift (a test holds the two together).
// i64 are numbers (offsets, times and counters stay below 2^53; the codec refuses more), binary is Uint8Array,
// map<string,string> is a Map so that "__proto__" is a name like any other.
// Leaves out: bytes (thrift/codec), checks of meaning (each call's owner).

export const mode = { read: 1, write: 2 } as const
export type Mode = (typeof mode)[keyof typeof mode]
export const slot = { data: 0, control: 1 } as const
export const encoding = { none: 0, gzip: 1 } as const
export type Encoding = (typeof encoding)[keyof typeof encoding]
export const packing = { v1: 1 } as const
export const partState = { landed: 1, missing: 2, unknown: 3 } as const

export interface Proof {
  bearer?: string | undefined
  keyId?: string | undefined
  slot?: number | undefined
  seq?: number | undefined
  challenge?: Uint8Array | undefined
  mac?: Uint8Array | undefined
}

export interface Turn {
  nextSeq: number
  challenge: Uint8Array
  leaseMs: number
  mac?: Uint8Array | undefined
}

/** The exception's struct; `TrunklineError` (errors.ts) is the class. */
export interface ErrorStruct {
  code: number
  name: string
  retryable?: boolean | undefined
  retryAfterMs?: number | undefined
  advice?: string | undefined
  details?: ReadonlyMap<string, string> | undefined
  turn?: Turn | undefined
  expected?: number | undefined
  cursor?: Uint8Array | undefined
  /** Of a signed error without a turn. */
  mac?: Uint8Array | undefined
}

/** An event of the API. On write without a timestamp it carries the log's append time when read. */
export interface Event {
  key?: Uint8Array | undefined
  payload?: Uint8Array | undefined
  headers?: ReadonlyMap<string, string> | undefined
  timestampMs?: number | undefined
  id?: string | undefined
  type?: string | undefined
  source?: string | undefined
  partition?: number | undefined
  offset?: number | undefined
  index?: number | undefined
  appendTimeMs?: number | undefined
}

/** Packed events of one partition; `data` is packed, then perhaps compressed, never sealed on the wire. */
export interface Block {
  partition: number
  packing: number
  count: number
  encoding: number
  rawSize: number
  data: Uint8Array
  offset?: number | undefined
  first?: number | undefined
  take?: number | undefined
  appendTimeMs?: number | undefined
}

export interface Limits {
  eventBytesMax: number
  blockBytesMax: number
  frameBytesMax: number
  headersMax: number
  headerBytesMax: number
  readBytesSoft: number
  readBytesMax: number
  waitMsMax: number
  windowWrites: number
  windowBytes: number
  leaseMs: number
  keepAliveMs: number
  /** Raw bytes of a block of several events; absent: blockBytesMax alone. A larger event makes a block of its own. */
  joinedBytesMax?: number | undefined
}

/** Exactly one field is set. */
export interface StartAt {
  cursor?: Uint8Array | undefined
  timestampMs?: number | undefined
  earliest?: boolean | undefined
  latest?: boolean | undefined
}

export interface UnansweredWrite {
  n: number
  partitions: readonly number[]
}

export interface Resume {
  session: Uint8Array
  writeCursor: Uint8Array
  nextN: number
  writes?: readonly UnansweredWrite[] | undefined
}

export interface PartResult {
  part: number
  partition: number
  state: number
  offset?: number | undefined
  /** Event i of the part is a record of its own: it lies at offset + i, index 0 (plain topics). */
  perEvent?: boolean | undefined
}

export interface WriteOutcome {
  n: number
  parts: readonly PartResult[]
}

export interface AllocateRequest {
  proof?: Proof | undefined
  topic: string
  mode: number
  startAt?: StartAt | undefined
  resume?: Resume | undefined
  /** `hmac-sha256` (the default) or `hmac-md5`. */
  macAlgorithm?: string | undefined
  group?: string | undefined
  producerName?: string | undefined
  ackLevel?: string | undefined
  tenant?: string | undefined
}

export interface AllocateReply {
  session: Uint8Array
  secret: Uint8Array
  turn: Turn
  sessionId: string
  partitions: number
  limits: Limits
  expiresAtMs: number
  cursor?: Uint8Array | undefined
  writeCursor?: Uint8Array | undefined
  nextN?: number | undefined
  outcomes?: readonly WriteOutcome[] | undefined
  packing?: number | undefined
  /** Absent: HMAC-SHA256. */
  macAlgorithm?: string | undefined
}

export interface ReadRequest {
  proof?: Proof | undefined
  session: Uint8Array
  n: number
  ackOf?: number | undefined
  maxEvents?: number | undefined
  maxBytes?: number | undefined
  minBytes?: number | undefined
  waitMs?: number | undefined
  asEvents?: boolean | undefined
}

export interface ReadReply {
  turn: Turn
  n: number
  count: number
  cursor: Uint8Array
  blocks?: readonly Block[] | undefined
  events?: readonly Event[] | undefined
  atEnd?: boolean | undefined
}

export interface AckRequest {
  proof?: Proof | undefined
  session: Uint8Array
  n: number
  count?: number | undefined
}

export interface AckReply {
  turn: Turn
  n: number
  cursor?: Uint8Array | undefined
  writeCursor?: Uint8Array | undefined
  parts?: readonly PartResult[] | undefined
}

export interface NackRequest {
  proof?: Proof | undefined
  session: Uint8Array
  n: number
  delayMs?: number | undefined
  deadLetter?: boolean | undefined
}

export interface NackReply {
  turn: Turn
  n: number
  cursor: Uint8Array
  deliveries: number
}

export interface ExtendRequest {
  proof?: Proof | undefined
  session: Uint8Array
}

export interface ExtendReply {
  turn: Turn
  expiresAtMs: number
  writeCursor?: Uint8Array | undefined
}

export interface WriteRequest {
  proof?: Proof | undefined
  session: Uint8Array
  n: number
  blocks?: readonly Block[] | undefined
  events?: readonly Event[] | undefined
  commit?: boolean | undefined
}

export interface WriteReply {
  turn: Turn
  n: number
  published: boolean
  writeCursor?: Uint8Array | undefined
  parts?: readonly PartResult[] | undefined
}

export interface DisposeRequest {
  proof?: Proof | undefined
  session: Uint8Array
}

export interface DisposeReply {
  turn: Turn
  cursor?: Uint8Array | undefined
  writeCursor?: Uint8Array | undefined
}

export interface TopicDescription {
  name: string
  topicId: Uint8Array
  partitions: number
  format: string
  retentionMs?: number | undefined
  retentionBytes?: number | undefined
  createdAtMs?: number | undefined
  earliest?: readonly number[] | undefined
  latest?: readonly number[] | undefined
}

export interface DescribeRequest {
  proof?: Proof | undefined
  topic?: string | undefined
}

export interface DescribeReply {
  version: string
  limits: Limits
  features: readonly string[]
  topic?: TopicDescription | undefined
}

/** Request and reply of every method of the service. */
export interface Methods {
  allocate: { request: AllocateRequest; reply: AllocateReply }
  read: { request: ReadRequest; reply: ReadReply }
  ack: { request: AckRequest; reply: AckReply }
  nack: { request: NackRequest; reply: NackReply }
  extend: { request: ExtendRequest; reply: ExtendReply }
  write: { request: WriteRequest; reply: WriteReply }
  dispose: { request: DisposeRequest; reply: DisposeReply }
  describe: { request: DescribeRequest; reply: DescribeReply }
}
export type MethodName = keyof Methods
export type RequestOf<M extends MethodName> = Methods[M]['request']
export type ReplyOf<M extends MethodName> = Methods[M]['reply']

// Owns: the field tables of idl/trunkline.thrift; a test holds IDL, schemas and messages.ts together.
import type {
  AckReply,
  AckRequest,
  AllocateReply,
  AllocateRequest,
  Block,
  DescribeReply,
  DescribeRequest,
  DisposeReply,
  DisposeRequest,
  ErrorStruct,
  Event,
  ExtendReply,
  ExtendRequest,
  Limits,
  MethodName,
  NackReply,
  NackRequest,
  PartResult,
  Proof,
  ReadReply,
  ReadRequest,
  ReplyOf,
  RequestOf,
  Resume,
  StartAt,
  TopicDescription,
  Turn,
  UnansweredWrite,
  WriteOutcome,
  WriteReply,
  WriteRequest,
} from '../messages.ts'
import {
  binary,
  bool,
  defineStruct,
  defineUnion,
  i32,
  i64,
  list,
  optional,
  required,
  type StructSchema,
  string,
  stringMap,
  struct,
} from './schema.ts'

const proof = defineStruct<Proof>('Proof', {
  bearer: optional(1, string),
  keyId: optional(2, string),
  slot: optional(3, i32),
  seq: optional(4, i64),
  challenge: optional(5, binary),
  mac: optional(6, binary),
})

const turn = defineStruct<Turn>('Turn', {
  nextSeq: required(1, i64),
  challenge: required(2, binary),
  leaseMs: required(3, i32),
  mac: optional(4, binary),
})

const errorStruct = defineStruct<ErrorStruct>('TrunklineError', {
  code: required(1, i32),
  name: required(2, string),
  retryable: optional(3, bool),
  retryAfterMs: optional(4, i64),
  advice: optional(5, string),
  details: optional(6, stringMap),
  turn: optional(7, struct(turn)),
  expected: optional(8, i64),
  cursor: optional(9, binary),
  mac: optional(10, binary),
})

const event = defineStruct<Event>('Event', {
  key: optional(1, binary),
  payload: optional(2, binary),
  headers: optional(3, stringMap),
  timestampMs: optional(4, i64),
  id: optional(5, string),
  type: optional(6, string),
  source: optional(7, string),
  partition: optional(8, i32),
  offset: optional(9, i64),
  index: optional(10, i32),
  appendTimeMs: optional(11, i64),
})

const block = defineStruct<Block>('Block', {
  partition: required(1, i32),
  packing: required(2, i32),
  count: required(3, i32),
  encoding: required(4, i32),
  rawSize: required(5, i32),
  data: required(6, binary),
  offset: optional(7, i64),
  first: optional(8, i32),
  take: optional(9, i32),
  appendTimeMs: optional(10, i64),
})

const limits = defineStruct<Limits>('Limits', {
  eventBytesMax: required(1, i32),
  blockBytesMax: required(2, i32),
  frameBytesMax: required(3, i32),
  headersMax: required(4, i32),
  headerBytesMax: required(5, i32),
  readBytesSoft: required(6, i32),
  readBytesMax: required(7, i32),
  waitMsMax: required(8, i32),
  windowWrites: required(9, i32),
  windowBytes: required(10, i32),
  leaseMs: required(11, i32),
  keepAliveMs: required(12, i32),
  joinedBytesMax: optional(13, i32),
})

const startAt = defineUnion<StartAt>('StartAt', {
  cursor: optional(1, binary),
  timestampMs: optional(2, i64),
  earliest: optional(3, bool),
  latest: optional(4, bool),
})

const unansweredWrite = defineStruct<UnansweredWrite>('UnansweredWrite', {
  n: required(1, i64),
  partitions: required(2, list(i32)),
})

const resume = defineStruct<Resume>('Resume', {
  session: required(1, binary),
  writeCursor: required(2, binary),
  nextN: required(3, i64),
  writes: optional(4, list(struct(unansweredWrite))),
})

const partResult = defineStruct<PartResult>('PartResult', {
  part: required(1, i32),
  partition: required(2, i32),
  state: required(3, i32),
  offset: optional(4, i64),
  perEvent: optional(5, bool),
})

const writeOutcome = defineStruct<WriteOutcome>('WriteOutcome', {
  n: required(1, i64),
  parts: required(2, list(struct(partResult))),
})

const allocateRequest = defineStruct<AllocateRequest>('AllocateRequest', {
  proof: optional(1, struct(proof)),
  topic: required(2, string),
  mode: required(3, i32),
  startAt: optional(4, struct(startAt)),
  resume: optional(5, struct(resume)),
  macAlgorithm: optional(6, string),
  group: optional(20, string),
  producerName: optional(21, string),
  ackLevel: optional(22, string),
  tenant: optional(23, string),
})

const allocateReply = defineStruct<AllocateReply>('AllocateReply', {
  session: required(1, binary),
  secret: required(2, binary),
  turn: required(3, struct(turn)),
  sessionId: required(4, string),
  partitions: required(5, i32),
  limits: required(6, struct(limits)),
  expiresAtMs: required(7, i64),
  cursor: optional(8, binary),
  writeCursor: optional(9, binary),
  nextN: optional(10, i64),
  outcomes: optional(11, list(struct(writeOutcome))),
  packing: optional(12, i32),
  macAlgorithm: optional(13, string),
})

const readRequest = defineStruct<ReadRequest>('ReadRequest', {
  proof: optional(1, struct(proof)),
  session: required(2, binary),
  n: required(3, i64),
  ackOf: optional(4, i64),
  maxEvents: optional(5, i32),
  maxBytes: optional(6, i32),
  minBytes: optional(7, i32),
  waitMs: optional(8, i32),
  asEvents: optional(9, bool),
})

const readReply = defineStruct<ReadReply>('ReadReply', {
  turn: required(1, struct(turn)),
  n: required(2, i64),
  count: required(3, i32),
  cursor: required(4, binary),
  blocks: optional(5, list(struct(block))),
  events: optional(6, list(struct(event))),
  atEnd: optional(7, bool),
})

const ackRequest = defineStruct<AckRequest>('AckRequest', {
  proof: optional(1, struct(proof)),
  session: required(2, binary),
  n: required(3, i64),
  count: optional(4, i32),
})

const ackReply = defineStruct<AckReply>('AckReply', {
  turn: required(1, struct(turn)),
  n: required(2, i64),
  cursor: optional(3, binary),
  writeCursor: optional(4, binary),
  parts: optional(5, list(struct(partResult))),
})

const nackRequest = defineStruct<NackRequest>('NackRequest', {
  proof: optional(1, struct(proof)),
  session: required(2, binary),
  n: required(3, i64),
  delayMs: optional(4, i32),
  deadLetter: optional(5, bool),
})

const nackReply = defineStruct<NackReply>('NackReply', {
  turn: required(1, struct(turn)),
  n: required(2, i64),
  cursor: required(3, binary),
  deliveries: required(4, i32),
})

const extendRequest = defineStruct<ExtendRequest>('ExtendRequest', {
  proof: optional(1, struct(proof)),
  session: required(2, binary),
})

const extendReply = defineStruct<ExtendReply>('ExtendReply', {
  turn: required(1, struct(turn)),
  expiresAtMs: required(2, i64),
  writeCursor: optional(3, binary),
})

const writeRequest = defineStruct<WriteRequest>('WriteRequest', {
  proof: optional(1, struct(proof)),
  session: required(2, binary),
  n: required(3, i64),
  blocks: optional(4, list(struct(block))),
  events: optional(5, list(struct(event))),
  commit: optional(6, bool),
})

const writeReply = defineStruct<WriteReply>('WriteReply', {
  turn: required(1, struct(turn)),
  n: required(2, i64),
  published: required(3, bool),
  writeCursor: optional(4, binary),
  parts: optional(5, list(struct(partResult))),
})

const disposeRequest = defineStruct<DisposeRequest>('DisposeRequest', {
  proof: optional(1, struct(proof)),
  session: required(2, binary),
})

const disposeReply = defineStruct<DisposeReply>('DisposeReply', {
  turn: required(1, struct(turn)),
  cursor: optional(2, binary),
  writeCursor: optional(3, binary),
})

const topicDescription = defineStruct<TopicDescription>('TopicDescription', {
  name: required(1, string),
  topicId: required(2, binary),
  partitions: required(3, i32),
  format: required(4, string),
  retentionMs: optional(5, i64),
  retentionBytes: optional(6, i64),
  createdAtMs: optional(7, i64),
  earliest: optional(8, list(i64)),
  latest: optional(9, list(i64)),
})

const describeRequest = defineStruct<DescribeRequest>('DescribeRequest', {
  proof: optional(1, struct(proof)),
  topic: optional(2, string),
})

const describeReply = defineStruct<DescribeReply>('DescribeReply', {
  version: required(1, string),
  limits: required(2, struct(limits)),
  features: required(3, list(string)),
  topic: optional(4, struct(topicDescription)),
})

/** Every struct of the IDL under its IDL name. */
export const schemas = {
  Proof: proof,
  Turn: turn,
  TrunklineError: errorStruct,
  Event: event,
  Block: block,
  Limits: limits,
  StartAt: startAt,
  UnansweredWrite: unansweredWrite,
  Resume: resume,
  PartResult: partResult,
  WriteOutcome: writeOutcome,
  AllocateRequest: allocateRequest,
  AllocateReply: allocateReply,
  ReadRequest: readRequest,
  ReadReply: readReply,
  AckRequest: ackRequest,
  AckReply: ackReply,
  NackRequest: nackRequest,
  NackReply: nackReply,
  ExtendRequest: extendRequest,
  ExtendReply: extendReply,
  WriteRequest: writeRequest,
  WriteReply: writeReply,
  DisposeRequest: disposeRequest,
  DisposeReply: disposeReply,
  TopicDescription: topicDescription,
  DescribeRequest: describeRequest,
  DescribeReply: describeReply,
} as const

type MethodSchemas = {
  readonly [M in MethodName]: {
    readonly request: StructSchema<RequestOf<M>>
    readonly reply: StructSchema<ReplyOf<M>>
  }
}

export const methodSchemas: MethodSchemas = {
  allocate: { request: allocateRequest, reply: allocateReply },
  read: { request: readRequest, reply: readReply },
  ack: { request: ackRequest, reply: ackReply },
  nack: { request: nackRequest, reply: nackReply },
  extend: { request: extendRequest, reply: extendReply },
  write: { request: writeRequest, reply: writeReply },
  dispose: { request: disposeRequest, reply: disposeReply },
  describe: { request: describeRequest, reply: describeReply },
}

/** False for a name that the IDL does not have ("__proto__" and the like too). */
export function isMethodName(name: string): name is MethodName {
  return Object.hasOwn(methodSchemas, name)
}

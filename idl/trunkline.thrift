// Trunkline's wire API (Thrift binary protocol, framed over TCP or one frame a body over HTTP POST /thrift).
// One struct in, one struct out, one exception. Field ids are never reused; everything is optional except what the
// call cannot mean anything without. Error codes: idl/errors.json (constants in idl/errors.thrift).
// Signed bytes, blocks, cursors and tokens: docs/formats.md.
namespace py trunkline
namespace rb Trunkline
namespace java io.trunkline.thrift
namespace js trunkline

const i32 MODE_READ = 1
const i32 MODE_WRITE = 2
const i32 SLOT_DATA = 0
const i32 SLOT_CONTROL = 1
const i32 ENCODING_NONE = 0
const i32 ENCODING_GZIP = 1
const i32 PACKING_1 = 1

// At the head of every request. allocate and describe carry a bearer and no seq.
struct Proof {
  1: optional string bearer
  2: optional string keyId
  3: optional i32 slot
  4: optional i64 seq
  5: optional binary challenge
  6: optional binary mac
}

// In every reply and every error of a session: what the next request of this slot must carry.
struct Turn {
  1: required i64 nextSeq
  2: required binary challenge
  3: required i32 leaseMs
  4: optional binary mac
}

exception TrunklineError {
  1: required i32 code
  2: required string name
  3: optional bool retryable
  4: optional i64 retryAfterMs
  5: optional string advice
  6: optional map<string, string> details
  7: optional Turn turn
  8: optional i64 expected
  9: optional binary cursor
  10: optional binary mac        // of a signed error without a turn; else the turn has it
} (python.immutable = "false")

struct Event {
  1: optional binary key
  2: optional binary payload
  3: optional map<string, string> headers
  4: optional i64 timestampMs
  5: optional string id
  6: optional string type
  7: optional string source
  8: optional i32 partition      // write: where it must go, default by key; read: where it came from
  9: optional i64 offset         // read only
  10: optional i32 index         // read only
  11: optional i64 appendTimeMs  // read only
}

// Events of one partition, packed (and perhaps compressed). Part i of a write is its i-th block.
struct Block {
  1: required i32 partition
  2: required i32 packing
  3: required i32 count
  4: required i32 encoding
  5: required i32 rawSize
  6: required binary data
  7: optional i64 offset         // read only
  8: optional i32 first          // read only: index of the first event that counts, default 0
  9: optional i32 take           // read only: events that count from `first` on, default count - first
  10: optional i64 appendTimeMs  // read only
}

struct Limits {
  1: required i32 eventBytesMax
  2: required i32 blockBytesMax
  3: required i32 frameBytesMax
  4: required i32 headersMax
  5: required i32 headerBytesMax
  6: required i32 readBytesSoft
  7: required i32 readBytesMax
  8: required i32 waitMsMax
  9: required i32 windowWrites
  10: required i32 windowBytes
  11: required i32 leaseMs
  12: required i32 keepAliveMs
  // Raw bytes of a block of several events (topics of format plain); absent: blockBytesMax alone. A larger event makes a
  // block of its own.
  13: optional i32 joinedBytesMax
}

union StartAt {
  1: binary cursor
  2: i64 timestampMs
  3: bool earliest
  4: bool latest
}

// A write that was sent and never answered: partitions[i] is the partition of part i.
struct UnansweredWrite {
  1: required i64 n
  2: required list<i32> partitions
}

// Taking a producer along to another session: the newest token under which a write was ever sent.
struct Resume {
  1: required binary session
  2: required binary writeCursor
  3: required i64 nextN
  4: optional list<UnansweredWrite> writes
}

const i32 PART_LANDED = 1
const i32 PART_MISSING = 2
const i32 PART_UNKNOWN = 3

struct PartResult {
  1: required i32 part
  2: required i32 partition
  3: required i32 state
  4: optional i64 offset
  // Event i of the part is a record of its own: it lies at offset + i, index 0 (topics of format plain).
  5: optional bool perEvent
}

struct WriteOutcome {
  1: required i64 n
  2: required list<PartResult> parts
}

struct AllocateRequest {
  1: optional Proof proof
  2: required string topic
  3: required i32 mode
  4: optional StartAt startAt
  5: optional Resume resume
  // How the calls of the session are signed: hmac-sha256 (the default), or hmac-md5 where the operator allows it.
  6: optional string macAlgorithm
  20: optional string group
  21: optional string producerName
  22: optional string ackLevel
  23: optional string tenant
}
struct AllocateReply {
  1: required binary session
  2: required binary secret
  3: required Turn turn
  4: required string sessionId
  5: required i32 partitions
  6: required Limits limits
  7: required i64 expiresAtMs
  8: optional binary cursor
  9: optional binary writeCursor
  10: optional i64 nextN
  11: optional list<WriteOutcome> outcomes
  12: optional i32 packing
  13: optional string macAlgorithm  // absent: hmac-sha256, also when the gateway does not know the field of the request
}

struct ReadRequest {
  1: optional Proof proof
  2: required binary session
  3: required i64 n
  4: optional i64 ackOf
  5: optional i32 maxEvents
  6: optional i32 maxBytes
  7: optional i32 minBytes
  8: optional i32 waitMs
  9: optional bool asEvents
}
struct ReadReply {
  1: required Turn turn
  2: required i64 n
  3: required i32 count
  4: required binary cursor
  5: optional list<Block> blocks
  6: optional list<Event> events
  7: optional bool atEnd
}

struct AckRequest {
  1: optional Proof proof
  2: required binary session
  3: required i64 n
  4: optional i32 count
}
struct AckReply {
  1: required Turn turn
  2: required i64 n
  3: optional binary cursor
  4: optional binary writeCursor
  5: optional list<PartResult> parts
}

struct NackRequest {
  1: optional Proof proof
  2: required binary session
  3: required i64 n
  4: optional i32 delayMs
  5: optional bool deadLetter
}
struct NackReply {
  1: required Turn turn
  2: required i64 n
  3: required binary cursor
  4: required i32 deliveries
}

struct ExtendRequest {
  1: optional Proof proof
  2: required binary session
}
struct ExtendReply {
  1: required Turn turn
  2: required i64 expiresAtMs
  3: optional binary writeCursor
}

struct WriteRequest {
  1: optional Proof proof
  2: required binary session
  3: required i64 n
  4: optional list<Block> blocks
  5: optional list<Event> events
  6: optional bool commit
}
struct WriteReply {
  1: required Turn turn
  2: required i64 n
  3: required bool published
  4: optional binary writeCursor
  5: optional list<PartResult> parts
}

struct DisposeRequest {
  1: optional Proof proof
  2: required binary session
}
struct DisposeReply {
  1: required Turn turn
  2: optional binary cursor
  3: optional binary writeCursor
}

struct TopicDescription {
  1: required string name
  2: required binary topicId
  3: required i32 partitions
  4: required string format
  5: optional i64 retentionMs
  6: optional i64 retentionBytes
  7: optional i64 createdAtMs
  8: optional list<i64> earliest
  9: optional list<i64> latest
}

struct DescribeRequest {
  1: optional Proof proof
  2: optional string topic
}
struct DescribeReply {
  1: required string version
  2: required Limits limits
  3: required list<string> features
  4: optional TopicDescription topic
}

service Gateway {
  AllocateReply allocate(1: AllocateRequest request) throws (1: TrunklineError error)
  ReadReply read(1: ReadRequest request) throws (1: TrunklineError error)
  AckReply ack(1: AckRequest request) throws (1: TrunklineError error)
  NackReply nack(1: NackRequest request) throws (1: TrunklineError error)
  ExtendReply extend(1: ExtendRequest request) throws (1: TrunklineError error)
  WriteReply write(1: WriteRequest request) throws (1: TrunklineError error)
  DisposeReply dispose(1: DisposeRequest request) throws (1: TrunklineError error)
  DescribeReply describe(1: DescribeRequest request) throws (1: TrunklineError error)
}

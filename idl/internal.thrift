// What travels through the switchboard between the tiers, and between nodes; never to a client.
// Documents src/protocol/thrift/internal-schemas.ts (a test holds the two together); no code is generated from it.
include "trunkline.thrift"

const i32 ENVELOPE_VERSION = 1

// Who calls, as the API tier proved it.
struct Principal {
  1: required string subject
  2: required string clientId
  3: required string tenant
  4: required i64 expiresAtMs
}

// A node that does not know the version answers BAD_REQUEST.
struct Envelope {
  1: required i32 version
  2: required string method         // a method of the service Gateway, or "release"
  3: required string requestId
  4: optional string traceparent
  5: required Principal principal
  6: optional string sessionId      // absent for allocate, describe, release
  7: required binary body           // the method's request struct, without its bearer
  8: optional bool refreshed        // extend carried a new bearer, already checked
}

union Answer {
  1: binary body                    // the method's reply struct
  2: trunkline.TrunklineError error
}

// One node asks another to end a producer's session for good (docs/architecture.md, take-over).
struct ReleaseRequest {
  1: required binary producerId
  2: required string sessionId
}
struct ReleaseReply {
  1: required bool released         // false: something is still in flight there, ask again
}

// Generated from idl/errors.json by `npm run generate`: change it there.

export interface ErrorEntry {
  /** Stable on the wire; never given to another error. */
  readonly number: number
  /** The status of the JSON API. */
  readonly http: number
  /** True when a repeat can succeed with nothing changed by the application; the advice says how to repeat. */
  readonly retryable: boolean
  /** How long to wait before the repeat, when the error does not say otherwise; ms. */
  readonly retryAfterMs?: number
  /** What the caller does next, in one sentence. */
  readonly advice: string
}

export const errorCatalog = {
  BAD_REQUEST: {
    number: 1000, http: 400, retryable: false,
    advice: 'Correct the field that details name and send the request again.',
  },
  MALFORMED_FRAME: {
    number: 1001, http: 400, retryable: false,
    advice: 'Check that the client speaks Thrift binary protocol in frames, or sends valid JSON over HTTP, and connect again.',
  },
  UNKNOWN_METHOD: {
    number: 1002, http: 404, retryable: false,
    advice: 'Check the method or path against the IDL or /openapi.json, and the version of the gateway with describe.',
  },
  UNSUPPORTED_MEDIA: {
    number: 1003, http: 415, retryable: false,
    advice: 'Send one of the content types that /openapi.json lists for this path.',
  },
  UNSUPPORTED: {
    number: 1004, http: 422, retryable: false,
    advice: 'Leave out the option that details name: this version does not have it, and describe lists what it has.',
  },
  TOO_MANY_REQUESTS: {
    number: 1005, http: 429, retryable: true, retryAfterMs: 1000,
    advice: 'Wait for retryAfterMs, send the same request again, and send fewer at once.',
  },
  UNAUTHENTICATED: {
    number: 1100, http: 401, retryable: false,
    advice: 'Get an access token, from /oauth/token or from a provider that this gateway takes tokens of, and send it as the bearer.',
  },
  TOKEN_EXPIRED: {
    number: 1101, http: 401, retryable: false,
    advice: 'Get a new access token, pass it with extend when a session is open, and repeat the request.',
  },
  BAD_CHALLENGE: {
    number: 1102, http: 401, retryable: false,
    advice: 'Repeat the request with the challenge that came with this error.',
  },
  BAD_PROOF: {
    number: 1103, http: 401, retryable: false,
    advice: 'Compute the proof over all fields of this request with the secret of this session, and send it again.',
  },
  FORBIDDEN: {
    number: 1104, http: 403, retryable: false,
    advice: 'Ask the owner of the topic to give this client the right that details name.',
  },
  WEAK_MAC_REFUSED: {
    number: 1105, http: 403, retryable: false,
    advice: 'Allocate without macAlgorithm and sign with HMAC-SHA256: the operator has not allowed this client HMAC-MD5, or the gateway runs in FIPS mode.',
  },
  UNKNOWN_TOPIC: {
    number: 1200, http: 404, retryable: false,
    advice: 'Check the name of the topic, or create the topic first.',
  },
  UNKNOWN_PARTITION: {
    number: 1201, http: 404, retryable: false,
    advice: 'Use a partition from 0 up to the count that describe or allocate answers for this topic.',
  },
  TOPIC_EXISTS: {
    number: 1202, http: 409, retryable: false,
    advice: 'Use the topic that is there, or choose another name.',
  },
  BAD_TOPIC_NAME: {
    number: 1203, http: 400, retryable: false,
    advice: 'Use 1 to 249 letters, digits, dots, underscores and hyphens, and neither "." nor "..".',
  },
  TOPIC_CHANGED: {
    number: 1204, http: 409, retryable: false,
    advice: 'The topic was deleted or made anew: start again from earliest or latest, and decide in the application about writes without an answer.',
  },
  BAD_TOPIC_SETTING: {
    number: 1205, http: 400, retryable: false,
    advice: 'Correct the setting that details name and send the request again.',
  },
  TOO_MANY_TOPICS: {
    number: 1206, http: 409, retryable: false,
    advice: 'Delete topics that are not needed, or raise the limit of the gateway.',
  },
  TOPIC_UNSAFE: {
    number: 1207, http: 409, retryable: false,
    advice: 'Set what details name on the topic (replication, min.insync.replicas, unclean.leader.election.enable, cleanup.policy), or let the operator allow this topic by name in unsafeTopics.',
  },
  SESSION_GONE: {
    number: 1300, http: 410, retryable: true,
    advice: 'Allocate again with the newest token and cursor, and go on there: nothing is lost.',
  },
  SESSION_CLOSED: {
    number: 1301, http: 410, retryable: false,
    advice: 'This client, producer or reader was closed by its own program: make a new one, a reader with the last cursor.',
  },
  BAD_SESSION_TOKEN: {
    number: 1302, http: 400, retryable: false,
    advice: 'Send the session token exactly as allocate answered it, to the gateway that issued it.',
  },
  SEQUENCE_MISMATCH: {
    number: 1303, http: 409, retryable: false,
    advice: 'Go on with the sequence number in expected; a step that was already answered is repeated with its own number.',
  },
  STEP_BUSY: {
    number: 1304, http: 409, retryable: true, retryAfterMs: 50,
    advice: 'Another call of this step is still running: wait for its answer, or repeat the same call after retryAfterMs.',
  },
  NOTHING_TO_ACK: {
    number: 1305, http: 409, retryable: false,
    advice: 'Read or write the step first, and ack it after its answer.',
  },
  ACK_RANGE: {
    number: 1306, http: 400, retryable: false,
    advice: 'Ack no more events than the batch holds, and no fewer than 1.',
  },
  WRONG_MODE: {
    number: 1307, http: 409, retryable: false,
    advice: 'Use read calls in a read session and write calls in a write session: allocate one of the other mode.',
  },
  BAD_CURSOR: {
    number: 1400, http: 400, retryable: false,
    advice: 'Send a cursor exactly as the gateway answered it, or start from earliest, latest or a time.',
  },
  CURSOR_FOREIGN: {
    number: 1401, http: 400, retryable: false,
    advice: 'This cursor belongs to another topic, cluster or tenant: use it there, or start here from earliest, latest or a time.',
  },
  CURSOR_VERSION: {
    number: 1402, http: 400, retryable: false,
    advice: 'This gateway does not know the version of the cursor: start from a time or a position, or use a gateway that knows it.',
  },
  CURSOR_OUT_OF_RANGE: {
    number: 1403, http: 410, retryable: false,
    advice: 'Retention removed these events: go on with the cursor that came with this error, which starts at the oldest ones kept.',
  },
  WRITE_CHANGED: {
    number: 1500, http: 409, retryable: false,
    advice: 'A number was sent again with other events: repeat write n with the very same blocks, or take the next number.',
  },
  WRITE_REFUSED: {
    number: 1501, http: 422, retryable: false,
    advice: 'The log refused this write and nothing of it landed: correct what details name, and send it under the same number.',
  },
  WRITE_HELD: {
    number: 1502, http: 409, retryable: true, retryAfterMs: 0,
    advice: 'An earlier write of the window was refused and nothing of this one landed: settle the refused write, then send this one again.',
  },
  WINDOW_FULL: {
    number: 1503, http: 429, retryable: true, retryAfterMs: 50,
    advice: 'Wait for the answer of an earlier write of this session, then send this one again.',
  },
  OUTCOME_UNKNOWN: {
    number: 1504, http: 409, retryable: false,
    advice: 'The log no longer holds what would tell whether this write landed: the application has to look for it, or decide to publish it as a new write.',
  },
  PRODUCER_FENCED: {
    number: 1505, http: 409, retryable: false,
    advice: 'A newer instance of this producer has taken over: stop this one.',
  },
  PENDING: {
    number: 1506, http: 503, retryable: true, retryAfterMs: 50,
    advice: 'The take-over of this producer is still running: repeat the same call after retryAfterMs.',
  },
  EVENT_TOO_LARGE: {
    number: 1600, http: 413, retryable: false,
    advice: 'Keep an event at or below 896 KiB with its key and headers: split it, or store the payload elsewhere and publish a reference.',
  },
  BLOCK_TOO_LARGE: {
    number: 1601, http: 413, retryable: false,
    advice: 'Pack fewer events into a block: sealed it may take at most 1,000,000 bytes.',
  },
  BATCH_TOO_LARGE: {
    number: 1602, http: 413, retryable: false,
    advice: 'Send fewer events in one write: allocate answers the limits.',
  },
  FRAME_TOO_LARGE: {
    number: 1603, http: 413, retryable: false,
    advice: 'Keep a request at or below 1.25 MiB: send the events in several requests.',
  },
  HEADERS_TOO_LARGE: {
    number: 1604, http: 413, retryable: false,
    advice: 'Keep at most 64 headers and 16 KiB of them in one event.',
  },
  EMPTY_BATCH: {
    number: 1605, http: 400, retryable: false,
    advice: 'Send at least one event in a write.',
  },
  BAD_EVENT: {
    number: 1606, http: 400, retryable: false,
    advice: 'Correct the field of the event that details name and send the write again.',
  },
  BAD_BLOCK: {
    number: 1607, http: 400, retryable: false,
    advice: 'Pack the events again as docs/formats.md draws it: the count, the sizes or the layout of this block do not fit.',
  },
  KEY_UNAVAILABLE: {
    number: 1700, http: 503, retryable: true, retryAfterMs: 1000,
    advice: 'The key of these events cannot be reached now: repeat the call later, or go on behind them with the cursor that came with this error.',
  },
  KEY_SHREDDED: {
    number: 1701, http: 410, retryable: false,
    advice: 'The key of these events was destroyed for good: go on behind them with the cursor that came with this error.',
  },
  BLOCK_DAMAGED: {
    number: 1702, http: 422, retryable: false,
    advice: 'The block at the position that details name does not open and is never served: go on behind it with the cursor that came with this error, and tell the operator.',
  },
  KEYRING_MISSING: {
    number: 1703, http: 500, retryable: false,
    advice: 'Put the keyring file back where the configuration expects it: without it nothing stored can be read.',
  },
  KEYRING_UNREADABLE: {
    number: 1704, http: 500, retryable: false,
    advice: 'Give the gateway\'s user access to the keyring file (mode 0600), or restore it from a copy when it is damaged.',
  },
  KEYRING_WRONG: {
    number: 1705, http: 500, retryable: false,
    advice: 'This key file is of another kind, of another ring, or an older copy than the one in use: configure the newest one of this gateway.',
  },
  KEYRING_BUSY: {
    number: 1706, http: 409, retryable: true,
    advice: 'Another command changes this key file: repeat. When none runs, one was killed: remove the lock file that details name.',
  },
  NO_CAPACITY: {
    number: 1800, http: 503, retryable: true, retryAfterMs: 1000,
    advice: 'No stream node can take another session now: repeat the call after retryAfterMs, or start more stream nodes.',
  },
  DRAINING: {
    number: 1801, http: 503, retryable: true, retryAfterMs: 50,
    advice: 'This node is shutting down: repeat the call, which goes to another node or to this one after its restart.',
  },
  UNAVAILABLE: {
    number: 1802, http: 503, retryable: true, retryAfterMs: 500,
    advice: 'The gateway or what lies behind it cannot be reached now: repeat the same call after retryAfterMs.',
  },
  DEADLINE: {
    number: 1803, http: 503, retryable: true, retryAfterMs: 50,
    advice: 'The call did not finish in time and may still take effect: repeat it unchanged with the same numbers, which never does it twice.',
  },
  STORAGE_FULL: {
    number: 1804, http: 503, retryable: true, retryAfterMs: 5000,
    advice: 'The disk of the log is full and nothing of this write was stored: free space or shorten the retention, then repeat it.',
  },
  STORAGE_FAILED: {
    number: 1805, http: 503, retryable: true, retryAfterMs: 1000,
    advice: 'The log could not be written or read: repeat the same call, and have the operator look at the disk and the gateway\'s log.',
  },
  DATA_DIR_IN_USE: {
    number: 1806, http: 409, retryable: false,
    advice: 'Stop the other process that uses this data folder, or choose another folder.',
  },
  DATA_DIR_DAMAGED: {
    number: 1807, http: 500, retryable: false,
    advice: 'Run trunkline check on the data folder, then restore it from a copy.',
  },
  BAD_CONFIG: {
    number: 1808, http: 500, retryable: false,
    advice: 'Correct the settings that details list and start again.',
  },
  BROKER_REFUSED: {
    number: 1809, http: 500, retryable: false,
    advice: 'The broker that details name refused this gateway: correct its address, credentials, certificates or permissions and start again.',
  },
  TLS_REFUSED: {
    number: 1810, http: 500, retryable: false,
    advice: 'No TLS connection to the gateway came about, for the reason in details.why: correct the authorities that this client trusts, the host name, or the certificate that is refused, and connect again.',
  },
  INTERNAL: {
    number: 1900, http: 500, retryable: false,
    advice: 'This is a defect of the gateway: report it with the request id; repeating the call inside a session with the same numbers is safe.',
  },
} as const satisfies Record<string, ErrorEntry>

export type ErrorName = keyof typeof errorCatalog

export const errorNames = Object.keys(errorCatalog) as readonly ErrorName[]

export const errorNameByNumber: ReadonlyMap<number, ErrorName> = new Map(
  errorNames.map((name) => [errorCatalog[name].number, name]),
)

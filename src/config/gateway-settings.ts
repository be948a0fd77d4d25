// Owns: the settings of the gateway itself, by theme: schema, default, bounds and meaning. The page
// docs/configuration.md is made from them (configuration-page.ts).
// Leaves out: TLS (tls-settings.ts), brokers (broker-settings.ts), which process has which (roles.ts).
import { Type } from 'typebox'
import {
  blockRawBytesMax,
  frameBytesMax,
  keepAliveMs,
  leaseMs,
  topicPartitionsDefault,
  topicPartitionsMax,
  waitMsMax,
  windowBytes,
} from '../protocol/limits.ts'
import { file, listenPort, pathText, secretFile, whole } from './setting.ts'
import { tlsSettings } from './tls-settings.ts'

const mebibyte = 1024 * 1024
const minuteMs = 60_000
const dayMs = 24 * 60 * minuteMs

/** Of every process. */
export const processSettings = {
  host: Type.String({
    minLength: 1,
    maxLength: 255,
    default: '127.0.0.1',
    description:
      'Address that all listeners bind. Anything but loopback opens the gateway to the network, and wants TLS.',
  }),
  adminPort: listenPort(7479, 'Port of health and metrics.'),
  logLevel: Type.Union(
    [Type.Literal('debug'), Type.Literal('info'), Type.Literal('warn'), Type.Literal('error'), Type.Literal('silent')],
    { default: 'info', description: 'Lines below this level are not written.' },
  ),
  logFormat: Type.Union([Type.Literal('auto'), Type.Literal('json'), Type.Literal('pretty')], {
    default: 'auto',
    description: 'auto writes short lines to a terminal and JSON to everything else.',
  }),
  connectionsMax: whole(1, 1_000_000, 10_000, 'Connections per listener; above it new ones are closed.'),
  drainTimeoutMs: whole(0, 10 * minuteMs, 10_000, 'How long a stopping gateway finishes what it has begun.'),
  shutdownTimeoutMs: whole(100, 15 * minuteMs, 15_000, 'When a stopping gateway ends whatever is left.'),
  keyReloadMs: whole(
    100,
    10 * minuteMs,
    5_000,
    'How often the key files are looked at: how long a rotation or a revocation takes to be in use.',
  ),
  otlpEndpoint: Type.Optional(
    Type.String({
      pattern: '^https?://[^@\\s]+$',
      maxLength: 1_024,
      description:
        'Collector that takes traces by OTLP over HTTP, `http(s)://host:port[/path]`. Default: nothing is traced.',
    }),
  ),
  ...tlsSettings,
}

/** Of what listens to callers. */
export const frontSettings = {
  httpPort: listenPort(7470, 'Port of HTTP: the JSON API and Thrift by POST.'),
  thriftPort: listenPort(7471, 'Port of framed Thrift over TCP.'),
  sessionSignatures: Type.Union([Type.Literal('thrift'), Type.Literal('all'), Type.Literal('optional')], {
    default: 'thrift',
    description:
      'Which calls of a session must be signed with its secret: those over `thrift`, `all` (JSON too), or none (`optional`, for clients that cannot). What is signed is always checked.',
  }),
  allowHmacMd5: Type.Boolean({
    default: false,
    description:
      'Whether sessions may be signed with HMAC-MD5, for old clients: those whose entry in `clientsFile` says `allowHmacMd5` too, and only when they ask for it.',
  }),
  accessTokenMs: whole(minuteMs, dayMs, 60 * minuteMs, 'Life of an access token.'),
  requestTimeoutMs: whole(1_000, 10 * minuteMs, 20_000, 'A request that has not arrived whole by then is closed.'),
  arrivingBytesMax: whole(
    // Some of the largest requests.
    8 * frameBytesMax,
    64 * 1024 * mebibyte,
    64 * mebibyte,
    'Bytes of requests that have not arrived whole, of all connections of a listener; above it they wait, and those that stall are closed.',
  ),
  // Above the longest wait of a read.
  idleTimeoutMs: whole(
    waitMsMax + 1_000,
    60 * minuteMs,
    120_000,
    'A connection without traffic for so long is closed.',
  ),
}

/** Of what decides who may do what. */
export const accessSettings = {
  policyFile: Type.Optional(
    file(
      'Who may do what (docs/policy.md), read again when it changes. Without it `dev` allows its client everything.',
    ),
  ),
  policyPollMs: whole(100, 60 * minuteMs, 5_000, 'How often the policy file is looked at.'),
}

export const allowAllCallers = Type.Boolean({
  default: false,
  description: 'Whether everybody who can log in may publish, read, create and delete every topic of its tenant.',
})

/** Of what listens to callers: who may have how many connections, and fail to log in how often. */
export const connectionSettings = {
  sharedAddresses: Type.Array(Type.String({ pattern: '^[0-9a-fA-F.:]+(/[0-9]{1,3})?$' }), {
    maxItems: 1_000,
    uniqueItems: true,
    default: ['127.0.0.0/8', '::1'],
    description:
      'Addresses behind which many callers stand, such as a load balancer: `10.1.2.3`, `10.1.0.0/16`. Neither connections nor failed logins are bounded by these.',
  }),
  // Half of `connectionsMax`: one alone never takes a listener from the others.
  addressConnectionsMax: whole(
    0,
    1_000_000,
    5_000,
    'Connections of an address at one listener, an IPv6 one with all of its /64; above it new ones are closed. 0: no limit.',
  ),
  clientConnectionsMax: whole(
    0,
    1_000_000,
    5_000,
    'Connections of a client at one listener of an API process; 0: no limit.',
  ),
  tenantConnectionsMax: whole(
    0,
    1_000_000,
    0,
    'Connections of a tenant at one listener of an API process; 0: no limit.',
  ),
  failedLoginsPerMinute: whole(
    0,
    1_000_000,
    30,
    'Failed logins of an address per client id, and per access token that is no good: so many at once, then one by one at this rate; more are answered 429. 0: no limit.',
  ),
}

const rateMax = 1_000_000_000
const perProcess = 'in one API process; 0: no limit'

/** Of what listens to callers: what tenants, clients and sessions may ask of it. */
export const quotaSettings = {
  tenantRequestsPerSecond: whole(0, rateMax, 0, `Requests per second of a tenant, ${perProcess}.`),
  tenantBytesPerSecond: whole(0, rateMax, 0, `Bytes per second of a tenant, both ways, ${perProcess}.`),
  clientRequestsPerSecond: whole(0, rateMax, 0, `Requests per second of a client, ${perProcess}.`),
  clientBytesPerSecond: whole(0, rateMax, 0, `Bytes per second of a client, both ways, ${perProcess}.`),
  sessionRequestsPerSecond: whole(0, rateMax, 0, `Requests per second of a session, ${perProcess}.`),
  sessionBytesPerSecond: whole(0, rateMax, 0, `Bytes per second of a session, both ways, ${perProcess}.`),
  tenantHeldBytesMax: whole(0, rateMax, 0, `Bytes of a tenant’s requests that are under way, ${perProcess}.`),
  clientHeldBytesMax: whole(
    0,
    rateMax,
    64 * mebibyte,
    `Bytes of a client’s requests that are under way, ${perProcess}.`,
  ),
  tenantWaitingReadsMax: whole(0, 1_000_000, 0, `Reads of a tenant that wait for events, ${perProcess}.`),
  clientWaitingReadsMax: whole(0, 1_000_000, 20_000, `Reads of a client that wait for events, ${perProcess}.`),
  heldBytesMax: whole(
    mebibyte,
    rateMax,
    256 * mebibyte,
    'Bytes of all requests that are under way in one API process. Above it only tenants below their even share are served.',
  ),
  concurrentRequestsMax: whole(
    0,
    1_000_000,
    0,
    'Requests that one API process works at once, such as 1024; fewer while its event loop is busy with them, down to 16. Others wait, each tenant for its turn. 0: all are worked as they come.',
  ),
  waitingRequestsMax: whole(
    1,
    1_000_000,
    4_096,
    'Requests that wait for their turn in one API process; above it the tenant with most of them hears TOO_MANY_REQUESTS.',
  ),
}

/** Of what checks access tokens that others issued (docs/connect.md). */
export const providerSettings = {
  oidcIssuer: Type.Optional(
    Type.String({
      pattern: '^https?://[^@#?\\s]+$',
      maxLength: 1_024,
      description:
        'Provider whose access tokens count beside our own, as its `iss` says it: `https://host[/path]`. Its subjects are called `oidc:<sub>`. Default: none.',
    }),
  ),
  oidcAudience: Type.String({
    minLength: 1,
    maxLength: 256,
    default: 'trunkline',
    description: 'What `aud` of its tokens has to contain.',
  }),
  oidcCaFile: Type.Optional(
    file('PEM of the authority that signed the certificate of `oidcIssuer`. Default: those that Node knows.'),
  ),
  providersFile: Type.Optional(
    file('Providers, when there are several or when claims have other names: JSON, see docs/connect.md.'),
  ),
  oidcKeysKeptMs: whole(
    minuteMs,
    30 * dayMs,
    dayMs,
    'How long the last known keys of a provider count while it cannot be reached; then its tokens are answered as retryable.',
  ),
  oidcAllowLoopbackHttp: Type.Boolean({
    default: false,
    description: 'Whether a provider on this machine may be asked by http, for tries and tests.',
  }),
}

const nodeIdText = {
  pattern: '^[a-zA-Z0-9-]{1,64}$',
  description: 'Name of the stream node: 1 to 64 letters, digits and hyphens. One process at a time bears it.',
} as const
export const nodeId = Type.String(nodeIdText)
export const devNodeId = Type.String({ ...nodeIdText, default: 'dev' })

/** Of what holds sessions. */
export const nodeSettings = {
  topicPartitions: whole(1, topicPartitionsMax, topicPartitionsDefault, 'Partitions of a topic made without a number.'),
  sessionLeaseMs: whole(1_000, 60 * minuteMs, leaseMs, 'A session that is silent for so long is closed.'),
  keepAliveMs: whole(100, 10 * minuteMs, keepAliveMs, 'How often an idle client renews its lease; told to clients.'),
  sessionsMax: whole(1, 1_000_000, 10_000, 'Open sessions; above it allocations answer NO_CAPACITY.'),
  clientSessionsMax: whole(0, 1_000_000, 0, 'Open sessions of a client at one node; 0: no limit of its own.'),
  tenantSessionsMax: whole(0, 1_000_000, 0, 'Open sessions of a tenant at one node; 0: no limit of its own.'),
  allocationsMax: whole(
    1,
    10_000,
    64,
    'Allocations that run at once; above it they wait up to 200 ms, then NO_CAPACITY.',
  ),
  readCacheBytes: whole(blockRawBytesMax, 64 * 1024 * mebibyte, 64 * mebibyte, 'Opened blocks kept for readers.'),
  appendBufferBytes: whole(
    // Half of it takes the largest write of a client (below).
    4 * windowBytes,
    64 * 1024 * mebibyte,
    64 * mebibyte,
    'Bytes that are staged or wait for the log; above it writes are answered as retryable. At most half of it is staged.',
  ),
  clientStagedBytesMax: whole(
    // One write of a plain topic may unpack to twice the window.
    2 * windowBytes,
    64 * 1024 * mebibyte,
    16 * mebibyte,
    'Bytes that a client has staged at one node and not yet acked; above it staging is TOO_MANY_REQUESTS.',
  ),
  tenantStagedBytesMax: whole(
    2 * windowBytes,
    64 * 1024 * mebibyte,
    24 * mebibyte,
    'Bytes that a tenant has staged at one node and not yet acked; above it staging is TOO_MANY_REQUESTS.',
  ),
}

/** Of the embedded log and of what `dev` makes beside it. */
export const embeddedSettings = {
  dataDir: Type.String({
    ...pathText,
    default: './.trunkline/data',
    description: 'Folder of the embedded log and of what `dev` makes beside it. Made with mode 0700.',
  }),
  autoCreateTopics: Type.Boolean({
    default: true,
    description: 'Whether a topic that is written to for the first time is made with the defaults.',
  }),
  topicsMax: whole(1, 100_000, 1_000, 'Topics that may exist.'),
  clientSecretFile: Type.Optional(
    secretFile('File with the secret of the client `dev`. Default: one is made and written to dev.json.'),
  ),
}

/** `trunkline keys init` makes all four. */
export const keyringFile = secretFile(
  'Keyring that wraps data keys; the same for all stream processes. `dev` makes one in its data folder.',
)
export const gatewayKeyFile = secretFile(
  'Keys of session tokens and cursors; the same for all processes. `dev` makes one in its data folder.',
)
export const signingKeyFile = secretFile('Key that signs access tokens; the same for all API processes.')
export const clientsFile = file(
  'Clients that may log in, with hashes of their secrets; the same for all API processes. `dev` has its own client too.',
)

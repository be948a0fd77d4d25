// Owns: the metrics of the API tier.
import { fastSeconds, type MetricDefinitions } from './definition.ts'

export const apiMetrics = {
  requests: {
    kind: 'counter',
    name: 'trunkline_requests_total',
    help: 'Requests by method and outcome (ok or the name of the error).',
    labels: ['method', 'outcome'],
    alarm:
      "The share of outcomes other than `ok` that are the gateway's own (`INTERNAL`, `UNAVAILABLE`, `DEADLINE`, `NO_CAPACITY`) above 1 % for 5 minutes.",
  },
  requestSeconds: {
    kind: 'histogram',
    name: 'trunkline_request_duration_seconds',
    help: 'Time from a decoded request to its answer; a read that waits includes its wait.',
    labels: ['method'],
    buckets: fastSeconds,
    alarm: 'p99 of `write` above 1 s for 10 minutes; `read` waits by design.',
  },
  errors: {
    kind: 'counter',
    name: 'trunkline_errors_total',
    help: 'Errors answered, by name of idl/errors.json.',
    labels: ['name'],
    alarm: 'Any `INTERNAL`: each is a defect and has a line in the log.',
  },
  decodeFailures: {
    kind: 'counter',
    name: 'trunkline_decode_failures_total',
    help: 'Frames or bodies that did not decode, by front.',
    labels: ['front'],
    alarm: 'A sudden rise: a client of another version or protocol.',
  },
  requestProofs: {
    kind: 'counter',
    name: 'trunkline_request_proofs_total',
    help: 'Calls of sessions by how they were proven: `signed`, `unsigned` (allowed to be), `missing`, `wrong` (both BAD_PROOF).',
    labels: ['outcome'],
    alarm: 'Any `wrong`: a client that computes MACs differently, or somebody who changes requests on their way.',
  },
  quotaRefusals: {
    kind: 'counter',
    name: 'trunkline_quota_refusals_total',
    help: 'Requests refused as TOO_MANY_REQUESTS by a limit of this process, and connections that were not let in, by limit.',
    labels: ['limit'],
    alarm:
      '`held bytes of the process`: it is asked for more than it can take; start more API processes. `address connections`, `failed logins`: somebody tries, or a load balancer is not in `sharedAddresses`; the log says from where.',
  },
  heldBytes: {
    kind: 'gauge',
    name: 'trunkline_held_bytes',
    help: 'Bytes of requests that are under way in this process; bounded by heldBytesMax (twice that at the worst).',
    labels: [],
  },
  requestPlaces: {
    kind: 'gauge',
    name: 'trunkline_request_places',
    help: 'Requests that may run at once in this process; it follows how busy the event loop is.',
    labels: [],
  },
  waitingRequests: {
    kind: 'gauge',
    name: 'trunkline_waiting_requests',
    help: 'Requests that wait for their turn in this process; bounded by waitingRequestsMax.',
    labels: [],
    alarm: 'Above 100 for 5 minutes: it is asked for more than it can do; tenants with little to ask are still served.',
  },
  requestWaitSeconds: {
    kind: 'histogram',
    name: 'trunkline_request_wait_seconds',
    help: 'How long requests waited that could not start at once.',
    labels: [],
    buckets: fastSeconds,
  },
  tcpConnections: {
    kind: 'gauge',
    name: 'trunkline_tcp_connections',
    help: 'Open connections of the Thrift listener.',
    labels: [],
    alarm: 'Above 80 % of `connectionsMax`.',
  },
  httpConnections: {
    kind: 'gauge',
    name: 'trunkline_http_connections',
    help: 'Open connections of the HTTP listener.',
    labels: [],
    alarm: 'Above 80 % of `connectionsMax`.',
  },
  arrivingBytes: {
    kind: 'gauge',
    name: 'trunkline_arriving_bytes',
    help: 'Places taken by requests that have not arrived whole, by listener (http, thrift); small requests take none.',
    labels: ['listener'],
    alarm:
      'Above 80 % of `arrivingBytesMax`: somebody holds requests open, or large ones come faster than the network brings them.',
  },
  arrivalsCut: {
    kind: 'counter',
    name: 'trunkline_arrivals_cut_total',
    help: 'Requests that were cut before they were whole, to make room for others, by listener.',
    labels: ['listener'],
  },
  switchWaiting: {
    kind: 'gauge',
    name: 'trunkline_switch_waiting',
    help: 'Envelopes of this process that wait for a stream node, by kind (allocate: for any node, call: for one).',
    labels: ['kind'],
    alarm: '`allocate` above 0 for more than 10 s: no node takes allocations.',
  },
  logins: {
    kind: 'counter',
    name: 'trunkline_logins_total',
    help: "Requests for the gateway's own access tokens, by outcome (ok, unknown_client, wrong_secret, slowed, bad_request, failed).",
    labels: ['outcome'],
    alarm:
      'A sudden rise of `wrong_secret`: a secret was changed, or somebody tries; the log says which client and where from.',
  },
  accessDecisions: {
    kind: 'counter',
    name: 'trunkline_access_decisions_total',
    help: 'Decisions about who may do what, by action (any: one of several was enough; hmac-md5: a session that is signed so) and outcome (allowed, denied).',
    labels: ['action', 'outcome'],
    alarm: 'A sudden rise of `denied`: a right was taken away or never given, or somebody tries; the audit says who.',
  },
  auditSuppressed: {
    kind: 'counter',
    name: 'trunkline_audit_suppressed_total',
    help: 'Denials that the audit counted and did not tell one by one.',
    labels: [],
    alarm: 'Any: somebody is denied more than 20 times a second.',
  },
  policyLoads: {
    kind: 'counter',
    name: 'trunkline_policy_loads_total',
    help: 'Policy files that were taken (ok) or refused (failed); after a refusal the one before holds.',
    labels: ['outcome'],
    alarm: 'Any `failed`: the log names what is wrong, and changes since then do not count.',
  },
  providerFetches: {
    kind: 'counter',
    name: 'trunkline_provider_fetches_total',
    help: "Fetches of a provider's keys, by provider and outcome (ok, or why there are no newer ones).",
    labels: ['provider', 'outcome'],
  },
  providerKeysAge: {
    kind: 'gauge',
    name: 'trunkline_provider_keys_age_seconds',
    help: 'Since the keys of a provider were fetched; absent before the first time.',
    labels: ['provider'],
    alarm: 'Above 1 h: the provider cannot be reached. At `oidcKeysKeptMs` its callers are locked out.',
  },
} as const satisfies MetricDefinitions

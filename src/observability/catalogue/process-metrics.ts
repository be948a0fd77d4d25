// Owns: the metrics that every process has.
import type { MetricDefinitions } from './definition.ts'

export const processMetrics = {
  buildInfo: {
    kind: 'gauge',
    name: 'trunkline_build_info',
    help: 'Always 1; the version is a label.',
    labels: ['version', 'node_version'],
  },
  spans: {
    kind: 'counter',
    name: 'trunkline_trace_spans_total',
    help: 'Spans that ended, by what became of them (exported, failed or dropped).',
    labels: ['outcome'],
    alarm: '`dropped` or `failed` for more than 10 minutes: the collector is slow or away. Nothing else is affected.',
  },
  spansPending: {
    kind: 'gauge',
    name: 'trunkline_trace_spans_pending',
    help: 'Spans that wait for the collector.',
    labels: [],
  },
  tlsCertificateExpiry: {
    kind: 'gauge',
    name: 'trunkline_tls_certificate_expiry_timestamp_seconds',
    help: 'When the certificate that a listener shows ends (its chain: whichever ends first), as a Unix time. Absent without TLS.',
    labels: ['listener'],
    alarm:
      'Less than 14 days ahead: it was not renewed, or the renewed one was not taken (`trunkline_tls_reloads_total`).',
  },
  tlsReloads: {
    kind: 'counter',
    name: 'trunkline_tls_reloads_total',
    help: 'Replaced TLS files of the listeners, by outcome: ok (taken), failed (not as they should be; counted at every look).',
    labels: ['outcome'],
    alarm:
      'Any `failed` for more than two looks (`tlsReloadMs`): the certificate from before is still shown; the log names the file.',
  },
  tlsHandshakeFailures: {
    kind: 'counter',
    name: 'trunkline_tls_handshake_failures_total',
    help: 'Connections to a TLS listener that came to nothing, by reason (timeout, not-tls, version, certificate, closed, other).',
    labels: ['listener', 'reason'],
    alarm:
      'A sudden rise: clients that do not trust the certificate (`other`, `closed`), or show a bad one (`certificate`).',
  },
  keyFileReloads: {
    kind: 'counter',
    name: 'trunkline_key_file_reloads_total',
    help: 'Key files that were read again after a change, by file (keyring, rewrapped-keys, gateway-keys) and outcome (loaded, refused).',
    labels: ['file', 'outcome'],
    alarm:
      'Any `refused`: the keys that were loaded stay in use, and a rotation or revocation does not reach this process.',
  },
  keyFileRevision: {
    kind: 'gauge',
    name: 'trunkline_key_file_revision',
    help: 'Revision of the key file that is in use. The same everywhere before `trunkline keys rotate --activate`.',
    labels: ['file'],
  },
} as const satisfies MetricDefinitions

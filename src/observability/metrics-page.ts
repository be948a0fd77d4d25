// Owns: the text of docs/metrics.md, made from the catalogue.
import type { MetricDefinition } from './catalogue/definition.ts'
import { metricSections } from './metric-catalogue.ts'
import { spanAttributes, spanMeanings } from './tracing.ts'

/** Deterministic; ends with a line end. */
export function metricsPage(): string {
  const sections = metricSections.map(({ title, metrics }) => section(title, Object.values(metrics)))
  return `# Metrics and traces

<!-- Made by \`npm run generate\` from src/observability: edit there. -->

\`GET /metrics\` on the admin port answers the text format of Prometheus: the metrics below, and CPU, memory, event loop
and garbage collection of the process under the names of prom-client. A process counts what belongs to its role; what
belongs to others stays at 0 or is absent. Under \`trunkline dev\` one process has both roles. Names and labels are stable. No label holds a topic, client or session, and no
metric has more than 500 label sets: further ones are counted under \`other\`.

The last column says when a person should hear of it. Thresholds are starting points. Metrics without one explain
the others.

${sections.join('\n')}
## Traces

Off by default: without an endpoint nothing is recorded and nothing leaves. With one, spans go to an OpenTelemetry
collector by OTLP over HTTP. A caller's \`traceparent\` header (HTTP, \`POST /thrift\` included) is the parent, and its
sampling is followed; a request without one begins a trace. Thrift over TCP has no place for it: each call begins its
own trace. \`tracestate\` and baggage are not passed on. The collector's credentials, where it wants some, are taken
from \`OTEL_EXPORTER_OTLP_HEADERS\`.

| span | measures |
|---|---|
${Object.entries(spanMeanings).map(row).join('\n')}

A batch joins writes of many callers, so it is a trace of its own, with a link to each traced write (128 at most).

Spans hold these attributes, and \`error.type\` with a name of [errors](errors.md); never keys, headers, ids or payloads
of events, nor tokens: ${Object.values(spanAttributes)
    .map((name) => `\`${name}\``)
    .join(', ')}.

A collector that is slow or away holds nothing up: at most 4,096 spans wait, further ones are dropped and counted
(\`trunkline_trace_spans_total\`).
`
}

function section(title: string, metrics: readonly MetricDefinition[]): string {
  const rows = metrics.map(({ name, kind, labels, help, alarm = '' }) => {
    const labelled = labels.map((label) => `\`${label}\``).join(', ')
    return row([`\`${name}\``, kind, labelled, help, alarm])
  })
  return `## ${title}

| metric | kind | labels | meaning | alarm |
|---|---|---|---|---|
${rows.join('\n')}
`
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

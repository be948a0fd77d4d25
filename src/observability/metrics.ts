// Owns: counting. Instruments are typed by the catalogue: a wrong metric or label does not compile.
// 1. A registry of its own, never prom-client's global one: two gateways in one process do not mix.
// 2. Bounded: a metric has at most `seriesMax` label sets; further ones are counted under the value `other`.
// 3. Counting never throws into the work that is counted: a value that is not finite is dropped.
// Leaves out: serving the text (api-tier's admin app).
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { type MetricCatalogue, type MetricDefinition, metricCatalogue } from './metric-catalogue.ts'

export type LabelsOf<Definition extends MetricDefinition> = { readonly [Label in Definition['labels'][number]]: string }

export interface CounterInstrument<Labels> {
  /** Default 1. */
  add(labels: Labels, amount?: number): void
}

export interface GaugeInstrument<Labels> {
  add(labels: Labels, amount: number): void
  set(labels: Labels, value: number): void
  /** Read at every scrape instead of being set. A later `read` replaces it. */
  readFrom(labels: Labels, read: () => number): void
}

export interface HistogramInstrument<Labels> {
  /** In the unit of the metric's name. */
  observe(labels: Labels, value: number): void
}

type InstrumentOf<Definition extends MetricDefinition> = Definition['kind'] extends 'counter'
  ? CounterInstrument<LabelsOf<Definition>>
  : Definition['kind'] extends 'gauge'
    ? GaugeInstrument<LabelsOf<Definition>>
    : HistogramInstrument<LabelsOf<Definition>>

/** One instrument per entry of the catalogue. */
export type Metrics = { readonly [Name in keyof MetricCatalogue]: InstrumentOf<MetricCatalogue[Name]> }

export interface MetricsRegistry {
  readonly metrics: Metrics
  readonly contentType: string
  /** The exposition text. */
  text(): Promise<string>
}

export interface MetricsOptions {
  /** Label sets per metric. Default 500. */
  readonly seriesMax?: number
  /** CPU, memory, event loop and GC of the process, under prom-client's own names. Default true. */
  readonly processDefaults?: boolean
}

type AnyLabels = Readonly<Record<string, string>>
interface AnyInstrument {
  add(labels: AnyLabels, amount?: number): void
  set(labels: AnyLabels, value: number): void
  readFrom(labels: AnyLabels, read: () => number): void
  observe(labels: AnyLabels, value: number): void
}

export function createMetrics(options: MetricsOptions = {}): MetricsRegistry {
  const { seriesMax = 500, processDefaults = true } = options
  const registry = new Registry()
  if (processDefaults) collectDefaultMetrics({ register: registry })
  return {
    metrics: instrumentsOf((definition) => liveInstrument(registry, definition, seriesMax)),
    contentType: registry.contentType,
    text: () => registry.metrics(),
  }
}

/** Counts nothing. */
export const nullMetrics: Metrics = instrumentsOf(() => ({
  add: () => undefined,
  set: () => undefined,
  readFrom: () => undefined,
  observe: () => undefined,
}))

function instrumentsOf(make: (definition: MetricDefinition) => AnyInstrument): Metrics {
  const entries = Object.entries(metricCatalogue).map(([name, definition]) => [name, make(definition)])
  // The one place where the catalogue's types and its values are tied together.
  return Object.fromEntries(entries) as Metrics
}

function liveInstrument(registry: Registry, definition: MetricDefinition, seriesMax: number): AnyInstrument {
  const bound = seriesBound(definition.labels, seriesMax)
  const common = {
    name: definition.name,
    help: definition.help,
    labelNames: [...definition.labels],
    registers: [registry],
  }
  const unfit = (): never => {
    throw new Error(`${definition.name} is a ${definition.kind}`)
  }
  const none = { add: unfit, set: unfit, readFrom: unfit, observe: unfit }
  switch (definition.kind) {
    case 'counter': {
      const counter = new Counter(common)
      return {
        ...none,
        add: (labels, amount = 1) => {
          if (Number.isFinite(amount) && amount >= 0) counter.inc(bound(labels), amount)
        },
      }
    }
    case 'gauge': {
      const reads = new Map<string, { readonly labels: AnyLabels; readonly read: () => number }>()
      const gauge = new Gauge({
        ...common,
        collect() {
          for (const { labels, read } of reads.values()) this.set(labels, read())
        },
      })
      return {
        ...none,
        add: (labels, amount = 1) => {
          if (Number.isFinite(amount)) gauge.inc(bound(labels), amount)
        },
        set: (labels, value) => {
          if (Number.isFinite(value)) gauge.set(bound(labels), value)
        },
        readFrom: (labels, read) => {
          const kept = bound(labels)
          reads.set(JSON.stringify(kept), { labels: kept, read })
        },
      }
    }
    case 'histogram': {
      const histogram = new Histogram({ ...common, buckets: [...(definition.buckets ?? [])] })
      return {
        ...none,
        observe: (labels, value) => {
          if (Number.isFinite(value)) histogram.observe(bound(labels), value)
        },
      }
    }
  }
}

/** Answers the labels themselves, or all `other` for label sets beyond the first `seriesMax`. */
function seriesBound(names: readonly string[], seriesMax: number): (labels: AnyLabels) => AnyLabels {
  const known = new Set<string>()
  return (labels) => {
    const series = names.map((name) => labels[name]).join('\u0000')
    if (known.has(series)) return labels
    if (known.size < seriesMax) {
      known.add(series)
      return labels
    }
    return Object.fromEntries(names.map((name) => [name, 'other']))
  }
}

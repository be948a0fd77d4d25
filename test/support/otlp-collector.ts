// Owns: a collector of OTLP/HTTP traces for tests: records what comes, or misbehaves as asked.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface CollectedSpan {
  readonly name: string
  readonly kind: number
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly attributes: Readonly<Record<string, string | number>>
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[]
  readonly isError: boolean
  readonly service: string
}

export type Manner = 'well' | 'silent' | 'refusing'

export class OtlpCollector {
  readonly #server: Server
  /** Bodies as they came. */
  readonly bodies: string[] = []
  manner: Manner = 'well'

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(manner: Manner = 'well'): Promise<OtlpCollector> {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        collector.bodies.push(`${request.url}\n${Buffer.concat(chunks).toString()}`)
        if (collector.manner === 'silent') return
        response.writeHead(collector.manner === 'well' ? 200 : 400, { 'content-type': 'application/json' }).end('{}')
      })
    })
    const collector = new OtlpCollector(server)
    collector.manner = manner
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return collector
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  get spans(): readonly CollectedSpan[] {
    return this.bodies.flatMap((body) => spansOf(JSON.parse(body.slice(body.indexOf('\n') + 1)) as OtlpRequest))
  }

  named(name: string): readonly CollectedSpan[] {
    return this.spans.filter((span) => span.name === name)
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

interface OtlpAttribute {
  readonly key: string
  readonly value: { readonly stringValue?: string; readonly intValue?: number | string }
}
/** What is looked at of the body; the packages write it, this test double trusts them. */
interface OtlpRequest {
  readonly resourceSpans?: readonly {
    readonly resource: { readonly attributes: readonly OtlpAttribute[] }
    readonly scopeSpans: readonly { readonly spans: readonly OtlpSpan[] }[]
  }[]
}
interface OtlpSpan extends Pick<CollectedSpan, 'name' | 'kind' | 'traceId' | 'spanId' | 'parentSpanId'> {
  readonly attributes?: readonly OtlpAttribute[]
  readonly links?: CollectedSpan['links']
  readonly status?: { readonly code?: number }
}

function spansOf({ resourceSpans = [] }: OtlpRequest): CollectedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map(({ name, kind, traceId, spanId, parentSpanId, attributes, links = [], status }) => ({
        name,
        kind,
        traceId,
        spanId,
        parentSpanId,
        attributes: attributesOf(attributes),
        links: links.map((link) => ({ traceId: link.traceId, spanId: link.spanId })),
        isError: status?.code === 2,
        service: String(attributesOf(resource.attributes)['service.name']),
      })),
    ),
  )
}

function attributesOf(list: readonly OtlpAttribute[] = []): Record<string, string | number> {
  return Object.fromEntries(list.map(({ key, value }) => [key, value.stringValue ?? Number(value.intValue)]))
}

// Owns: what one request of Kafka's protocol is: its number, its version, how it is written and its answer read.
// Leaves out: the requests themselves (api-*.ts), how they travel (connection.ts).
import type { WireReader, WireWriter } from './wire.ts'

export type ApiName =
  | 'Produce'
  | 'Fetch'
  | 'ListOffsets'
  | 'Metadata'
  | 'FindCoordinator'
  | 'CreateTopics'
  | 'DeleteTopics'
  | 'InitProducerId'
  | 'DescribeConfigs'

export const apiKeys: Readonly<Record<ApiName, number>> = {
  Produce: 0,
  Fetch: 1,
  ListOffsets: 2,
  Metadata: 3,
  FindCoordinator: 10,
  CreateTopics: 19,
  DeleteTopics: 20,
  InitProducerId: 22,
  DescribeConfigs: 32,
}

export interface ApiRequest<T> {
  readonly name: ApiName
  readonly version: number
  /** Compact lengths, and tagged fields behind each structure and both headers. */
  readonly flexible: boolean
  readonly body: (writer: WireWriter) => void
  readonly parse: (reader: WireReader) => T
}

// Owns: FindCoordinator v1 (of a transactional id) and InitProducerId v1.
import type { ApiRequest } from './api.ts'
import type { BrokerAddress } from './api-metadata.ts'

const transactionCoordinator = 1
/** No transaction is ever begun; the broker wants a bound all the same. */
const transactionTimeoutMs = 60_000

export interface CoordinatorAnswer {
  readonly error: number
  readonly at: BrokerAddress
}

export function findCoordinatorRequest(transactionalId: string): ApiRequest<CoordinatorAnswer> {
  return {
    name: 'FindCoordinator',
    version: 1,
    flexible: false,
    body: (writer) => writer.string(transactionalId).int8(transactionCoordinator),
    parse: (reader) => {
      reader.int32()
      const error = reader.int16()
      reader.nullableString()
      return { error, at: { nodeId: reader.int32(), host: reader.string(), port: reader.int32() } }
    },
  }
}

export interface ProducerIdAnswer {
  readonly error: number
  readonly pid: number
  readonly epoch: number
}

export function initProducerIdRequest(transactionalId: string): ApiRequest<ProducerIdAnswer> {
  return {
    name: 'InitProducerId',
    version: 1,
    flexible: false,
    body: (writer) => writer.string(transactionalId).int32(transactionTimeoutMs),
    parse: (reader) => {
      reader.int32()
      return { error: reader.int16(), pid: reader.int64(), epoch: reader.int16() }
    },
  }
}

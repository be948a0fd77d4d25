// Owns: the public names of @trunkline/client.
import { TrunklineError } from '../../../src/protocol/errors.ts'

export type { RetryPolicy } from '../../../src/fsm/client/client-session.types.ts'
export type { ErrorName } from '../../../src/protocol/errors.ts'
export { TrunklineError } from '../../../src/protocol/errors.ts'
export type { DescribeReply, Limits, TopicDescription } from '../../../src/protocol/messages.ts'
export type { ProducerOptions, ReaderOptions, StartPosition } from './client.ts'
export { TrunklineClient } from './client.ts'
export type { EventInput, Position } from './events.ts'
export { ReceivedEvent } from './events.ts'
export type { ConnectOptions, Credentials } from './node/connect.ts'
export { connect } from './node/connect.ts'
export type { TlsOptions } from './node/tls.ts'
export { Producer } from './producer.ts'
export { Batch, Reader } from './reader.ts'
export type { TroubleReport } from './trouble.ts'

/** Whether it is an error of Trunkline, and of one of these names when any is given. */
export function isTrunklineError(
  thrown: unknown,
  ...names: readonly TrunklineError['name'][]
): thrown is TrunklineError {
  return thrown instanceof TrunklineError && (names.length === 0 || names.includes(thrown.name))
}

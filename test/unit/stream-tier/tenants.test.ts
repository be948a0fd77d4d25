// A5: a topic is of one tenant, whatever reaches a node.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { envelopeVersion } from '../../../src/protocol/envelope.ts'
import { decodeAnswer, encodeEnvelope } from '../../../src/protocol/envelope-codec.ts'
import { errorFromStruct } from '../../../src/protocol/error-struct.ts'
import { parseTopicName } from '../../../src/protocol/ids.ts'
import { mode } from '../../../src/protocol/messages.ts'
import { encodeStruct } from '../../../src/protocol/thrift/codec.ts'
import { methodSchemas } from '../../../src/protocol/thrift/schemas.ts'
import { NodeWorld } from './node-world.ts'

let world: NodeWorld
beforeEach(() => {
  world = new NodeWorld()
})
afterEach(() => world.cluster.stop())

/** As an API process would that did not look at names. */
async function allocate(topic: string, tenant: string, allocateMode: number): Promise<string> {
  const envelope = encodeEnvelope({
    version: envelopeVersion,
    method: 'allocate',
    requestId: 'r',
    principal: { subject: 's', clientId: 'c', tenant, expiresAtMs: Number.MAX_SAFE_INTEGER },
    body: encodeStruct(methodSchemas.allocate.request, { topic, mode: allocateMode }),
  })
  const outcome = await world.during(world.hub.connect().allocate(envelope, { deadlineMs: 5_000 }))
  if (outcome.kind !== 'answered') return outcome.kind
  const { error } = decodeAnswer(outcome.body)
  return error === undefined ? 'allocated' : errorFromStruct(error).name
}

describe('a node', () => {
  it('given a caller of another tenant, then its topics are not there; those of the caller’s own are', async () => {
    const owned = 'tl-acme.quakes'
    world.cluster.createTopic({ name: parseTopicName(owned), partitions: 1, format: 'sealed' })
    await world.start()
    for (const allocateMode of [mode.read, mode.write]) {
      expect(await allocate(owned, 'acme', allocateMode)).toBe('allocated')
      expect(await allocate('quakes', 'default', allocateMode)).toBe('allocated')
      expect(await allocate('quakes', 'acme', allocateMode)).toBe('UNKNOWN_TOPIC')
      expect(await allocate(owned, 'default', allocateMode)).toBe('UNKNOWN_TOPIC')
      expect(await allocate(owned, 'acm', allocateMode)).toBe('UNKNOWN_TOPIC')
    }
  })
})

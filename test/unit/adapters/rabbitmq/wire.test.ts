// Owns: messages between parties survive the way, and nothing else is taken for one.

import type { Message } from 'amqplib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseMessage, propertiesOf } from '../../../../src/adapters/rabbitmq/wire.ts'

function message(properties: unknown, content = Buffer.alloc(0)): Message {
  return { fields: {}, properties, content } as Message
}

describe('the wire', () => {
  test('given all fields, then they arrive', () => {
    const fields = { sender: 's', sentAtMs: 1234.5, leftMs: 99.9, key: 'n.e1', queue: 'q', bytes: 70_000 }
    const parsed = parseMessage(message(propertiesOf('call', 'id', fields, 'reply'), Buffer.from([1, 2])))
    const expected = { kind: 'call', id: 'id', replyTo: 'reply', refused: false, body: Uint8Array.of(1, 2), ...fields }
    expect(parsed).toEqual({ kind: 'ours', message: expected })
  })

  test('given a request that its queue gave back, then that shows', () => {
    const properties = propertiesOf('allocate', 'id')
    const parsed = parseMessage(message({ ...properties, headers: { ...properties.headers, 'x-death': [{}] } }))
    expect(parsed).toMatchObject({ kind: 'ours', message: { refused: true } })
  })

  test.each([
    [{}, 'foreign'],
    [{ appId: 'other' }, 'foreign'],
    [{ appId: 'trunkline' }, 'foreign'],
    [{ appId: 'trunkline/2', type: 'call', correlationId: '1', replyTo: 'r' }, 'version'],
    [{ appId: 'trunkline/1' }, 'malformed'],
    [{ appId: 'trunkline/1', type: 'toString' }, 'malformed'],
  ])('given %j, then it is %s', (properties, kind) => {
    expect(parseMessage(message(properties)).kind).toBe(kind)
  })

  test('given any properties, then nothing is thrown', () => {
    const properties = fc.record({
      appId: fc.oneof(fc.constant('trunkline/1'), fc.anything()),
      type: fc.oneof(fc.constant('call'), fc.anything()),
      correlationId: fc.anything(),
      replyTo: fc.anything(),
      headers: fc.anything(),
    })
    fc.assert(
      fc.property(properties, (all) => {
        const parsed = parseMessage(message(all))
        if (parsed.kind !== 'ours') return
        expect(typeof parsed.message.id).toBe('string')
        expect(typeof parsed.message.replyTo).toBe('string')
        for (const value of [parsed.message.sentAtMs, parsed.message.leftMs, parsed.message.bytes])
          expect(value === undefined || value >= 0).toBe(true)
      }),
    )
  })
})

// Owns: the producer against a gateway in memory: what it answers, in which order, and what survives which loss.
import { expect, test } from 'vitest'
import { FakeGateway } from './support/fake-gateway.ts'

test('Given a gateway, when events are published, then each gets its position, in order', async () => {
  const gateway = new FakeGateway()
  const client = gateway.client()
  const producer = client.producer('t')
  const published = producer.publish([{ key: 'a', payload: '1' }, { key: 'b', payload: '2' }, { key: 'a', payload: '3' }])
  await gateway.clock.advance(100)
  const positions = await published
  expect(positions).toHaveLength(3)
  const byPosition = new Map(gateway.events().map((e) => [`${e.partition}:${e.offset}:${e.index}`, new TextDecoder().decode(e.payload)]))
  expect(positions.map((p) => byPosition.get(String(p)))).toEqual(['1', '2', '3'])
})

import { describe, expect, it } from 'vitest'
import { positionAt } from '../../../../sdk/typescript/src/events.ts'
import { ndjsonLine, printed } from '../../../../src/main/cli/event-output.ts'

type PrintedEvent = Parameters<typeof ndjsonLine>[0]

function event(payload: string | Uint8Array, more: Partial<PrintedEvent> = {}): PrintedEvent {
  return {
    key: undefined,
    payload: typeof payload === 'string' ? Buffer.from(payload) : payload,
    headers: new Map(),
    timestampMs: Date.UTC(2026, 0, 31, 12),
    id: undefined,
    type: undefined,
    source: undefined,
    position: positionAt(3, 1042, 7),
    ...more,
  }
}

describe('an event as a line of ndjson', () => {
  it('has its members in a fixed order', () => {
    const full = event('{"mag":4.6}', {
      key: Buffer.from('us'),
      id: 'us1',
      type: 'quake',
      source: '/clients/dev',
      headers: new Map([['content-type', 'application/json']]),
    })
    expect(ndjsonLine(full)).toBe(
      '{"position":"3:1042:7","key":"us","id":"us1","type":"quake","source":"/clients/dev",' +
        '"time":"2026-01-31T12:00:00.000Z","headers":{"content-type":"application/json"},"payload":{"mag":4.6}}',
    )
  })

  it.each<[string, string]>([
    ['digits beyond 2^53', '{"n":12345678901234567890,"z":1.0}'],
    ['a member twice', '{"a":1,"a":2}'],
    ['a scalar', '42'],
    ['spaces', '[1,  2]'],
  ])('given JSON with %s, keeps it as it was written', (_, payload) => {
    expect(ndjsonLine(event(payload))).toContain(`"payload":${payload}}`)
  })

  it('given JSON over several lines, is one line that means the same', () => {
    const payload = '{\n  "a": "x\\ny",\r\n  "b": [1,\n2]\n}'
    const line = ndjsonLine(event(payload))
    expect(line).not.toMatch(/[\r\n]/)
    expect(JSON.parse(line)).toMatchObject({ payload: JSON.parse(payload) as unknown })
  })

  it('given text, bytes and nothing, says how the payload is written', () => {
    expect(JSON.parse(ndjsonLine(event('plain\ntext')))).toMatchObject({
      payload: 'plain\ntext',
      payloadEncoding: 'text',
    })
    expect(JSON.parse(ndjsonLine(event('')))).toMatchObject({ payload: '', payloadEncoding: 'text' })
    expect(JSON.parse(ndjsonLine(event(Uint8Array.of(0xff, 1))))).toMatchObject({
      payload: '/wE=',
      payloadEncoding: 'base64',
    })
    expect(JSON.parse(ndjsonLine(event('"quoted"')))).not.toHaveProperty('payloadEncoding')
  })

  it('given a key that is not UTF-8, writes it as base64', () => {
    expect(JSON.parse(ndjsonLine(event('1', { key: Uint8Array.of(0xff) })))).toMatchObject({
      key: '/w==',
      keyEncoding: 'base64',
    })
  })

  it('given a header named __proto__, keeps it', () => {
    const line = ndjsonLine(event('1', { headers: new Map([['__proto__', 'x']]) }))
    expect(line).toContain('"headers":{"__proto__":"x"}')
  })

  it('given a time beyond the calendar, writes the number', () => {
    expect(JSON.parse(ndjsonLine(event('1', { timestampMs: 9e15 })))).toMatchObject({ time: 9e15 })
  })
})

describe('events as payloads', () => {
  it('are their bytes, each with a line end', () => {
    const bytes = printed([event('a'), event(Uint8Array.of(0xff)), event('')], 'payload')
    expect([...bytes]).toEqual([0x61, 10, 0xff, 10, 10])
  })
})

import { describe, expect, it } from 'vitest'
import { eventOfLine, type InputShape } from '../../../../src/main/cli/event-input.ts'

const ndjson: InputShape = { format: 'ndjson' }
const bytesOf = (text: string): Uint8Array => Buffer.from(text)

function eventOf(text: string, shape: InputShape): Record<string, unknown> {
  const result = eventOfLine(bytesOf(text), shape)
  if (result.kind !== 'event') throw new Error(`no event: ${JSON.stringify(result)}`)
  return { ...result.event }
}

function whyOf(text: string | Uint8Array | undefined, shape: InputShape): string {
  const result = eventOfLine(typeof text === 'string' ? bytesOf(text) : text, shape)
  if (result.kind !== 'bad') throw new Error(`not bad: ${result.kind}`)
  return result.why
}

describe('a line of ndjson', () => {
  it('given JSON, takes the bytes of the line as they stand', () => {
    const line = '{"big": 12345678901234567890, "pi":3.10,  "s":"é"}'
    const event = eventOf(line, ndjson)
    expect(Buffer.from(event['payload'] as Uint8Array).toString()).toBe(line)
    expect(event['headers']).toEqual(new Map([['content-type', 'application/json']]))
    expect(event).not.toHaveProperty('key')
    expect(event).not.toHaveProperty('id')
  })

  it('given fields, takes key, id and time from them, also from members of members', () => {
    const shape: InputShape = { format: 'ndjson', keyField: 'a.b', idField: 'id', timeField: 'at' }
    const event = eventOf('{"a":{"b":"k"},"id":7,"at":"2026-01-31T12:00:00Z"}', shape)
    expect(Buffer.from(event['key'] as Uint8Array).toString()).toBe('k')
    expect(event).toMatchObject({ id: '7', timestamp: Date.UTC(2026, 0, 31, 12) })
  })

  it('given a member whose own name has dots, prefers it', () => {
    const event = eventOf('{"a.b":"own","a":{"b":"nested"}}', { format: 'ndjson', keyField: 'a.b' })
    expect(Buffer.from(event['key'] as Uint8Array).toString()).toBe('own')
  })

  it('given __proto__ as a field, takes the member of that name and nothing inherited', () => {
    const shape: InputShape = { format: 'ndjson', keyField: '__proto__' }
    expect(Buffer.from(eventOf('{"__proto__":"mine"}', shape)['key'] as Uint8Array).toString()).toBe('mine')
    expect(whyOf('{}', shape)).toContain('no field __proto__')
    expect(whyOf('{}', { format: 'ndjson', keyField: 'constructor.name' })).toContain('no field')
  })

  it('given a blank line, leaves it out', () => {
    expect(eventOfLine(bytesOf('  \t'), ndjson)).toEqual({ kind: 'skip' })
  })

  it.each<[string, string | Uint8Array | undefined, InputShape, string]>([
    ['no JSON', '{"secret-content', ndjson, 'not JSON'],
    ['bytes that are not UTF-8', Uint8Array.of(0x22, 0xff, 0x22), ndjson, 'not UTF-8'],
    ['a missing field', '{"a":1}', { format: 'ndjson', keyField: 'b' }, 'no field b'],
    ['a field of a scalar', '"text"', { format: 'ndjson', keyField: 'b' }, 'no field b'],
    ['an object as the key', '{"b":{}}', { format: 'ndjson', keyField: 'b' }, 'b is neither text nor a number'],
    ['null as the id', '{"b":null}', { format: 'ndjson', idField: 'b' }, 'b is neither text nor a number'],
    ['a time that is none', '{"b":"tomorrow"}', { format: 'ndjson', timeField: 'b' }, 'b is not a time'],
    ['a time with a fraction', '{"b":1.5}', { format: 'ndjson', timeField: 'b' }, 'b is not a time'],
    ['a line that was too long', undefined, ndjson, 'longer than an event may be'],
    ['an event above the limit with what belongs to it', `"${'x'.repeat(896 * 1024 - 20)}"`, ndjson, 'above the limit'],
    [
      'a lone surrogate in the id',
      '{"b":"\\ud800"}',
      { format: 'ndjson', idField: 'b' },
      'id: text is not well-formed',
    ],
  ])('given %s, says why and never quotes the line', (_, line, shape, why) => {
    expect(whyOf(line, shape)).toContain(why)
    expect(whyOf(line, shape)).not.toContain('secret')
  })
})

describe('a plain line', () => {
  it('given any bytes, takes them as the payload', () => {
    for (const bytes of [Uint8Array.of(0xff, 0x00), new Uint8Array(), bytesOf('{"not":"looked at"')]) {
      expect(eventOfLine(bytes, { format: 'lines' })).toMatchObject({ kind: 'event', event: { payload: bytes } })
    }
  })
})

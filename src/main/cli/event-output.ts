// Owns: an event of `read` → a line of ndjson, or its payload.
// 1. A payload that is JSON stands in the line as it was written, digit for digit; only line ends outside of its texts
//    become spaces. What is not JSON is text, what is not UTF-8 is base64: `payloadEncoding` says so.
import type { ReceivedEvent } from '../../../sdk/typescript/src/events.ts'
import { decodeUtf8 } from '../../protocol/utf8.ts'
import { timeText } from './times.ts'

export const outputForms = ['ndjson', 'payload'] as const
export type OutputForm = (typeof outputForms)[number]

type PrintedEvent = Pick<
  ReceivedEvent,
  'key' | 'payload' | 'headers' | 'timestampMs' | 'id' | 'type' | 'source' | 'position'
>

/** All of it in one piece, each event with a line end. */
export function printed(events: readonly PrintedEvent[], form: OutputForm): Uint8Array {
  if (form === 'payload') return Buffer.concat(events.flatMap((event) => [event.payload, lineEnd]))
  return Buffer.from(events.map((event) => `${ndjsonLine(event)}\n`).join(''), 'utf8')
}

const lineEnd = Uint8Array.of(0x0a)

export function ndjsonLine(event: PrintedEvent): string {
  const members = [
    member('position', event.position.toString()),
    ...keyMembers(event.key),
    ...(event.id === undefined ? [] : [member('id', event.id)]),
    ...(event.type === undefined ? [] : [member('type', event.type)]),
    ...(event.source === undefined ? [] : [member('source', event.source)]),
    member('time', timeText(event.timestampMs)),
    ...(event.headers.size === 0
      ? []
      : [`"headers":{${[...event.headers].map(([name, value]) => member(name, value)).join(',')}}`]),
    ...payloadMembers(event.payload),
  ]
  return `{${members.join(',')}}`
}

function keyMembers(key: Uint8Array | undefined): string[] {
  if (key === undefined) return []
  const text = decodeUtf8(key, 0, key.length)
  return text === undefined ? [member('key', base64(key)), member('keyEncoding', 'base64')] : [member('key', text)]
}

function payloadMembers(payload: Uint8Array): string[] {
  const text = decodeUtf8(payload, 0, payload.length)
  if (text === undefined) return [member('payload', base64(payload)), member('payloadEncoding', 'base64')]
  if (isJson(text)) return [`"payload":${text.replaceAll(/[\r\n]/g, ' ')}`]
  return [member('payload', text), member('payloadEncoding', 'text')]
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    // Then it is text.
    return false
  }
}

function member(name: string, value: string | number): string {
  return `${JSON.stringify(name)}:${JSON.stringify(value)}`
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

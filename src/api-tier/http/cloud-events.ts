// Owns: CloudEvents 1.0 in HTTP binary mode (`ce-*` headers) → our event.
// id, type, source, time and partitionkey are fields of ours; other attributes become headers under their own name;
// the content type becomes the header `content-type`, as in CloudEvents' Kafka binding.
import { TrunklineError } from '../../protocol/errors.ts'
import type { Event } from '../../protocol/messages.ts'
import { contentTypeHeader } from './event-json.ts'
import { badField, defined, timeMsOf } from './json-values.ts'
import { type HeaderValues, headerText } from './session-headers.ts'

const prefix = 'ce-'
const valueCharactersMax = 4_096
const attributePattern = /^[a-z0-9]{1,64}$/
const rawType = 'application/octet-stream'

/** Whether the request is a CloudEvent in binary mode: then its content type is the event's, not the API's. */
export function isCloudEvent(headers: HeaderValues): boolean {
  return headers['ce-specversion'] !== undefined
}

/** What the headers of a request say about the one event in its body. Errors: BAD_REQUEST, UNSUPPORTED (version). */
export function eventOfHeaders(headers: HeaderValues): Event {
  const attributes = attributesOf(headers)
  const take = (name: string): string | undefined => {
    const value = attributes.get(name)
    attributes.delete(name)
    return value
  }
  const version = take('specversion')
  if (version !== undefined && version !== '1.0')
    throw new TrunklineError('UNSUPPORTED', { details: { field: 'ce-specversion' } })
  const time = take('time')
  const key = take('partitionkey')
  const fields = { id: take('id'), type: take('type'), source: take('source') }
  const contentType = headerText(headers, contentTypeHeader, valueCharactersMax)
  if (contentType !== undefined && contentType !== rawType) attributes.set(contentTypeHeader, contentType)
  return defined({
    ...fields,
    key: key === undefined ? undefined : Buffer.from(key, 'utf8'),
    timestampMs: time === undefined ? undefined : timeMsOf(time, 'ce-time'),
    headers: attributes.size === 0 ? undefined : attributes,
  })
}

function attributesOf(headers: HeaderValues): Map<string, string> {
  const attributes = new Map<string, string>()
  for (const name of Object.keys(headers)) {
    if (!name.startsWith(prefix)) continue
    const attribute = name.slice(prefix.length)
    const value = headerText(headers, name, valueCharactersMax)
    if (!attributePattern.test(attribute) || value === undefined) throw badField(name, 'not a CloudEvents attribute')
    attributes.set(attribute, percentDecoded(value, name))
  }
  return attributes
}

function percentDecoded(value: string, field: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    throw badField(field, 'not percent-encoded UTF-8')
  }
}

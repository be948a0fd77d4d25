// Owns: the judge's eyes: a plain Kafka consumer (kafkajs, its public API) that knows nothing of Trunkline but docs/formats.md
// and the keyring file. It opens sealed blocks by itself, with Node's own crypto.
// 1. Nothing of src is imported: what the gateway believes cannot colour what the log holds.
// 2. What does not open, or does not unpack to exactly its count, is an Error: the judge is never content with less.
// Leaves out: judging (verdict.ts), topics of format plain (plain-topics.test.ts reads them natively).
import { createDecipheriv, hkdfSync, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { Kafka, type KafkaConfig, type KafkaMessage, logLevel } from 'kafkajs'

export interface SeenEvent {
  readonly partition: number
  /** Of its record. */
  readonly offset: string
  /** Its place in the block, from 0. */
  readonly index: number
  readonly id: string | undefined
  readonly key: string | undefined
  readonly payload: Buffer
}

/** Who appended a record: Kafka's producer id and epoch of its batch. */
export interface SeenRecord {
  readonly partition: number
  readonly offset: string
  readonly pid: string
  readonly epoch: number
  readonly isBarrier: boolean
}

export interface SeenTopic {
  /** In the order of each partition. */
  readonly events: readonly SeenEvent[]
  /** In the order of each partition. */
  readonly records: readonly SeenRecord[]
}

export interface PlainConsumerOptions {
  readonly kafka: Pick<KafkaConfig, 'brokers' | 'ssl' | 'sasl'>
  readonly topic: string
  readonly keyringFile: string
  /** Default 60 s. */
  readonly withinMs?: number
}

const tenant = 'default'

/** Everything that the topic holds now, as any consumer of it sees it. Rejects when it is not there within `withinMs`. */
export async function consumeTopic(options: PlainConsumerOptions): Promise<SeenTopic> {
  const { topic, keyringFile, withinMs = 60_000 } = options
  const keks = readKeks(keyringFile)
  const kafka = new Kafka({ clientId: 'judge', logLevel: logLevel.NOTHING, retry: { retries: 20 }, ...options.kafka })
  const admin = kafka.admin()
  await admin.connect()
  const ends = new Map<number, bigint>()
  for (const { partition, low, high } of await admin.fetchTopicOffsets(topic)) {
    if (BigInt(high) > BigInt(low)) ends.set(partition, BigInt(high))
  }
  await admin.disconnect()
  const events: SeenEvent[] = []
  const records: SeenRecord[] = []
  if (ends.size === 0) return { events, records }

  const consumer = kafka.consumer({ groupId: `judge-${randomUUID()}`, retry: { retries: 20 } })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  let timer: NodeJS.Timeout | undefined
  try {
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(
        () => reject(new Error(`${topic} was not read to its end: ${[...ends.keys()].join(', ')} are missing`)),
        withinMs,
      )
      const take = (partition: number, message: KafkaMessage): void => {
        const end = ends.get(partition)
        if (end === undefined || BigInt(message.offset) >= end) return
        const seen = openRecord(keks, partition, message)
        records.push({ partition, offset: message.offset, ...authorOf(message), isBarrier: seen === undefined })
        if (seen !== undefined) events.push(...seen)
      }
      consumer
        .run({
          eachBatchAutoResolve: true,
          eachBatch: async ({ batch }) => {
            try {
              for (const message of batch.messages) take(batch.partition, message)
            } catch (thrown) {
              reject(thrown instanceof Error ? thrown : new Error(String(thrown)))
            }
            const end = ends.get(batch.partition)
            if (end !== undefined && BigInt(batch.lastOffset()) + 1n >= end) ends.delete(batch.partition)
            if (ends.size === 0) resolve()
          },
        })
        .catch(reject)
    })
  } finally {
    clearTimeout(timer)
    await consumer.disconnect()
  }
  events.sort((a, b) => a.partition - b.partition || compareOffsets(a.offset, b.offset) || a.index - b.index)
  records.sort((a, b) => a.partition - b.partition || compareOffsets(a.offset, b.offset))
  return { events, records }
}

/** kafkajs keeps the head of the batch beside each of its messages, without a word in its types. */
function authorOf(message: KafkaMessage): { readonly pid: string; readonly epoch: number } {
  const { batchContext } = message as { batchContext?: { producerId?: unknown; producerEpoch?: unknown } }
  const { producerId, producerEpoch } = batchContext ?? {}
  if (typeof producerId !== 'string' || typeof producerEpoch !== 'number')
    throw new Error('a record without the head of its batch')
  return { pid: producerId, epoch: producerEpoch }
}

function compareOffsets(a: string, b: string): number {
  const difference = BigInt(a) - BigInt(b)
  return difference < 0n ? -1 : difference > 0n ? 1 : 0
}

function readKeks(file: string): ReadonlyMap<string, Buffer> {
  const content: unknown = JSON.parse(readFileSync(file, 'utf8'))
  const { keks } = content as { keks: { id: string; key?: string }[] }
  return new Map(keks.flatMap(({ id, key }) => (key === undefined ? [] : [[id, Buffer.from(key, 'base64')] as const])))
}

/** Undefined for a barrier. */
function openRecord(
  keks: ReadonlyMap<string, Buffer>,
  partition: number,
  message: KafkaMessage,
): SeenEvent[] | undefined {
  const tl = message.headers?.['tl']
  if (!Buffer.isBuffer(tl) || tl[0] !== 1)
    throw new Error(`a record without header tl at ${partition}:${message.offset}`)
  const value = message.value ?? Buffer.alloc(0)
  if (tl[1] === 2) {
    if (value.length > 0) throw new Error(`a barrier with a value at ${partition}:${message.offset}`)
    return undefined
  }
  const { raw, count } = openBlock(keks, partition, tl, value)
  const events = unpack(raw).map((event, index) => ({ partition, offset: message.offset, index, ...event }))
  if (events.length !== count) throw new Error(`${events.length} events instead of ${count}`)
  return events
}

/** docs/formats.md "Sealed block". */
function openBlock(
  keks: ReadonlyMap<string, Buffer>,
  partition: number,
  tl: Buffer,
  value: Buffer,
): { raw: Buffer; count: number } {
  let at = 0
  const take = (size: number): Buffer => {
    if (at + size > value.length) throw new Error('a sealed block is too short')
    at += size
    return value.subarray(at - size, at)
  }
  if (take(3).toString() !== 'TLB' || take(1)[0] !== 1 || take(1)[0] !== 1) throw new Error('not a sealed block')
  const kekId = take(take(1).readUInt8()).toString()
  const wrapped = take(take(2).readUInt16BE())
  const commitment = take(16)
  const topicId = take(16)
  const count = take(2).readUInt16BE()
  take(1) // packing
  const encoding = take(1).readUInt8()
  const rawSize = take(4).readUInt32BE()
  const nonce = take(12)
  const head = value.subarray(0, at)
  const place = Buffer.concat([Buffer.alloc(4), tl.subarray(2, 28)]) // producerId 16 │ n 8 │ part 2
  place.writeUInt32BE(partition)
  const kek = keks.get(kekId)
  if (kek === undefined) throw new Error(`an unknown KEK: ${kekId}`)
  const dek = unwrap(kek, kekId, topicId, wrapped)
  const expected = Buffer.from(hkdfSync('sha256', dek, Buffer.alloc(0), 'tl1 commit', 16))
  if (!expected.equals(commitment)) throw new Error('another data key made this block')
  const data = openGcm(dek, nonce, Buffer.concat([head, place]), value.subarray(at))
  const raw = encoding === 1 ? gunzipSync(data, { maxOutputLength: rawSize }) : data
  if (raw.length !== rawSize) throw new Error('another raw size than the block says')
  return { raw, count }
}

/** docs/formats.md "Keyring file". */
function unwrap(kek: Buffer, kekId: string, topicId: Buffer, wrapped: Buffer): Buffer {
  if (wrapped[0] !== 1) throw new Error('an unknown wrapping')
  const aad = Buffer.concat([
    Buffer.from('tl1 wrap'),
    Buffer.of(kekId.length),
    Buffer.from(kekId),
    topicId,
    Buffer.from(tenant),
  ])
  return openGcm(kek, wrapped.subarray(1, 13), aad, wrapped.subarray(13))
}

function openGcm(key: Buffer, nonce: Buffer, aad: Buffer, sealed: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 })
  decipher.setAAD(aad)
  decipher.setAuthTag(sealed.subarray(sealed.length - 16))
  return Buffer.concat([decipher.update(sealed.subarray(0, sealed.length - 16)), decipher.final()])
}

/** docs/formats.md "Packed events". */
function unpack(raw: Buffer): { id: string | undefined; key: string | undefined; payload: Buffer }[] {
  const events: { id: string | undefined; key: string | undefined; payload: Buffer }[] = []
  for (let start = 0; start < raw.length; ) {
    const end = start + 4 + raw.readUInt32BE(start)
    if (end > raw.length) throw new Error('an event beyond its block')
    const flags = raw.readUInt8(start + 4)
    const headerCount = raw.readUInt8(start + 5)
    const sizes = {
      id: raw.readUInt16BE(start + 6),
      type: raw.readUInt16BE(start + 8),
      source: raw.readUInt16BE(start + 10),
    }
    const keySize = raw.readUInt32BE(start + 12)
    let at = start + 24
    const take = (size: number): Buffer => {
      at += size
      return raw.subarray(at - size, at)
    }
    const id = take(sizes.id).toString()
    take(sizes.type + sizes.source)
    const key = take(keySize).toString()
    for (let header = 0; header < headerCount; header++) {
      const size = raw.readUInt16BE(at) + raw.readUInt16BE(at + 2)
      at += 4 + size
    }
    if (at > end) throw new Error('an event longer than it says')
    events.push({
      id: (flags & 8) === 0 ? undefined : id,
      key: (flags & 1) === 0 ? undefined : key,
      payload: raw.subarray(at, end),
    })
    start = end
  }
  return events
}

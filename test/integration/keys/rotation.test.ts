// Keys that change under a gateway that serves: rotation, a file that is broken, revocation, shredding, gateway keys.
// The gateway looks at its files every 100 ms; a test waits for what it sees of them (the metric), never for a time.
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { walkDataDir } from '../../../src/adapters/embedded/walk.ts'
import { systemRandom } from '../../../src/adapters/random/system-random.ts'
import { readSealedHeader } from '../../../src/crypto/block-opener.ts'
import { createTopicKey, describeKeyFile, revokeKey, rotateKeys, shredKeys } from '../../../src/main/key-admin.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { blockOf, eventsOf, Harness, text } from '../sessions/harness.ts'
import { readOn } from './read-on.ts'

const source = { clock: systemClock, random: systemRandom }
const both = { step: { kind: 'both' }, topic: undefined } as const

let at: Harness
let keyring: string
let gatewayKeys: string

beforeEach(async () => {
  at = await Harness.start({ keyReloadMs: 100 })
  keyring = join(at.dir, 'keyring.json')
  gatewayKeys = join(at.dir, 'gateway-keys.json')
})
afterEach(async () => at.end())

/** Until the gateway uses the file as it is now. */
async function inUse(file: 'keyring' | 'gateway-keys'): Promise<void> {
  const { revision } = await describeKeyFile(file === 'keyring' ? keyring : gatewayKeys)
  await at.eventually(
    async () => (await at.metric('trunkline_key_file_revision', { file })) === revision,
    `revision ${revision} of ${file}`,
  )
}

async function rotate(): Promise<string> {
  const kekId = await rotateKeys(keyring, both, source)
  await inUse('keyring')
  return kekId
}

/** KEK ids of a topic's blocks, by offset; of one partition. The gateway may run on. */
async function keksOf(topicName: string): Promise<readonly string[]> {
  const found: string[] = []
  await walkDataDir(join(at.dir, 'log'), {
    verifyRecord: ({ topic }, record) => {
      if (topic === topicName) found[record.offset] = readSealedHeader(record.value).kekId
      return undefined
    },
  })
  return found
}

async function failureOf(call: Promise<unknown>): Promise<TrunklineError> {
  const thrown: unknown = await call.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (thrown instanceof TrunklineError) return thrown
  throw new Error('it did not fail', { cause: thrown })
}

describe('a rotation under a writer and a reader', () => {
  it('loses nothing: blocks before and behind it open, and every block behind it is under the new KEK', async () => {
    const writer = await at.writer('orders')
    const reader = await at.reader('orders')
    const sent: string[] = []
    const got: string[] = []
    const write = async (n: number): Promise<void> => {
      await writer.call('write', { n, blocks: [blockOf(0, `e${n}`)], commit: true })
      sent.push(`e${n}`)
    }
    const read = async (n: number): Promise<void> => {
      const batch = await reader.call('read', { n, ...(n > 1 ? { ackOf: n - 1 } : {}), waitMs: 10_000 })
      got.push(...eventsOf(batch).map(({ payload }) => text(payload)))
    }
    const kekIds = [(await describeKeyFile(keyring)).keys[0]?.id]
    let n = 0
    for (let turn = 0; turn < 3; turn += 1) {
      // Writing goes on while the file is replaced and taken over.
      const rotated = turn === 0 ? Promise.resolve(kekIds[0]) : rotate()
      let done = false
      void rotated.then(() => {
        done = true
      })
      do {
        n += 1
        await write(n)
        await read(n)
      } while (!done)
      if (turn > 0) kekIds.push(await rotated)
      n += 1
      await write(n)
      await read(n)
      expect((await keksOf('orders')).at(-1)).toBe(kekIds[turn])
    }
    expect(got).toEqual(sent)
    expect(await readOn(at, 'orders')).toEqual(sent)
    await at.restart()
    expect(await readOn(at, 'orders')).toEqual(sent)
    expect([...new Set(await keksOf('orders'))]).toEqual(kekIds)
  })

  it('given two rotations at once, then both KEKs are in the ring', async () => {
    const ids = await Promise.all([rotateKeys(keyring, both, source), rotateKeys(keyring, both, source)])
    const { keys, revision } = await describeKeyFile(keyring)
    expect(revision).toBe(3)
    expect(keys.map(({ id }) => id)).toEqual(expect.arrayContaining(ids))
    expect(keys).toHaveLength(3)
  })
})

describe('a keyring that is broken while it serves', () => {
  it.each<[string, (text: string) => string]>([
    ['cut in half', (content) => content.slice(0, content.length / 2)],
    [
      'another ring',
      (content) =>
        content.replace(/"ringId": "./, (found) => `${found.slice(0, -1)}${found.endsWith('0') ? '1' : '0'}`),
    ],
    ['an older copy', (content) => content.replace(/"revision": \d+/, '"revision": 0')],
  ])(
    'given one that is %s, then reads and writes go on, it is counted, and the next sound one is taken',
    async (_, broken) => {
      await at.publish('orders', blockOf(0, 'before'))
      const sound = await readFile(keyring, 'utf8')
      await writeFile(keyring, broken(sound))
      await at.eventually(
        async () => (await at.metric('trunkline_key_file_reloads_total', { file: 'keyring', outcome: 'refused' })) > 0,
        'a refusal',
      )
      await at.publish('orders', blockOf(0, 'meanwhile'))
      expect(await readOn(at, 'orders')).toEqual(['before', 'meanwhile'])
      await writeFile(keyring, sound)
      const kekId = await rotate()
      await at.publish('orders', blockOf(0, 'behind'))
      expect((await keksOf('orders')).at(-1)).toBe(kekId)
    },
  )
})

describe('a KEK that is withdrawn', () => {
  it('given it is revoked, then its blocks are unavailable though they were cached, and readers can go on behind them', async () => {
    await at.publish('orders', blockOf(0, 'old'))
    const [old = ''] = await keksOf('orders')
    await rotate()
    await at.publish('orders', blockOf(0, 'new'))
    expect(await readOn(at, 'orders')).toEqual(['old', 'new'])
    await revokeKey(keyring, old, source)
    await inUse('keyring')
    expect(await readOn(at, 'orders')).toEqual(['KEY_UNAVAILABLE', 'new'])
    await shredKeys(keyring, { id: old, allTopics: true }, source)
    await inUse('keyring')
    expect(await readOn(at, 'orders')).toEqual(['KEY_SHREDDED', 'new'])
    await at.restart()
    expect(await readOn(at, 'orders')).toEqual(['KEY_SHREDDED', 'new'])
  })

  it('given a topic with a KEK of its own, then shredding it takes that topic alone, and it is not written to', async () => {
    await at.createTopic('secret')
    await at.createTopic('open')
    const { topicId } = (await (await at.http('/v1/topics/secret')).json()) as { topicId: string }
    await at.publish('secret', blockOf(0, 'before its own key'))
    await createTopicKey(keyring, { topic: 'secret', topicId }, source)
    await inUse('keyring')
    await at.publish('secret', blockOf(0, 'a'), blockOf(0, 'b'))
    await at.publish('open', blockOf(0, 'kept'))
    const writer = await at.writer('secret')
    await writer.call('write', { n: 1, blocks: [blockOf(0, 'c')], commit: true })
    expect(await readOn(at, 'secret')).toEqual(['before its own key', 'a', 'b', 'c'])
    await shredKeys(keyring, { topic: 'secret' }, source)
    await inUse('keyring')
    expect(await readOn(at, 'secret')).toEqual(['before its own key', 'KEY_SHREDDED', 'KEY_SHREDDED', 'KEY_SHREDDED'])
    expect(await readOn(at, 'open')).toEqual(['kept'])
    const refused = await failureOf(writer.call('write', { n: 2, blocks: [blockOf(0, 'd')], commit: true }))
    expect(refused.name).toBe('KEY_UNAVAILABLE')
  })
})

describe('gateway keys', () => {
  const gateway = async (change: () => Promise<unknown>): Promise<void> => {
    await change()
    await inUse('gateway-keys')
  }

  it('given rotations, then sessions and stored cursors go on; given their key is revoked, then they end', async () => {
    await at.publish('orders', blockOf(0, 'a'), blockOf(0, 'b'))
    const reader = await at.reader('orders')
    const { cursor } = await reader.call('read', { n: 1 })
    const [first] = (await describeKeyFile(gatewayKeys)).keys
    for (let turn = 0; turn < 3; turn += 1) await gateway(() => rotateKeys(gatewayKeys, both, source))
    expect((await reader.call('read', { n: 2, ackOf: 1 })).count).toBe(0)
    const later = await at.reader('orders', { cursor })
    expect((await later.call('read', { n: 1 })).count).toBe(0)
    await gateway(() => revokeKey(gatewayKeys, first?.id ?? '', source))
    expect((await failureOf(reader.call('read', { n: 3, ackOf: 2 }))).name).toBe('BAD_SESSION_TOKEN')
    expect((await failureOf(at.reader('orders', { cursor }))).name).toBe('BAD_CURSOR')
    expect((await later.call('read', { n: 2 })).count).toBe(0)
  })
})

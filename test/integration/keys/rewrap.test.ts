// An old KEK that is ended before its events are: re-wrapped under a gateway that serves, retired, destroyed.
// The gateway looks at its files every 100 ms; a test waits for what it sees of them (the metric), never for a time.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { openEmbeddedLog } from '../../../src/adapters/embedded/open.ts'
import { systemRandom } from '../../../src/adapters/random/system-random.ts'
import { createTopicKey, describeKeyFile, retireKey, rotateKeys, shredKeys } from '../../../src/main/key-admin.ts'
import { checkRewrapped, type LogWalk, rewrapLog } from '../../../src/main/rewrap.ts'
import { folderWalk, logWalk } from '../../../src/main/rewrap-walks.ts'
import { blockOf, Harness } from '../sessions/harness.ts'
import { readOn } from './read-on.ts'

const source = { clock: systemClock, random: systemRandom }
const atOnce = <T>(change: () => Promise<T>): Promise<T> => change()
const both = { step: { kind: 'both' }, topic: undefined } as const

let at: Harness
let keyring: string

beforeEach(async () => {
  at = await Harness.start({ keyReloadMs: 100 })
  keyring = join(at.dir, 'keyring.json')
})
afterEach(async () => at.end())

/** Until the gateway uses both files as they are now. */
async function inUse(): Promise<void> {
  const { revision } = await describeKeyFile(keyring)
  const rewrapped = (await checkRewrapped(keyring, source))?.revision ?? 0
  const seen = async (file: string): Promise<number> => await at.metric('trunkline_key_file_revision', { file })
  await at.eventually(
    async () => (await seen('keyring')) === revision && (await seen('rewrapped-keys')) === rewrapped,
    `revisions ${revision} and ${rewrapped}`,
  )
}

async function rotate(): Promise<void> {
  await rotateKeys(keyring, both, source)
  await inUse()
}

async function rewrap(walk: LogWalk = folderWalk(at.dir)): Promise<number> {
  const report = await rewrapLog(walk, { keyring, source, signal: new AbortController().signal, hold: atOnce })
  expect([report.unread, [...report.left]]).toEqual([[], []])
  return report.added
}

async function currentKek(): Promise<string> {
  return (await describeKeyFile(keyring)).keys.find(({ state }) => state === 'current')?.id ?? ''
}

describe('an old KEK', () => {
  it('given its events are re-wrapped while others read and write, when it is retired and destroyed, then all of them are read, before a restart and behind it', async () => {
    const old = await currentKek()
    const sent: string[] = []
    const writer = await at.writer('orders')
    const write = async (): Promise<void> => {
      const text = `e${sent.length + 1}`
      await writer.call('write', { n: sent.length + 1, blocks: [blockOf(0, text)], commit: true })
      sent.push(text)
    }
    await write()
    await write()
    await rotate()

    const stop = new AbortController()
    const got: (readonly string[])[] = []
    const others = (async () => {
      while (!stop.signal.aborted) {
        await write()
        const before = sent.length
        got.push((await readOn(at, 'orders')).slice(0, before))
      }
    })()
    expect(await rewrap()).toBe(1)
    await inUse()
    await retireKey(keyring, old, source)
    await inUse()
    await shredKeys(keyring, { id: old, allTopics: false }, source)
    await inUse()
    stop.abort()
    await others
    await write()

    for (const events of got) expect(events).toEqual(sent.slice(0, events.length))
    expect(got.length).toBeGreaterThan(0)
    expect(await readOn(at, 'orders')).toEqual(sent)
    const ring = JSON.parse(await readFile(keyring, 'utf8')) as { readonly keks: readonly Record<string, unknown>[] }
    expect(ring.keks.find(({ id }) => id === old)).not.toHaveProperty('key')
    await at.restart()
    expect(await readOn(at, 'orders')).toEqual(sent)
  })

  it('given it is retired before anything of a topic was re-wrapped, then that is unavailable, and a run later it is read', async () => {
    const old = await currentKek()
    await rotate()
    await rewrap()
    // What is under it comes to light behind the run.
    await rotateKeys(keyring, { step: { kind: 'activate', id: old }, topic: undefined }, source)
    await inUse()
    await at.publish('orders', blockOf(0, 'late'))
    await rotate()
    await retireKey(keyring, old, source)
    await inUse()
    expect(await readOn(at, 'orders')).toEqual(['KEY_UNAVAILABLE'])
    expect(await rewrap()).toBe(1)
    await inUse()
    expect(await readOn(at, 'orders')).toEqual(['late'])
  })

  it('given a topic that got a KEK of its own and was re-wrapped, when it is shredded, then what was published before is gone as well, for good', async () => {
    await at.createTopic('secret')
    await at.publish('secret', blockOf(0, 'before its own key'))
    await at.publish('open', blockOf(0, 'kept'))
    const { topicId } = (await (await at.http('/v1/topics/secret')).json()) as { topicId: string }
    await createTopicKey(keyring, { topic: 'secret', topicId }, source)
    await inUse()
    await at.publish('secret', blockOf(0, 'under its own key'))
    expect(await rewrap()).toBe(1)
    await inUse()
    expect(await readOn(at, 'secret')).toEqual(['before its own key', 'under its own key'])
    await shredKeys(keyring, { topic: 'secret' }, source)
    await inUse()
    expect(await readOn(at, 'secret')).toEqual(['KEY_SHREDDED', 'KEY_SHREDDED'])
    await rotate()
    const run = await rewrapLog(folderWalk(at.dir), {
      keyring,
      source,
      signal: new AbortController().signal,
      hold: atOnce,
    })
    expect([run.added, run.met]).toEqual([1, 2])
    await at.restart()
    expect(await readOn(at, 'secret')).toEqual(['KEY_SHREDDED', 'KEY_SHREDDED'])
    expect(await readOn(at, 'open')).toEqual(['kept'])
  })
})

describe('walking a log', () => {
  it('given many partitions and topics, then a log’s own reads find the keys that a look into its folder finds', async () => {
    for (const topic of ['one', 'two']) await at.publish(topic, blockOf(0, 'a'), blockOf(0, 'b'))
    await at.restart()
    await at.publish('one', blockOf(0, 'c'))
    await rotate()
    const met = (walk: LogWalk): Promise<number> =>
      rewrapLog(walk, { keyring, source, signal: new AbortController().signal, hold: atOnce }).then(
        (report) => report.met,
      )
    expect(await met(folderWalk(at.dir))).toBe(3)
    await at.restart(async () => {
      const log = await openEmbeddedLog({ dir: join(at.dir, 'log'), ...source, topicsMax: 100, onProblem: () => {} })
      expect(await met(logWalk(log, systemClock))).toBe(3)
      expect(await rewrap(logWalk(log, systemClock))).toBe(0)
      await log.close()
    })
  })

  it('given it was stopped before it began, then nothing is changed and it says so', async () => {
    await at.publish('orders', blockOf(0, 'a'))
    await rotate()
    const report = await rewrapLog(folderWalk(at.dir), { keyring, source, signal: AbortSignal.abort(), hold: atOnce })
    expect([report.stopped, report.added, await checkRewrapped(keyring, source)]).toEqual([true, 0, undefined])
  })
})

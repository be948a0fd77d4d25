// A keyring and its re-wrapped keys in a folder, and a process that seals and opens with them as a gateway does.
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import type { KeyringEdit } from '../../../src/adapters/keyring/keyring-edits.ts'
import { changeKeyring, rewrappedPathOf } from '../../../src/adapters/keyring/keyring-file.ts'
import { type KeyringProvider, openKeyring } from '../../../src/adapters/keyring/keyring-provider.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { BlockOpener, readSealedHeader } from '../../../src/crypto/block-opener.ts'
import { BlockSealer } from '../../../src/crypto/block-sealer.ts'
import { type FoundKeys, type LogWalk, type RewrapReport, rewrapLog } from '../../../src/main/rewrap.ts'
import type { TopicId } from '../../../src/protocol/ids.ts'
import { blockOf, errorOf, place, topicA, topicB } from './crypto-fixtures.ts'

const topics = { 'tl-acme.orders': topicA, 'tl-acme.other': topicB } as const
type LogTopic = keyof typeof topics

export const random = new SeededRandom('re-wrapped keys')
/** What others do while somebody pauses. */
let meanwhile = async (): Promise<void> => {}
export const source = {
  random,
  clock: {
    nowMs: () => 1_000_000,
    monotonicMs: () => 0,
    after: (_delayMs: number, callback: () => void) => {
      void meanwhile().then(callback)
      return { cancel: () => {} }
    },
  },
}

export const kekOf = (sealed: Uint8Array): string => readSealedHeader(sealed).kekId

export class RewrapWorld {
  readonly clock = new SimulatedClock()
  readonly folder: string
  readonly path: string
  /** Every block that was sealed. */
  readonly log: { readonly topic: LogTopic; readonly sealed: Uint8Array }[] = []
  keyring: KeyringProvider
  sealer: BlockSealer
  opener: BlockOpener

  private constructor(folder: string, path: string, keyring: KeyringProvider) {
    this.folder = folder
    this.path = path
    this.keyring = keyring
    this.sealer = this.#sealerOf(keyring)
    this.opener = this.#openerOf(keyring)
  }

  static async begin(): Promise<RewrapWorld> {
    const folder = await mkdtemp(join(tmpdir(), 'trunkline-rewrap-'))
    const path = join(folder, 'keyring.json')
    const made = await openKeyring(path, { create: true, random, clock: new SimulatedClock() })
    const world = new RewrapWorld(folder, path, made)
    await world.start()
    return world
  }

  async end(): Promise<void> {
    meanwhile = async () => {}
    await rm(this.folder, { recursive: true })
  }

  /** A process that starts on the files as they are. */
  readonly start = async (): Promise<void> => {
    const keyring = await openKeyring(this.path, { create: false, random, clock: this.clock })
    this.keyring = keyring
    this.sealer = this.#sealerOf(keyring)
    this.opener = this.#openerOf(keyring)
    keyring.onChange((change) => {
      this.sealer.recheck()
      if (change === 'access') this.opener.recheck()
    })
  }

  async reload(): Promise<void> {
    await this.keyring.reload()
    await this.keyring.reloadRewrapped()
  }

  async edit<T>(change: KeyringEdit<T>): Promise<T> {
    const value = await changeKeyring(this.path, source, change)
    await this.reload()
    return value
  }

  async rewrap(): Promise<Pick<RewrapReport, 'added' | 'movedOn'> & { readonly left: readonly string[] }> {
    const report = await this.run(async (found) => {
      this.foundIn(found)
      return []
    })
    await this.reload()
    return { added: report.added, movedOn: report.movedOn, left: [...report.left.keys()] }
  }

  run(walk: LogWalk): Promise<RewrapReport> {
    const { signal } = new AbortController()
    return rewrapLog(walk, { keyring: this.path, source, signal, hold: (change) => change() })
  }

  foundIn(found: FoundKeys): void {
    for (const { topic, sealed } of this.log) found.add(topic, topics[topic], sealed)
  }

  /** Runs whenever somebody pauses, ahead of his going on. */
  meanwhile(work: () => Promise<void>): void {
    meanwhile = work
  }

  async seal(topic: LogTopic = 'tl-acme.orders'): Promise<Uint8Array> {
    const sealed = await this.sealer.seal(blockOf('hello'), { ...place, topicId: topics[topic] })
    this.log.push({ topic, sealed })
    return sealed
  }

  open(sealed: Uint8Array, topicId: TopicId = topicA): Promise<string> {
    return errorOf(() => this.opener.open({ ...place, topicId }, sealed))
  }

  fileBytes(): Promise<Buffer> {
    return readFile(rewrappedPathOf(this.path))
  }

  #sealerOf(keys: KeyringProvider): BlockSealer {
    return new BlockSealer({ keys, clock: this.clock, random, tenant: 'acme' })
  }

  #openerOf(keys: KeyringProvider): BlockOpener {
    return new BlockOpener({ keys, clock: this.clock, tenant: 'acme' })
  }
}

// Owns: a client without the SDK, which writes in two phases by hand (stage, then ack; one or two writes at a time), and
// keeps the rules of design.md §3 for clients: what was not answered comes again under its own n, at a session that was
// allocated with the newest token under which anything was sent.
// It sends one call at a time, so an allocate's late answer is never heard: rule 6 needs no more here.

import type { EventInput } from '../../../sdk/typescript/src/events.ts'
import { eventOf } from '../../../sdk/typescript/src/events.ts'
import { SignedSessions } from '../../../sdk/typescript/src/signed-sessions.ts'
import { sleep } from '../../../src/ports/clock.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { blockBytesMax } from '../../../src/protocol/limits.ts'
import {
  type AllocateReply,
  type Block,
  encoding,
  mode,
  type PartResult,
  type Proof,
  partState,
  type ReplyOf,
  type RequestOf,
  slot,
  type Turn,
} from '../../../src/protocol/messages.ts'
import { type EventPlace, packWriteWithPlaces } from '../../../src/protocol/partitioning.ts'
import type { Place, SendRecord } from '../history/history.ts'
import { bearerOf, type ClientProcess, type ClientWorld, type SimTopicFacts, startClient } from './client-world.ts'
import { hashOf, payloadOf } from './payload.ts'

interface OpenWrite {
  readonly n: number
  readonly blocks: readonly Block[]
  readonly places: readonly EventPlace[]
  readonly record: SendRecord
  /** Sent in some session. */
  sent: boolean
}

interface RawSession {
  readonly token: Uint8Array
  turn: Turn
  readonly signed: SignedSessions
}

const callTimeoutMs = 5_000
const sameRequestMax = 3
const pauseMs = 100

export class SimRawWriter {
  readonly process: ClientProcess
  done: Promise<void> = Promise.resolve()
  readonly #world: ClientWorld
  readonly #topic: SimTopicFacts
  readonly #thinkMs: number
  #session: RawSession | undefined
  /** The newest token under which a write was sent. */
  #held: Uint8Array | undefined
  #writeCursor = new Uint8Array()
  #nextN = 1
  #seq = 0
  #open: OpenWrite[] = []

  constructor(world: ClientWorld, name: string, topic: SimTopicFacts, thinkMs: number) {
    this.#world = world
    this.#topic = topic
    this.#thinkMs = thinkMs
    this.process = startClient(world, name)
  }

  get outCount(): number {
    return this.#open.length
  }

  start(): void {
    this.done = this.#run()
  }

  async #run(): Promise<void> {
    const { random, clock } = this.process
    while (!this.#world.isOver()) {
      const count = random.chance(0.3) ? 2 : 1
      for (let i = 0; i < count; i += 1) this.#open.push(this.#newWrite())
      while (this.#open.length > 0) await this.#publishOpen()
      await sleep(clock, 2 * this.#thinkMs * random.fraction())
    }
  }

  #newWrite(): OpenWrite {
    const { random, name } = this.process
    const sent = Array.from({ length: 1 + random.below(4) }, () => {
      const value = `${name}/${++this.#seq}`
      const payload = payloadOf(value, random, this.#world.payloadBytesMax)
      const partition = random.below(this.#topic.partitions)
      return { value, seq: this.#seq, partition, payload, payloadHash: hashOf(payload) }
    })
    const inputs = sent.map(({ payload, partition }): EventInput => ({ payload, partition }))
    const { blocks, places } = packWriteWithPlaces(
      inputs.map((input) => eventOf(input, { source: undefined, newId: () => 'by hand' })),
      { partitions: this.#topic.partitions, keylessPartition: 0, encoding: encoding.none, blockBytesMax },
    )
    const record = this.#world.history.send(
      name,
      this.#topic.name,
      sent.map(({ value, seq, partition, payloadHash }) => ({ value, seq, partition, payloadHash })),
    )
    this.#world.trace.note(`${name} stages ${sent.map(({ value, partition }) => `${value}→${partition}`).join(' ')}`)
    return { n: this.#nextN++, blocks, places, record, sent: false }
  }

  /**
   * Stages what is open, as far as it may, then acks that in order: what was refused for want of room comes again behind it.
   * Whatever else goes wrong is taken to another session.
   */
  async #publishOpen(): Promise<void> {
    try {
      const session = this.#session ?? (await this.#allocate())
      // The take-over may have answered them.
      const staged: OpenWrite[] = []
      for (const write of [...this.#open]) {
        this.#held = session.token
        write.sent = true
        if (!(await this.#stage(session, write))) break
        staged.push(write)
      }
      if (staged.length === 0) await sleep(this.process.clock, pauseMs)
      for (const write of staged.filter((one) => this.#open.includes(one))) {
        const { parts, writeCursor } = await this.#ask(session, 'ack', (head) => ({ ...head, n: write.n }))
        this.#settle(write, parts)
        if (writeCursor !== undefined && this.#open.length === 0) this.#writeCursor = writeCursor.slice()
      }
    } catch (thrown) {
      const error = TrunklineError.from(thrown)
      this.#world.trace.note(`${this.process.name} leaves its session: ${error.name}`)
      this.#session = undefined
      await sleep(this.process.clock, pauseMs)
    }
  }

  /** False: it may stage no more now, and goes on in this session. */
  async #stage(session: RawSession, write: OpenWrite): Promise<boolean> {
    const { n, blocks } = write
    try {
      const { published, parts } = await this.#ask(session, 'write', (head) => ({ ...head, n, blocks, commit: false }))
      if (published) this.#settle(write, parts)
      return true
    } catch (thrown) {
      const { name, turn } = TrunklineError.from(thrown)
      if (name !== 'TOO_MANY_REQUESTS' || turn === undefined) throw thrown
      session.turn = { ...turn, challenge: turn.challenge.slice() }
      this.#world.trace.count('stagings refused')
      return false
    }
  }

  async #allocate(): Promise<RawSession> {
    const { link, name } = this.process
    const held = this.#held
    const sent = this.#open.filter((write) => write.sent)
    const resume =
      held === undefined
        ? {}
        : {
            resume: {
              session: held,
              writeCursor: this.#writeCursor,
              nextN: (sent.at(-1)?.n ?? (this.#open[0]?.n ?? this.#nextN) - 1) + 1,
              writes: sent.map(({ n, blocks }) => ({ n, partitions: blocks.map(({ partition }) => partition) })),
            },
          }
    const request = { proof: { bearer: bearerOf(name) }, topic: this.#topic.name, mode: mode.write, ...resume }
    const reply = await link.call('allocate', request, { timeoutMs: callTimeoutMs })
    this.#learn(reply)
    const signed = new SignedSessions(link)
    signed.learn(reply)
    this.#session = { token: reply.session.slice(), turn: reply.turn, signed }
    return this.#session
  }

  #learn(reply: AllocateReply): void {
    if (reply.writeCursor !== undefined) this.#writeCursor = reply.writeCursor.slice()
    for (const { n, parts } of reply.outcomes ?? []) {
      const write = this.#open.find((one) => one.n === n)
      if (write === undefined) continue
      if (parts.some(({ state }) => state === partState.unknown))
        this.#end(write, () => write.record.info('OUTCOME_UNKNOWN'))
      else if (parts.every(({ state }) => state === partState.landed)) this.#settle(write, parts)
    }
  }

  #settle(write: OpenWrite, parts: readonly PartResult[] | undefined): void {
    const landed = new Map((parts ?? []).map((result) => [result.part, result]))
    const places = write.places.map(({ part, index }): Place => {
      const partition = write.blocks[part]?.partition
      const { offset, perEvent = false } = landed.get(part) ?? {}
      if (partition === undefined || offset === undefined) throw new Error('a published write has places')
      return perEvent ? { partition, offset: offset + index, index: 0 } : { partition, offset, index }
    })
    this.#end(write, () => write.record.ok(places))
    this.#world.trace.note(`${this.process.name} acked ${write.n}`)
    this.#world.trace.count('acked events', places.length)
    this.#world.trace.count('acked in two phases')
  }

  #end(write: OpenWrite, tell: () => void): void {
    this.#open = this.#open.filter((one) => one !== write)
    tell()
  }

  /** One call of the session, repeated as it was when its answer is missing. */
  async #ask<M extends 'write' | 'ack'>(
    session: RawSession,
    method: M,
    requestOf: (head: { proof: Proof; session: Uint8Array }) => RequestOf<M>,
  ): Promise<ReplyOf<M>> {
    const { turn } = session
    const proof: Proof = { slot: slot.data, seq: turn.nextSeq, challenge: turn.challenge }
    const request = requestOf({ proof, session: session.token })
    for (let sending = 1; ; sending += 1) {
      try {
        const reply: ReplyOf<M> & { turn: Turn } = await session.signed.call(method, request, {
          timeoutMs: callTimeoutMs,
        })
        session.turn = { ...reply.turn, challenge: reply.turn.challenge.slice() }
        return reply
      } catch (thrown) {
        const error = TrunklineError.from(thrown)
        const isMissing = error.name === 'UNAVAILABLE' || error.name === 'DEADLINE'
        if (!isMissing || error.turn !== undefined || sending === sameRequestMax) throw error
        await sleep(this.process.clock, pauseMs)
      }
    }
  }
}

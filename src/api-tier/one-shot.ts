// Owns: publish and read in one call, for plain curl, over the same sessions as everybody.
// 1. Publishing is at least once: when the session is lost with a write unanswered, the write is sent again in a new
//    one. Event ids are given once per call, so that such twins can be told.
// 2. Reading moves nothing: the answer's cursor is where the next call goes on.
// Leaves out: exactly once (needs a session of the caller's own).
import type { Clock } from '../ports/clock.ts'
import type { Random } from '../ports/random.ts'
import { isErrorNamed, TrunklineError } from '../protocol/errors.ts'
import { readEventsDefault } from '../protocol/limits.ts'
import { type Event, mode, type StartAt } from '../protocol/messages.ts'
import type { CallContext } from './call-context.ts'
import { defaultEventType, packPlain, positionsOf, uuidText } from './event-blocks.ts'
import type { GatewayCalls } from './gateway-calls.ts'
import { ShortSession } from './short-session.ts'

const publishDeadlineMs = 30_000
/** On top of waitMs. */
const readDeadlineMs = 10_000
/** Sessions that one call may lose. */
const sessionsMax = 4
/** Each narrower read asks for a quarter: from 10,000 events down to one. */
const narrowings = 8

export interface OneShotDeps {
  readonly calls: Pick<GatewayCalls, 'call' | 'authenticate'>
  readonly clock: Clock
  readonly random: Random
}

export interface OneShotRead {
  readonly startAt: StartAt
  readonly maxEvents?: number | undefined
  /** Default 0. */
  readonly waitMs?: number | undefined
}

export interface OneShotBatch {
  readonly events: readonly Event[]
  readonly cursor: Uint8Array
  readonly atEnd: boolean
}

export class OneShot {
  readonly #deps: OneShotDeps

  constructor(deps: OneShotDeps) {
    this.#deps = deps
  }

  /** One position per event, in order. Errors: those of allocate and write. */
  async publish(topic: string, events: readonly Event[], context: CallContext): Promise<string[]> {
    const { clientId } = await this.#deps.calls.authenticate(context)
    const named = events.map((event) => ({
      ...event,
      id: event.id ?? this.#newEventId(),
      type: event.type ?? defaultEventType,
      source: event.source ?? `/clients/${clientId}`,
    }))
    return await this.#inSession({ topic, mode: mode.write }, publishDeadlineMs, context, async (session) => {
      const { partitions, nextN = 1, limits } = session.allocated
      const keyless = Math.floor(this.#deps.random.fraction() * partitions)
      const write = packPlain(named, partitions, keyless, limits.joinedBytesMax)
      const reply = await session.step('write', { n: nextN, blocks: write.blocks, commit: true })
      return positionsOf(write, reply.parts ?? [])
    })
  }

  /** Errors: those of allocate and read; some come with a cursor that goes on behind what cannot be read. */
  async read(topic: string, read: OneShotRead, context: CallContext): Promise<OneShotBatch> {
    let maxEvents = read.maxEvents ?? readEventsDefault
    for (let narrowing = 0; ; narrowing++) {
      try {
        return await this.#readOnce(topic, { ...read, maxEvents }, context)
      } catch (thrown) {
        // What a batch unpacks to is known only when it is here: ask for less of it.
        if (!isErrorNamed(thrown, 'BATCH_TOO_LARGE') || narrowing === narrowings || maxEvents === 1) throw thrown
        maxEvents = Math.max(1, Math.floor(maxEvents / 4))
      }
    }
  }

  async #readOnce(topic: string, read: OneShotRead, context: CallContext): Promise<OneShotBatch> {
    const { startAt, maxEvents, waitMs = 0 } = read
    return await this.#inSession(
      { topic, mode: mode.read, startAt },
      waitMs + readDeadlineMs,
      context,
      async (session) => {
        const reply = await session.step('read', { n: 1, maxEvents, waitMs, minBytes: 1, asEvents: true })
        return { events: reply.events ?? [], cursor: reply.cursor, atEnd: reply.atEnd ?? false }
      },
    )
  }

  async #inSession<R>(
    request: { topic: string; mode: number; startAt?: StartAt },
    deadlineMs: number,
    context: CallContext,
    run: (session: ShortSession) => Promise<R>,
  ): Promise<R> {
    const { calls, clock } = this.#deps
    const endMs = clock.monotonicMs() + deadlineMs
    for (let attempt = 1; ; attempt++) {
      const session = await ShortSession.open({ calls, clock, context, endMs }, request)
      try {
        const result = await run(session)
        session.dispose()
        return result
      } catch (thrown) {
        if (!isErrorNamed(thrown, 'SESSION_GONE')) {
          session.dispose()
          throw TrunklineError.from(thrown)
        }
        // The caller knows of no session.
        if (attempt === sessionsMax || clock.monotonicMs() >= endMs || context.signal?.aborted)
          throw new TrunklineError('UNAVAILABLE', { cause: thrown })
      }
    }
  }

  /** UUIDv7. */
  #newEventId(): string {
    const bytes = this.#deps.random.bytes(16)
    const nowMs = this.#deps.clock.nowMs()
    for (let at = 0; at < 6; at++) bytes[at] = Math.floor(nowMs / 2 ** (8 * (5 - at))) % 256
    return uuidText(bytes, 7)
  }
}

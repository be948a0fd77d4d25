// Owns: opening a session: where a reader starts, what a writer takes over, the token and first turn.
// A1 allocate publishes nothing (design.md §3.5): it answers what landed, the client sends what is missing.
// A2 The answer goes out only when release, fence and look-up are done; until then PENDING.
// A3 A producer's earlier session on this node is closed before the new one opens (§3.6).
// A4 Answered before its caller gives up, also when the log does not answer: UNAVAILABLE; nothing is opened later.
// A5 A topic is of one tenant, which its name says: for a caller of another one it is not there, whatever the API tier let
//    through.
// Leaves out: authentication (API tier), the take-over itself (write/take-over.ts).
import { createActor } from 'xstate'
import type { CursorScope } from '../crypto/cursor-seal.ts'
import type { GatewayKeys } from '../crypto/gateway-keys.ts'
import {
  openSessionToken,
  principalHash,
  type SessionTokenContent,
  sealSessionToken,
  sessionSecret,
} from '../crypto/session-token.ts'
import type { sessionMachine } from '../fsm/server/session.machine.ts'
import type { Tracing } from '../observability/tracing.ts'
import type { Clock } from '../ports/clock.ts'
import { type EventLog, type TopicInfo, topicFormat } from '../ports/event-log.ts'
import type { Random } from '../ports/random.ts'
import type { Principal } from '../protocol/envelope.ts'
import { TrunklineError } from '../protocol/errors.ts'
import {
  type Incarnation,
  type ProducerId,
  parseProducerId,
  parseSessionId,
  parseTopicName,
  type SessionId,
} from '../protocol/ids.ts'
import { plainJoinedBytesMax } from '../protocol/limits.ts'
import { parseMacAlgorithm } from '../protocol/mac-algorithm.ts'
import {
  type AllocateReply,
  type AllocateRequest,
  type Limits,
  mode,
  packing,
  partState,
  type Resume,
  type StartAt,
  type WriteOutcome,
} from '../protocol/messages.ts'
import type { PartitionPosition } from '../protocol/position.ts'
import { tenantOfLogTopic } from '../protocol/tenant-topics.ts'
import { equalBytes } from '../protocol/turns.ts'
import { Conversation } from './conversation.ts'
import { openReadCursor, openWriteCursor, SessionCursors } from './cursors.ts'
import { answeredBy } from './deadline.ts'
import { ReadSession } from './read-session.ts'
import type { Session, SessionBase } from './session.ts'
import type { Sessions } from './sessions.ts'
import type { StreamMetrics } from './stream-metrics.ts'
import type { PreparedSealer } from './timed-crypto.ts'
import type { OpenTopic, Topics } from './topics.ts'
import type { AppendLanes } from './write/append-lanes.ts'
import type { StagedBytes } from './write/staged-bytes.ts'
import type { TakeOverOutcome, TakeOvers } from './write/take-over.ts'
import { type LandedPart, WriteSession } from './write-session.ts'

export interface AllocatorOptions {
  readonly incarnation: Incarnation
  readonly pid: number
  readonly clusterId: string
  readonly log: EventLog
  readonly topics: Topics
  readonly sessions: Sessions
  readonly lanes: AppendLanes
  readonly staged: StagedBytes
  readonly sealer: PreparedSealer
  readonly takeOvers: TakeOvers
  readonly gatewayKeys: GatewayKeys
  readonly limits: Limits
  readonly clock: Clock
  readonly random: Random
  readonly metrics: StreamMetrics
  /** Default: off. */
  readonly tracing?: Tracing | undefined
  readonly onDefect: (session: Session, thrown: unknown) => void
  /** The session machine bound to this node's sessions, and its clock. */
  readonly machine: typeof sessionMachine
  readonly machineClock: { setTimeout(run: () => void, delayMs: number): unknown; clearTimeout(id: unknown): void }
}

const sessionIdBytes = 12
/** The answer's way back to the caller. */
const replyMs = 250
/** A keep-alive waits so long for the ends; without them the write cursor stays where it was. */
const refreshMs = 3_000

export class Allocator {
  readonly #options: AllocatorOptions

  constructor(options: AllocatorOptions) {
    this.#options = options
  }

  /** Errors: UNSUPPORTED, BAD_REQUEST, UNKNOWN_TOPIC, cursors' and tokens' errors, PENDING, UNAVAILABLE, NO_CAPACITY. */
  async allocate(
    request: AllocateRequest,
    principal: Principal,
    deadlineAtMs: number,
    traceparent?: string,
  ): Promise<AllocateReply> {
    refuseUnbuilt(request, principal)
    parseMacAlgorithm(request.macAlgorithm)
    // A5
    if (tenantOfLogTopic(request.topic) !== principal.tenant)
      throw new TrunklineError('UNKNOWN_TOPIC', { details: { topic: request.topic } })
    const leftMs = deadlineAtMs - this.#options.clock.monotonicMs()
    const untilMs = deadlineAtMs - Math.min(replyMs, Math.max(0, leftMs) / 2) // A4
    switch (request.mode) {
      case mode.read:
        return this.#allocateReader(request, principal, untilMs)
      case mode.write:
        return this.#allocateWriter(request, principal, untilMs, traceparent)
      default:
        throw new TrunklineError('BAD_REQUEST', { details: { field: 'mode' } })
    }
  }

  async #allocateReader(request: AllocateRequest, principal: Principal, untilMs: number): Promise<AllocateReply> {
    if (request.resume !== undefined) throw new TrunklineError('BAD_REQUEST', { details: { field: 'resume' } })
    const topic = await this.#by(untilMs, this.#options.topics.open(parseTopicName(request.topic)))
    const position = await this.#by(untilMs, this.#startPosition(topic.info, request.startAt))
    const base = this.#base(principal, 1)
    const session = new ReadSession(base, {
      reader: topic.reader,
      topicId: topic.info.topicId,
      cursors: this.#cursors(topic.info),
      position,
      metrics: this.#options.metrics,
    })
    this.#start(session, 'read')
    session.send({ type: 'PREPARED' })
    return this.#reply(session, topic, principal, topic.info.partitions, undefined, {
      cursor: session.cursor(),
      macAlgorithm: request.macAlgorithm,
    })
  }

  async #allocateWriter(
    request: AllocateRequest,
    principal: Principal,
    untilMs: number,
    traceparent: string | undefined,
  ): Promise<AllocateReply> {
    if (request.startAt !== undefined) throw new TrunklineError('BAD_REQUEST', { details: { field: 'startAt' } })
    const { resume } = request
    const name = parseTopicName(request.topic)
    // A producer goes on only where it was: its topic is never made anew under it.
    const { topics, sealer } = this.#options
    const topic = await this.#by(untilMs, resume === undefined ? topics.openForWriting(name) : topics.open(name))
    if (topic.info.unsafe !== undefined) throw new TrunklineError('TOPIC_UNSAFE', { details: topic.info.unsafe })
    await this.#by(untilMs, sealer.prepare(topic.info.topicId, tenantOfLogTopic(name)))
    if (resume !== undefined) return this.#resumeWriter(topic, principal, { ...request, resume }, untilMs, traceparent)
    const producerId = parseProducerId(Buffer.from(this.#options.random.bytes(16)).toString('hex'))
    const ends = await this.#by(untilMs, this.#ends(topic.info))
    const session = this.#writer(topic, principal, producerId, ends, topic.info.partitions)
    session.send({ type: 'PREPARED' })
    return this.#reply(session, topic, principal, topic.info.partitions, producerId, {
      writeCursor: session.cursor(),
      nextN: 1,
      packing: packing.v1,
      macAlgorithm: request.macAlgorithm,
    })
  }

  async #resumeWriter(
    topic: OpenTopic,
    principal: Principal,
    { resume, macAlgorithm }: AllocateRequest & { readonly resume: Resume },
    untilMs: number,
    traceparent: string | undefined,
  ): Promise<AllocateReply> {
    const token = this.#tokenOf(resume, principal)
    const producerId = token.producerId
    if (producerId === undefined || token.mode !== mode.write) throw new TrunklineError('BAD_SESSION_TOKEN')
    if (token.topicId !== topic.info.topicId)
      throw new TrunklineError('TOPIC_CHANGED', { details: { topic: topic.info.name } })
    const writes = resume.writes ?? []
    const { offsets } = openWriteCursor(this.#options.gatewayKeys, this.#scope(topic.info), resume.writeCursor)
    this.#options.sessions.ofProducer(producerId)?.send({ type: 'SUPERSEDE' }) // A3
    // What is unanswered was packed for the token's partitions: they stay until everything is answered.
    const partitions = writes.length > 0 ? token.partitions : topic.info.partitions
    const session = this.#writer(topic, principal, producerId, offsets, partitions)
    session.send({ type: 'TAKE_OVER' })
    const request = { token, from: offsets, writes, nextN: resume.nextN, deadlineAtMs: untilMs, traceparent }
    const found = await this.#options.takeOvers.takeOver(request).catch((thrown: unknown) => {
      session.send({ type: 'FAILED', error: TrunklineError.from(thrown).name })
      throw thrown
    }) // A2
    // Another allocate of the producer came meanwhile, or the node closed: that one answers.
    if (session.isClosing) throw new TrunklineError('PENDING')
    const missing = missingNumbers(found.outcomes)
    session.takeOver({
      landed: landedParts(found),
      missing,
      partitions: new Map(writes.map((write) => [write.n, write.partitions])),
      from: found.writeCursor,
    })
    session.send({ type: 'TAKEN_OVER', missing, nextN: resume.nextN })
    return this.#reply(session, topic, principal, partitions, producerId, {
      writeCursor: session.cursor(),
      nextN: resume.nextN,
      outcomes: found.outcomes,
      packing: token.packing,
      macAlgorithm,
    })
  }

  #writer(
    topic: OpenTopic,
    principal: Principal,
    producerId: ProducerId,
    from: readonly number[],
    partitions: number,
  ): WriteSession {
    const { limits, lanes, staged, sealer } = this.#options
    const session = new WriteSession(this.#base(principal, limits.windowWrites), {
      topic: topic.info,
      partitions,
      producerId,
      lanes,
      staged,
      sealer,
      cursors: this.#cursors(topic.info),
      from,
      metrics: this.#options.metrics,
      tracing: this.#options.tracing,
      windowWrites: limits.windowWrites,
      windowBytes: limits.windowBytes,
      ends: () => this.#by(this.#options.clock.monotonicMs() + refreshMs, this.#ends(topic.info)),
    })
    this.#start(session, 'write')
    return session
  }

  #base(principal: Principal, window: number): SessionBase {
    const { clock, random, limits, sessions, metrics } = this.#options
    return {
      sessionId: parseSessionId(Buffer.from(random.bytes(sessionIdBytes)).toString('base64url')),
      conversation: new Conversation({ random, leaseMs: limits.leaseMs, window }),
      clock,
      leaseMs: limits.leaseMs,
      principal,
      onClosed: (session, reason) => {
        sessions.closed(session)
        metrics.sessionClosed(session instanceof ReadSession ? 'read' : 'write', reason)
      },
      onDefect: this.#options.onDefect,
    }
  }

  #start(session: Session, kind: 'read' | 'write'): void {
    const { limits, sessions, machine, machineClock, metrics } = this.#options
    sessions.add(session)
    metrics.sessionOpened(kind)
    const input = {
      sessionId: session.id,
      mode: kind,
      windowWrites: limits.windowWrites,
      windowBytes: limits.windowBytes,
    }
    session.start(createActor(machine, { input, clock: machineClock }))
  }

  #reply(
    session: Session,
    topic: OpenTopic,
    principal: Principal,
    partitions: number,
    producerId: ProducerId | undefined,
    more: Partial<AllocateReply>,
  ): AllocateReply {
    const { incarnation, pid, gatewayKeys, random, limits, clock } = this.#options
    const algorithm = parseMacAlgorithm(more.macAlgorithm)
    const content: SessionTokenContent = {
      sessionId: session.id,
      incarnation,
      pid,
      topic: topic.info.name,
      topicId: topic.info.topicId,
      mode: producerId === undefined ? mode.read : mode.write,
      producerId,
      macAlgorithm: algorithm,
      principal: hashOf(principal),
      packing: packing.v1,
      partitions,
      issuedAtMs: clock.nowMs(),
    }
    const token = sealSessionToken(gatewayKeys, content, random)
    return {
      session: token,
      secret: sessionSecret(gatewayKeys, token, algorithm),
      turn: session.conversation.firstTurn(),
      sessionId: session.id satisfies SessionId,
      partitions,
      limits: limitsOf(topic.info, limits),
      expiresAtMs: principal.expiresAtMs,
      ...more,
    }
  }

  #tokenOf(resume: Resume, principal: Principal): SessionTokenContent {
    const token = openSessionToken(this.#options.gatewayKeys, resume.session)
    // A producer is bound to its principal; another's token is as good as a forged one.
    if (!equalBytes(token.principal, hashOf(principal))) throw new TrunklineError('BAD_SESSION_TOKEN')
    return token
  }

  #cursors(topic: TopicInfo): SessionCursors {
    return new SessionCursors(this.#options.gatewayKeys, this.#scope(topic), this.#options.random)
  }

  #scope(topic: TopicInfo): CursorScope {
    return { clusterId: this.#options.clusterId, tenant: tenantOfLogTopic(topic.name), topicId: topic.topicId }
  }

  async #startPosition(topic: TopicInfo, startAt: StartAt | undefined): Promise<readonly PartitionPosition[]> {
    const { cursor, timestampMs, latest } = startAt ?? {}
    if (cursor !== undefined) {
      const { positions } = openReadCursor(this.#options.gatewayKeys, this.#scope(topic), cursor)
      // Partitions are only ever added, and the cursor is of this very topic: this node does not know them yet.
      if (positions.length > topic.partitions) throw new TrunklineError('UNAVAILABLE')
      // Partitions that were added since are read from their start.
      return Array.from({ length: topic.partitions }, (_, partition) => positions[partition] ?? { offset: 0, index: 0 })
    }
    // Nothing said: from the start, so that nothing is missed by accident.
    const query = timestampMs !== undefined ? { atOrAfterMs: timestampMs } : latest === true ? 'latest' : 'earliest'
    const offsets = await this.#options.log.offsets(partitionsOf(topic), query)
    return offsets.map((offset) => ({ offset, index: 0 }))
  }

  /** A4. */
  #by<T>(untilMs: number, answer: Promise<T>): Promise<T> {
    return answeredBy(this.#options.clock, untilMs, 'UNAVAILABLE', answer)
  }

  #ends(topic: TopicInfo): Promise<readonly number[]> {
    return this.#options.log.offsets(partitionsOf(topic), 'end')
  }
}

export function partitionsOf(topic: TopicInfo): { topic: TopicInfo['name']; partition: number }[] {
  return Array.from({ length: topic.partitions }, (_, partition) => ({ topic: topic.name, partition }))
}

function hashOf({ subject, clientId, tenant }: Principal): Uint8Array {
  return principalHash(subject, clientId, tenant)
}

/** Events of a plain topic become records, which say more often what a block says once. */
function limitsOf({ format }: TopicInfo, limits: Limits): Limits {
  return format === topicFormat.plain ? { ...limits, joinedBytesMax: plainJoinedBytesMax } : limits
}

/** What the protocol reserves and nobody has built yet. */
function refuseUnbuilt(request: AllocateRequest, principal: Principal): void {
  const refuse = (feature: string): never => {
    throw new TrunklineError('UNSUPPORTED', { details: { feature } })
  }
  if (request.group !== undefined) refuse('group')
  if (request.producerName !== undefined) refuse('producerName')
  if (request.ackLevel !== undefined && request.ackLevel !== 'published') refuse('ackLevel')
  if (request.tenant !== undefined && request.tenant !== principal.tenant) refuse('tenant')
}

/** Writes that must come again: some part is certainly not there, and none is unknown (those need the application's word). */
function missingNumbers(outcomes: readonly WriteOutcome[]): number[] {
  return outcomes
    .filter(
      ({ parts }) =>
        parts.some(({ state }) => state === partState.missing) &&
        !parts.some(({ state }) => state === partState.unknown),
    )
    .map(({ n }) => n)
}

function landedParts({ outcomes, hashes }: TakeOverOutcome): Map<number, Map<number, LandedPart>> {
  const found = new Map<number, Map<number, LandedPart>>()
  for (const { n, parts } of outcomes) {
    const writeHash = hashes.get(n)
    if (writeHash === undefined) continue
    const landed = parts.flatMap(({ part, state, offset }) =>
      state === partState.landed && offset !== undefined ? [[part, { offset, writeHash }] as const] : [],
    )
    found.set(n, new Map(landed))
  }
  return found
}

// Owns: one incarnation of a stream node: its log writer, keys, sessions, its place at the switchboard, its drain and end.
// N1 An incarnation that retires closes its sessions with SESSION_GONE and never appends again; main starts another one.
// N2 Drain: no allocation, typed refusals at once, what is queued is published within drainTimeoutMs, then everything
//    still open is closed (its clients go on elsewhere), the key is unbound last.
// Leaves out: which adapters (src/main), restarting, signals.
import { type Actor, createActor } from 'xstate'
import { BlockOpener } from '../crypto/block-opener.ts'
import { BlockSealer } from '../crypto/block-sealer.ts'
import type { GatewayKeys } from '../crypto/gateway-keys.ts'
import { type NodeEnd, nodeMachine } from '../fsm/server/node.machine.ts'
import type { SessionContext, SessionEvent } from '../fsm/server/session.types.ts'
import type { Logger } from '../observability/log.ts'
import { type Clock, sleep } from '../ports/clock.ts'
import type { EventLog, LogWriter } from '../ports/event-log.ts'
import type { KeyProvider } from '../ports/key-provider.ts'
import type { Random } from '../ports/random.ts'
import type { ServeContext, Serving, Switchboard } from '../ports/switchboard.ts'
import { envelopeVersion, type Principal, type ReleaseRequest } from '../protocol/envelope.ts'
import { decodeAnswer, decodeReleaseReply, encodeEnvelope, encodeReleaseRequest } from '../protocol/envelope-codec.ts'
import { TrunklineError } from '../protocol/errors.ts'
import type { Incarnation, ProducerId, SessionId } from '../protocol/ids.ts'
import type { Limits } from '../protocol/messages.ts'
import { Allocator } from './allocate.ts'
import { Dispatch } from './dispatch.ts'
import { keyTenant } from './key-tenant.ts'
import { CatchUpLanes } from './read/catch-up-lanes.ts'
import { OpenedBlocks } from './read/opened-blocks.ts'
import { TopicReader } from './read/topic-reader.ts'
import { bindSessionMachine } from './session-actions.ts'
import { Sessions } from './sessions.ts'
import type { StreamMetrics } from './stream-metrics.ts'
import { TopicAdmin } from './topic-admin.ts'
import { type TopicDefaults, Topics } from './topics.ts'
import { AppendLanes } from './write/append-lanes.ts'
import { type ReleaseAnswer, TakeOvers } from './write/take-over.ts'
import { WriteSession } from './write-session.ts'

export interface StreamNodeBounds {
  /** Allocations that run at once. */
  readonly allocationsMax: number
  /** Open sessions; above it allocations answer NO_CAPACITY. */
  readonly sessionsMax: number
  /** Opened blocks kept for readers. */
  readonly readCacheBytes: number
  /** Sealed bytes that wait for or are at the log. */
  readonly appendBufferBytes: number
  readonly drainTimeoutMs: number
}

export interface StreamNodeOptions {
  readonly incarnation: Incarnation
  readonly log: EventLog
  readonly switchboard: Switchboard
  readonly keys: KeyProvider
  readonly gatewayKeys: GatewayKeys
  readonly clock: Clock
  readonly random: Random
  readonly limits: Limits
  readonly bounds: StreamNodeBounds
  readonly metrics: StreamMetrics
  readonly logger: Logger
  readonly version: string
  readonly topics: TopicDefaults
}

/** How a node names itself to another node. */
const nodePrincipal: Principal = {
  subject: 'stream-node',
  clientId: 'stream-node',
  tenant: keyTenant,
  expiresAtMs: Number.MAX_SAFE_INTEGER,
}
/** What a draining node still answers: it finishes what was begun. */
const finishing: ReadonlySet<string> = new Set(['ack', 'nack', 'dispose', 'release'])

export class StreamNode {
  readonly incarnation: Incarnation
  /** Settles when the node has closed, with the reason. */
  readonly ended: Promise<NodeEnd>
  readonly #options: StreamNodeOptions
  readonly #actor: Actor<typeof nodeMachine>
  #writer: LogWriter | undefined
  #serving: Serving | undefined
  #lanes: AppendLanes | undefined
  #topics: Topics | undefined
  readonly #sealer: BlockSealer
  readonly #opener: BlockOpener
  readonly #sessions: Sessions
  /** Asked while it was booting: it drains as soon as it serves. */
  #drainAsked = false

  constructor(options: StreamNodeOptions) {
    const { clock, keys, random, limits, bounds } = options
    this.#options = options
    this.incarnation = options.incarnation
    this.#sealer = new BlockSealer({ keys, clock, random, tenant: keyTenant })
    this.#opener = new BlockOpener({ keys, clock, tenant: keyTenant })
    this.#sessions = new Sessions({ clock, leaseMs: limits.leaseMs, sessionsMax: bounds.sessionsMax })
    const machine = nodeMachine.provide({
      actions: {
        beginDrain: () => void this.#beginDrain(),
        closeSessions: () => void this.#closeSessions(),
        tearDown: () => void this.#tearDown(),
        unknownEvent: ({ event }) => options.metrics.unknownEvent('node', event.type),
      },
    })
    this.#actor = createActor(machine)
    this.ended = new Promise((resolve) => {
      this.#actor.subscribe({ complete: () => resolve(this.#actor.getSnapshot().output?.end ?? 'closed') })
    })
    this.#actor.start()
  }

  /** Opens the log under this incarnation and serves. Rejects when the log or the switchboard refuses; the node is then closed. */
  async boot(): Promise<void> {
    const { log, switchboard, clock, random, limits, gatewayKeys, bounds, metrics, incarnation } = this.#options
    try {
      const writer = await log.open(incarnation)
      this.#writer = writer
      const lanes = new AppendLanes({ writer, bufferBytesMax: bounds.appendBufferBytes, clock, metrics })
      this.#lanes = lanes
      const blocks = new OpenedBlocks({ opener: this.#opener, bytesMax: bounds.readCacheBytes, metrics })
      const catchUpLanes = new CatchUpLanes()
      const topics = new Topics({
        log,
        readerOf: (topic) => new TopicReader({ log, blocks, lanes: catchUpLanes, clock, topic, metrics }),
        defaults: this.#options.topics,
        // Its clients take their writes to another session, where they hear TOPIC_CHANGED.
        onGone: (topicId) => {
          for (const session of [...this.#sessions.all()])
            if (session instanceof WriteSession && session.topicId === topicId) session.send({ type: 'RELEASE' })
        },
      })
      this.#topics = topics
      const takeOvers = new TakeOvers({
        log,
        clock,
        self: incarnation,
        metrics,
        localRelease: (_: ProducerId, sessionId: SessionId) => this.#release(sessionId),
        switchboardCall: (key, request, deadlineMs) => this.#askRelease(key, request, deadlineMs),
      })
      const allocator = new Allocator({
        incarnation,
        pid: writer.pid,
        clusterId: await log.clusterId(),
        log,
        topics,
        sessions: this.#sessions,
        lanes,
        sealer: this.#sealer,
        takeOvers,
        gatewayKeys,
        limits,
        clock,
        random,
        metrics,
        onDefect: ({ id }, thrown) =>
          this.#options.logger.error(
            { nodeId: incarnation, sessionId: id, err: thrown },
            'a session ended by a defect',
          ),
        machine: bindSessionMachine(
          (id) => this.#sessions.find(id),
          (context, event) => this.#unknownSessionEvent(context, event),
        ),
        machineClock: {
          setTimeout: (run: () => void, delayMs: number) => clock.after(delayMs, run),
          clearTimeout: (timer: { cancel(): void } | undefined) => timer?.cancel(),
        },
      })
      const dispatch = new Dispatch({
        version: this.#options.version,
        limits,
        log,
        topics,
        topicAdmin: new TopicAdmin(topics),
        sessions: this.#sessions,
        release: (sessionId) => this.#release(sessionId),
        allocator,
        admit: (method) => this.#admit(method),
        clock,
        observe: (method, error, durationMs, bug) => this.#observe(method, error, durationMs, bug),
      })
      const answer = (body: Uint8Array, { deadlineAtMs }: ServeContext): Promise<Uint8Array> =>
        dispatch.answer(body, deadlineAtMs)
      this.#serving = await switchboard.serve(incarnation, { allocate: answer, call: answer })
      this.#serving.setCapacity(bounds.allocationsMax)
      void lanes.retired.then((reason) => {
        if (reason === 'closed') return
        this.#options.logger.warn({ nodeId: incarnation, reason }, 'incarnation retired')
        this.#actor.send({ type: 'RETIRED' })
      })
      this.#actor.send({ type: 'BOOTED' })
      this.#options.logger.info({ nodeId: incarnation }, 'stream node serves')
      if (this.#drainAsked) this.#actor.send({ type: 'DRAIN' })
    } catch (thrown) {
      this.#actor.send({ type: 'BOOT_FAILED' })
      throw thrown
    }
  }

  get isServing(): boolean {
    return this.#actor.getSnapshot().matches('serving')
  }

  get sessions(): number {
    return this.#sessions.size
  }

  /** N2. Resolves when the node has closed; one that boots has its boot ended first. Idempotent. */
  async drain(): Promise<NodeEnd> {
    const snapshot = this.#actor.getSnapshot()
    if (snapshot.matches('booting')) this.#drainAsked = true
    else if (snapshot.status === 'active') this.#actor.send({ type: 'DRAIN' })
    return this.ended
  }

  #admit(method: string): void {
    const snapshot = this.#actor.getSnapshot()
    if (snapshot.matches('serving')) return
    if (snapshot.matches('draining')) {
      if (finishing.has(method)) return
      throw new TrunklineError('DRAINING')
    }
    throw new TrunklineError(method === 'allocate' ? 'UNAVAILABLE' : 'SESSION_GONE')
  }

  async #beginDrain(): Promise<void> {
    this.#serving?.drain()
    const lanes = this.#lanes
    const queued =
      lanes === undefined
        ? []
        : [...this.#sessions.all()].filter((session) => session instanceof WriteSession).map(({ id }) => lanes.idle(id))
    // Parked reads hold nothing up: their clients are better off elsewhere at once.
    for (const session of [...this.#sessions.all()])
      if (!(session instanceof WriteSession)) session.send({ type: 'NODE_CLOSED' })
    await Promise.race([Promise.all(queued), sleep(this.#options.clock, this.#options.bounds.drainTimeoutMs)])
    if (this.#actor.getSnapshot().status === 'active') this.#actor.send({ type: 'QUIET' })
  }

  async #closeSessions(): Promise<void> {
    this.#serving?.drain()
    for (const session of [...this.#sessions.all()]) session.send({ type: 'NODE_CLOSED' })
    // What is in flight settles within the log's own append deadline.
    await this.#sessions.empty()
    if (this.#actor.getSnapshot().status === 'active') this.#actor.send({ type: 'SESSIONS_CLOSED' })
  }

  async #tearDown(): Promise<void> {
    this.#sessions.stop()
    this.#topics?.close()
    await this.#serving?.close()
    await this.#writer?.close()
    this.#sealer.close()
    this.#opener.close()
    this.#options.logger.info({ nodeId: this.incarnation }, 'stream node closed')
  }

  /**
   * True: the session is closed for good and nothing of it is in flight (design.md §3.2). A retired incarnation never
   * says so: its last batches may still land, only a fence can end them.
   */
  #release(sessionId: SessionId): boolean {
    if (this.#lanes === undefined || this.#lanes.isRetired) return false
    return this.#sessions.release(sessionId)
  }

  /** Node to node: release a producer's session (design.md §3.2). */
  async #askRelease(key: Incarnation, request: ReleaseRequest, deadlineMs: number): Promise<ReleaseAnswer> {
    const body = encodeReleaseRequest(request)
    const envelope = encodeEnvelope({
      version: envelopeVersion,
      method: 'release',
      requestId: `${this.incarnation}/${request.sessionId}`,
      principal: nodePrincipal,
      body,
    })
    const outcome = await this.#options.switchboard.call(key, envelope, { deadlineMs })
    switch (outcome.kind) {
      case 'unroutable':
        return 'unroutable'
      case 'lost':
      case 'timeout':
        return 'silent'
      case 'answered': {
        const answer = decodeAnswer(outcome.body)
        if (answer.body === undefined) return 'pending' // It lives, and says no: it may not be fenced for that.
        return decodeReleaseReply(answer.body).released ? 'released' : 'pending'
      }
    }
  }

  #observe(method: string, error: TrunklineError | undefined, durationMs: number, bug: unknown): void {
    this.#options.metrics.call(method, error?.name ?? 'ok', durationMs)
    if (bug !== undefined)
      this.#options.logger.error({ nodeId: this.incarnation, method, err: bug }, 'a call failed unexpectedly')
  }

  #unknownSessionEvent(context: SessionContext, event: SessionEvent): void {
    this.#options.metrics.unknownEvent('session', event.type)
    this.#options.logger.error(
      { nodeId: this.incarnation, sessionId: context.sessionId, event: event.type },
      'a session met an event that it does not know',
    )
  }
}

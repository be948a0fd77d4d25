// Owns: one incarnation of a stream node: its log writer, keys, sessions, its place at the switchboard, its drain and end.
// N1 An incarnation that retires closes its sessions with SESSION_GONE and never appends again; main starts another one.
// N2 Drain: no allocation, typed refusals at once, what is queued is published within drainTimeoutMs, then everything
//    still open is closed (its clients go on elsewhere).
// N3 `ended` settles when nothing of it runs any more: sessions, readers, the writer, then the key (until then other
//    nodes get an answer to a release). Every step is bounded; one that fails is logged and does not stop the next.
// Leaves out: which adapters (src/main), restarting, signals.
import { type Actor, createActor } from 'xstate'
import { BlockOpener } from '../crypto/block-opener.ts'
import { BlockSealer } from '../crypto/block-sealer.ts'
import type { GatewayKeys } from '../crypto/gateway-keys.ts'
import { type NodeEnd, type NodeEvent, nodeMachine } from '../fsm/server/node.machine.ts'
import type { SessionContext, SessionEvent } from '../fsm/server/session.types.ts'
import type { Logger } from '../observability/log.ts'
import type { Tracing } from '../observability/tracing.ts'
import type { Clock } from '../ports/clock.ts'
import type { EventLog, LogWriter } from '../ports/event-log.ts'
import type { KeyProvider } from '../ports/key-provider.ts'
import type { Random } from '../ports/random.ts'
import type { ServeContext, Serving, Switchboard } from '../ports/switchboard.ts'
import { type Envelope, envelopeVersion, type Principal, type ReleaseRequest } from '../protocol/envelope.ts'
import { decodeAnswer, decodeReleaseReply, encodeEnvelope, encodeReleaseRequest } from '../protocol/envelope-codec.ts'
import { TrunklineError } from '../protocol/errors.ts'
import type { Incarnation, ProducerId, SessionId } from '../protocol/ids.ts'
import type { Limits } from '../protocol/messages.ts'
import { defaultTenant } from '../protocol/tenant-topics.ts'
import { Allocator } from './allocate.ts'
import { settlesWithin } from './deadline.ts'
import { Dispatch } from './dispatch.ts'
import { CatchUpLanes } from './read/catch-up-lanes.ts'
import { OpenedBlocks } from './read/opened-blocks.ts'
import { TopicReader } from './read/topic-reader.ts'
import { bindSessionMachine } from './session-actions.ts'
import { Sessions } from './sessions.ts'
import type { StreamMetrics } from './stream-metrics.ts'
import { timedOpener, timedSealer } from './timed-crypto.ts'
import { TopicAdmin } from './topic-admin.ts'
import { type TopicDefaults, Topics } from './topics.ts'
import { AppendLanes } from './write/append-lanes.ts'
import { StagedBytes } from './write/staged-bytes.ts'
import { type ReleaseAnswer, TakeOvers } from './write/take-over.ts'
import { WriteSession } from './write-session.ts'

export interface StreamNodeBounds {
  /** Allocations that run at once. */
  readonly allocationsMax: number
  /** Open sessions; above it allocations answer NO_CAPACITY. */
  readonly sessionsMax: number
  /** Of one client, and of one tenant; above them its allocations answer TOO_MANY_REQUESTS. 0 or absent: no limit. */
  readonly clientSessionsMax?: number
  readonly tenantSessionsMax?: number
  /** Opened blocks kept for readers. */
  readonly readCacheBytes: number
  /** Bytes that are staged, wait for the log or are at it. */
  readonly appendBufferBytes: number
  /** Staged, not committed, of one client and of one tenant; above them a write answers TOO_MANY_REQUESTS. 0 or absent: half of the buffer, as all together. */
  readonly clientStagedBytesMax?: number
  readonly tenantStagedBytesMax?: number
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
  /** Default: off. */
  readonly tracing?: Tracing | undefined
  readonly version: string
  readonly topics: TopicDefaults
}

/** How a node names itself to another node. */
const nodePrincipal: Principal = {
  subject: 'stream-node',
  clientId: 'stream-node',
  tenant: defaultTenant,
  expiresAtMs: Number.MAX_SAFE_INTEGER,
}
/** What a draining node still answers: it finishes what was begun. */
const finishing: ReadonlySet<string> = new Set(['ack', 'nack', 'dispose', 'release'])
/** What is in flight when a node closes its sessions: longer than a healthy log needs for a batch. */
const inFlightMs = 1_000
/** One step of the tear-down: calls that run are bounded by their deadlines, which nobody has to wait for. */
const tearDownStepMs = 5_000

export class StreamNode {
  readonly incarnation: Incarnation
  /** N3. Settles with the reason. */
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
  #blocks: OpenedBlocks | undefined
  readonly #ignoreKeys: () => void
  /** Asked while it was booting: it drains as soon as it serves. */
  #drainAsked = false
  /** Every session had closed before the writer did: nothing can be in flight, although the incarnation is over. */
  #quiet = false

  constructor(options: StreamNodeOptions) {
    const { clock, keys, random, limits, bounds } = options
    this.#options = options
    this.incarnation = options.incarnation
    this.#sealer = new BlockSealer({ keys, clock, random, tenant: defaultTenant })
    this.#opener = new BlockOpener({ keys, clock, tenant: defaultTenant })
    this.#ignoreKeys = keys.onChange((change) => {
      this.#sealer.recheck()
      if (change !== 'access') return
      this.#opener.recheck()
      this.#blocks?.forget()
    })
    this.#sessions = new Sessions({ clock, leaseMs: limits.leaseMs, ...bounds })
    const machine = nodeMachine.provide({
      actions: {
        beginDrain: () =>
          void this.#perform('drain', () => this.#finishWrites()).then(() => this.#send({ type: 'QUIET' })),
        closeSessions: () =>
          void this.#perform('close sessions', () => this.#closeSessions()).then(() =>
            this.#send({ type: 'SESSIONS_CLOSED' }),
          ),
        tearDown: () => void this.#tearDown().then(() => this.#send({ type: 'TORN_DOWN' })),
        unknownEvent: ({ event }) => options.metrics.unknownEvent('node', event.type),
      },
    })
    this.#actor = createActor(machine)
    this.ended = new Promise((resolve) => {
      this.#actor.subscribe({ complete: () => resolve(this.#actor.getSnapshot().context.end) })
    })
    this.#actor.start()
  }

  /** Opens the log under this incarnation and serves. Rejects when the log or the switchboard refuses; the node has then ended. */
  async boot(): Promise<void> {
    const { log, switchboard, clock, random, limits, gatewayKeys, bounds, metrics, tracing, incarnation } =
      this.#options
    try {
      const writer = await log.open(incarnation)
      this.#writer = writer
      const lanes = new AppendLanes({ writer, bufferBytesMax: bounds.appendBufferBytes, clock, metrics, tracing })
      this.#lanes = lanes
      const blocks = new OpenedBlocks({
        opener: timedOpener(this.#opener, { clock, metrics }),
        bytesMax: bounds.readCacheBytes,
        metrics,
      })
      this.#blocks = blocks
      const catchUpLanes = new CatchUpLanes()
      const topics = new Topics({
        log,
        readerOf: (topic) => new TopicReader({ log, blocks, lanes: catchUpLanes, clock, topic, metrics }),
        defaults: this.#options.topics,
        clock,
        onDefect: (thrown) =>
          this.#options.logger.error({ key: incarnation, err: thrown }, 'the topics could not be looked at'),
        inUse: () => new Set([...this.#sessions.all()].map(({ topicId }) => topicId)),
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
        tracing,
        localRelease: (_: ProducerId, sessionId: SessionId) => this.#release(sessionId),
        switchboardCall: (key, request, deadlineMs, traceparent) =>
          this.#askRelease(key, request, deadlineMs, traceparent),
      })
      const allocator = new Allocator({
        incarnation,
        pid: writer.pid,
        clusterId: await log.clusterId(),
        log,
        topics,
        sessions: this.#sessions,
        lanes,
        staged: new StagedBytes({
          clientBytesMax: bounds.clientStagedBytesMax,
          tenantBytesMax: bounds.tenantStagedBytesMax,
          appendBufferBytes: bounds.appendBufferBytes,
        }),
        sealer: timedSealer(this.#sealer, { clock, metrics }),
        takeOvers,
        gatewayKeys,
        limits,
        clock,
        random,
        metrics,
        tracing,
        onDefect: ({ id }, thrown) =>
          this.#options.logger.error({ key: incarnation, sessionId: id, err: thrown }, 'a session ended by a defect'),
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
        nodeId: incarnation,
        tracing,
        allocating: (change) => metrics.allocating(change),
        observe: (method, error, durationMs, bug, envelope) => this.#observe(method, error, durationMs, bug, envelope),
      })
      metrics.sessionStates((state) => this.#sessions.inState(state))
      const answer = (body: Uint8Array, { deadlineAtMs }: ServeContext): Promise<Uint8Array> =>
        dispatch.answer(body, deadlineAtMs)
      this.#serving = await switchboard.serve(incarnation, { allocate: answer, call: answer })
      this.#serving.setCapacity(bounds.allocationsMax)
      void lanes.retired.then((reason) => {
        if (reason === 'closed') return
        this.#options.logger.warn({ key: incarnation, reason }, 'incarnation retired')
        this.#send({ type: 'RETIRED' })
      })
      this.#send({ type: 'BOOTED' })
      this.#options.logger.info({ key: incarnation }, 'stream node serves')
      if (this.#drainAsked) this.#send({ type: 'DRAIN' })
    } catch (thrown) {
      this.#send({ type: 'BOOT_FAILED' })
      await this.ended
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
    if (this.#actor.getSnapshot().matches('booting')) this.#drainAsked = true
    else this.#send({ type: 'DRAIN' })
    return this.ended
  }

  #admit(method: string): void {
    const snapshot = this.#actor.getSnapshot()
    if (snapshot.matches('serving')) return
    if (snapshot.matches('draining')) {
      if (finishing.has(method)) return
      throw new TrunklineError('DRAINING')
    }
    // While the key is bound another node that asks for a producer gets an answer.
    if (snapshot.matches('tearingDown') && method === 'release') return
    throw new TrunklineError(method === 'allocate' ? 'UNAVAILABLE' : 'SESSION_GONE')
  }

  /** An actor that has ended hears nothing: a step of the drain may end after a fence ended the node. */
  #send(event: NodeEvent): void {
    if (this.#actor.getSnapshot().status === 'active') this.#actor.send(event)
  }

  /** N2: what is queued has drainTimeoutMs. */
  async #finishWrites(): Promise<void> {
    const { clock, bounds, metrics } = this.#options
    const startedAtMs = clock.monotonicMs()
    this.#serving?.drain()
    this.#sessions.close('DRAINING')
    const lanes = this.#lanes
    const queued =
      lanes === undefined
        ? []
        : [...this.#sessions.all()].filter((session) => session instanceof WriteSession).map(({ id }) => lanes.idle(id))
    // Parked reads hold nothing up: their clients are better off elsewhere at once.
    for (const session of [...this.#sessions.all()])
      if (!(session instanceof WriteSession)) session.send({ type: 'NODE_CLOSED' })
    const isFinished = await settlesWithin(clock, bounds.drainTimeoutMs, Promise.all(queued))
    metrics.drained(isFinished ? 'finished' : 'cut', clock.monotonicMs() - startedAtMs)
  }

  async #closeSessions(): Promise<void> {
    const { clock } = this.#options
    this.#serving?.drain()
    this.#sessions.close('UNAVAILABLE')
    for (const session of [...this.#sessions.all()]) session.send({ type: 'NODE_CLOSED' })
    const empty = this.#sessions.empty()
    this.#quiet = (await settlesWithin(clock, inFlightMs, empty)) && this.#lanes?.isRetired === false
    if (this.#sessions.size === 0) return
    // The log does not answer. Ended here, what is in flight is unanswered, and a successor finds out.
    await this.#writer?.close()
    if (!(await settlesWithin(clock, inFlightMs, empty)))
      throw new Error(`${this.#sessions.size} sessions did not close`)
  }

  /** N3. */
  async #tearDown(): Promise<void> {
    await this.#perform('close readers', async () => {
      this.#sessions.stop()
      this.#topics?.close()
    })
    await this.#perform('close writer', async () => this.#writer?.close())
    await this.#perform('unbind', async () => this.#serving?.close())
    await this.#perform('forget keys', async () => {
      this.#ignoreKeys()
      this.#sealer.close()
      this.#opener.close()
    })
    this.#options.logger.info({ key: this.incarnation }, 'stream node closed')
  }

  /** N3: bounded, and never rejects. */
  async #perform(step: string, work: () => Promise<unknown>): Promise<void> {
    const { clock, bounds, logger } = this.#options
    const { incarnation: key } = this
    try {
      const waitMs = bounds.drainTimeoutMs + tearDownStepMs
      if (!(await settlesWithin(clock, waitMs, work())))
        logger.error({ key, event: step, waitMs }, 'a node does not end')
    } catch (thrown) {
      logger.error({ key, event: step, err: thrown }, 'a step of the end of a node failed')
    }
  }

  /**
   * True: the session is closed for good and nothing of it is in flight (design.md §3.2). A retired incarnation never
   * says so: its last batches may still land, only a fence can end them. One that closed with nothing in flight may.
   */
  #release(sessionId: SessionId): boolean {
    if (this.#lanes === undefined || (this.#lanes.isRetired && !this.#quiet)) return false
    return this.#sessions.release(sessionId)
  }

  /** Node to node: release a producer's session (design.md §3.2). */
  async #askRelease(
    key: Incarnation,
    request: ReleaseRequest,
    deadlineMs: number,
    traceparent: string | undefined,
  ): Promise<ReleaseAnswer> {
    const body = encodeReleaseRequest(request)
    const envelope = encodeEnvelope({
      version: envelopeVersion,
      method: 'release',
      requestId: `${this.incarnation}/${request.sessionId}`,
      traceparent,
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

  #observe(
    method: string,
    error: TrunklineError | undefined,
    durationMs: number,
    bug: unknown,
    envelope: Envelope | undefined,
  ): void {
    this.#options.metrics.call(method, error?.name ?? 'ok', durationMs)
    if (bug !== undefined)
      this.#options.logger.error(
        { key: this.incarnation, requestId: envelope?.requestId, sessionId: envelope?.sessionId, method, err: bug },
        'a call failed unexpectedly',
      )
  }

  #unknownSessionEvent(context: SessionContext, event: SessionEvent): void {
    this.#options.metrics.unknownEvent('session', event.type)
    this.#options.logger.error(
      { key: this.incarnation, sessionId: context.sessionId, event: event.type },
      'a session met an event that it does not know',
    )
  }
}

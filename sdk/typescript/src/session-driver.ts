// Owns: one client session machine at work: carries out its commands over a transport and tells it the answers.
// D1 Every command is answered to the machine, however late: the machine judges what counts.
// D2 What is kept of a reply is copied out of its frame, so that a token never pins a batch.
// Leaves out: proofs (signed-sessions.ts), what is decided (src/fsm/client), events and batches (producer.ts, reader.ts).
import { createActor } from 'xstate'
import type { Clock, Random } from '../../../src/fsm/client/client-ports.ts'
import { clientSessionMachine } from '../../../src/fsm/client/client-session.machine.ts'
import type {
  AnswerFacts,
  ClientSessionContext,
  ClientSessionEvent,
  ClientSessionInput,
  ClientSessionOutput,
  Command,
  ReadOpKind,
  WriteOutcomeFacts,
} from '../../../src/fsm/client/client-session.types.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import {
  type AllocateReply,
  type AllocateRequest,
  type Block,
  type Limits,
  mode,
  type Proof,
  type ReadReply,
  type StartAt,
  type Turn,
} from '../../../src/protocol/messages.ts'
import type { Bearer } from './bearer.ts'
import { SignedSessions } from './signed-sessions.ts'
import type { Transport, Way } from './transport.ts'
import { type TroubleReport, TroubleWatch } from './trouble.ts'

/** What a session works with; the composition provides it. */
export interface Environment {
  readonly transport: Transport
  readonly bearer: Bearer
  readonly clock: Clock
  readonly random: Random
  /** Told of a machine event that its state does not expect: a defect; tests throw. */
  readonly onUnknownEvent: (type: string) => void
  /** Told when a session does not get on, and when it does again. */
  readonly onTrouble?: ((report: TroubleReport) => void) | undefined
  /** Failures in a row before `onTrouble` is told. Default 3. */
  readonly troubleAfterFailures?: number | undefined
}

export interface OpenedInfo {
  readonly sessionId: string
  readonly partitions: number
  readonly limits: Limits
  /** Where a read session starts. */
  readonly cursor: Uint8Array | null
}

export interface ReadParameters {
  readonly maxEvents?: number | undefined
  readonly maxBytes?: number | undefined
  readonly minBytes?: number | undefined
  readonly waitMs: number
}

/** What the owner of a session is told. Called synchronously while the machine takes an event. */
export interface SessionHandlers {
  opened(info: OpenedInfo): void
  settled(id: number, outcome: WriteOutcomeFacts): void
  /** `reply` is the answer: of a read the batch, of ack and nack what the gateway said. */
  done(op: ReadOpKind, reply: { readonly cursor?: Uint8Array | undefined } | ReadReply): void
  failed(op: ReadOpKind, error: TrunklineError): void
  /** The session of an ack or nack is gone, and the request with it. */
  lost(op: 'ack' | 'nack'): void
  /** The machine ended; nothing follows. */
  ended(output: ClientSessionOutput): void
}

export interface DriverOptions {
  readonly environment: Environment
  readonly topic: string
  readonly startAt?: StartAt | undefined
  readonly input: ClientSessionInput
  readonly handlers: SessionHandlers
  /** The blocks of a write that is not answered yet. */
  readonly blocksOf?: (id: number) => readonly Block[]
  readonly read?: ReadParameters
}

/** Waits of a call beyond what the gateway itself may take for it. */
const timeoutMs = { allocate: 30_000, write: 45_000, control: 15_000, dispose: 3_000, readGrace: 10_000 } as const
const bearerCheckMs = 10_000

type SendCommand = Extract<Command, { kind: 'send' }>
type AllocateCommand = Extract<Command, { kind: 'allocate' }>
interface AnyReply {
  readonly turn: Turn
  readonly writeCursor?: Uint8Array | undefined
  readonly cursor?: Uint8Array | undefined
  readonly parts?: AnswerFacts['parts']
  readonly count?: number | undefined
}

export class SessionDriver {
  readonly #options: DriverOptions
  readonly #sessions: SignedSessions
  readonly #actor
  /** The reply that an ANSWERED event in hand is about. */
  #reply: AnyReply | undefined
  #sessionBearer: string | undefined
  #bearerCheckedAtMs = 0
  #failedAt: string | undefined
  #over = false

  constructor(options: DriverOptions) {
    this.#options = options
    this.#sessions = new SignedSessions(options.environment.transport)
    const { clock, onUnknownEvent, onTrouble, troubleAfterFailures } = options.environment
    const machine = clientSessionMachine.provide({
      actions: {
        perform: (_, commands) => {
          for (const command of commands) this.#perform(command)
        },
        unknownEvent: ({ event }) => onUnknownEvent(event.type),
      },
    })
    this.#actor = createActor(machine, {
      input: options.input,
      clock: {
        setTimeout: (run: () => void, delayMs: number) => clock.after(Math.max(0, delayMs), run),
        clearTimeout: (timer: { cancel(): void } | undefined) => timer?.cancel(),
      },
    })
    this.#actor.subscribe({
      complete: () => {
        const { output } = this.#actor.getSnapshot()
        this.#over = true
        if (output !== undefined) options.handlers.ended(output)
      },
      error: (thrown) => {
        this.#over = true
        options.handlers.ended({ reason: 'failed', error: TrunklineError.from(thrown) })
      },
    })
    if (onTrouble !== undefined) {
      const watch = new TroubleWatch({
        topic: options.topic,
        mode: options.input.mode,
        afterFailures: troubleAfterFailures,
        nowMs: () => clock.monotonicMs(),
        tell: onTrouble,
      })
      this.#actor.subscribe(({ context, status }) =>
        watch.note(context.failures, {
          // Only an allocate that nobody answers fails without an error.
          error: context.lastError ?? new TrunklineError('DEADLINE'),
          endpoint: this.#failedAt,
          nextTryMs: status === 'active' ? context.backoffMs : undefined,
        }),
      )
    }
    this.#actor.start()
  }

  get isOver(): boolean {
    return this.#over
  }

  get context(): ClientSessionContext {
    return this.#actor.getSnapshot().context
  }

  send(event: ClientSessionEvent): void {
    if (!this.#over) this.#actor.send(event)
  }

  #perform(command: Command): void {
    const { handlers } = this.#options
    switch (command.kind) {
      case 'allocate':
        void this.#allocate(command)
        return
      case 'send':
        void this.#send(command)
        return
      case 'opened':
        handlers.opened(command)
        return
      case 'settled':
        handlers.settled(command.id, command.outcome)
        return
      case 'done':
        if (this.#reply === undefined) throw new Error('an operation is done by a reply')
        handlers.done(command.op, this.#reply)
        return
      case 'failed':
        handlers.failed(command.op, command.error)
        return
      case 'lost':
        handlers.lost(command.op)
        return
    }
  }

  async #allocate({ attempt, resume, cursor }: AllocateCommand): Promise<void> {
    const { topic, startAt, input } = this.#options
    const reads = input.mode === 'read'
    const request: AllocateRequest = {
      topic,
      mode: reads ? mode.read : mode.write,
      ...(reads ? { startAt: cursor === null ? startAt : { cursor } } : {}),
      ...(resume === null ? {} : { resume }),
    }
    try {
      const reply = keptAllocateReply(await this.#allocateWithBearer(request))
      this.#sessions.learn(reply)
      this.send({ type: 'ALLOCATED', attempt, reply })
    } catch (thrown) {
      this.send({ type: 'ALLOCATE_FAILED', attempt, ...this.#failure(thrown) })
    }
  }

  /** A token that ended while it was cached is replaced once. */
  async #allocateWithBearer(request: AllocateRequest): Promise<AllocateReply> {
    const { transport, bearer } = this.#options.environment
    const first = await bearer.get()
    this.#sessionBearer = first
    try {
      return await transport.call(
        'allocate',
        { ...request, proof: { bearer: first } },
        { timeoutMs: timeoutMs.allocate },
      )
    } catch (thrown) {
      if (!(thrown instanceof TrunklineError) || (thrown.name !== 'TOKEN_EXPIRED' && thrown.name !== 'UNAUTHENTICATED'))
        throw thrown
      bearer.invalidate(first)
      const second = await bearer.get()
      if (second === first) throw thrown
      this.#sessionBearer = second
      return transport.call('allocate', { ...request, proof: { bearer: second } }, { timeoutMs: timeoutMs.allocate })
    }
  }

  async #send(command: SendCommand): Promise<void> {
    const { attempt, slot, seq } = command
    try {
      const reply = await this.#call(command)
      const turn = keptTurn(reply.turn)
      this.#reply = reply
      this.send({
        type: 'ANSWERED',
        attempt,
        slot,
        seq,
        answer: { turn, writeCursor: reply.writeCursor?.slice(), parts: reply.parts, count: reply.count },
      })
      if (command.request.kind === 'read') this.#checkBearer()
    } catch (thrown) {
      this.send({ type: 'FAILED', attempt, slot, seq, ...this.#failure(thrown) })
    } finally {
      this.#reply = undefined
    }
  }

  async #call(command: SendCommand): Promise<AnyReply> {
    const { request, token: session } = command
    const proof: Proof = { slot: command.slot, seq: command.seq, challenge: command.challenge }
    switch (request.kind) {
      case 'write': {
        const blocks = this.#options.blocksOf?.(request.id) ?? []
        return this.#sessions.call(
          'write',
          { proof, session, n: request.n, blocks, commit: true },
          { timeoutMs: timeoutMs.write },
        )
      }
      case 'read': {
        const read = this.#options.read ?? { waitMs: 0 }
        const ackOf = request.ackOf === null ? {} : { ackOf: request.ackOf }
        return this.#sessions.call(
          'read',
          { proof, session, n: request.n, ...ackOf, ...read },
          { timeoutMs: read.waitMs + timeoutMs.readGrace },
        )
      }
      case 'ack': {
        const count = request.count === null ? {} : { count: request.count }
        return this.#sessions.call('ack', { proof, session, n: request.n, ...count }, { timeoutMs: timeoutMs.control })
      }
      case 'nack':
        return this.#sessions.call(
          'nack',
          { proof, session, n: request.n, delayMs: request.delayMs },
          { timeoutMs: timeoutMs.control },
        )
      case 'extend': {
        const bearer = await this.#newBearer()
        const reply = await this.#sessions.call(
          'extend',
          { proof: { ...proof, ...bearer }, session },
          { timeoutMs: timeoutMs.control },
        )
        // Only now the session has it: an extend without an answer is repeated with it.
        if (bearer.bearer !== undefined) this.#sessionBearer = bearer.bearer
        return reply
      }
      case 'dispose':
        return this.#sessions.call('dispose', { proof, session }, { timeoutMs: timeoutMs.dispose })
    }
  }

  /** The bearer, when it is another than the session knows. */
  async #newBearer(): Promise<{ bearer?: string }> {
    try {
      const bearer = await this.#options.environment.bearer.get()
      return bearer === this.#sessionBearer ? {} : { bearer }
    } catch {
      // The session lives on with the bearer it has; when that ends, allocate reports why there is no other.
      return {}
    }
  }

  /** A reader that is never idle is never extended by the machine: its bearer is renewed here. */
  #checkBearer(): void {
    const { clock, bearer } = this.#options.environment
    const nowMs = clock.monotonicMs()
    if (nowMs - this.#bearerCheckedAtMs < bearerCheckMs) return
    this.#bearerCheckedAtMs = nowMs
    bearer.get().then(
      (token) => {
        if (token !== this.#sessionBearer) this.send({ type: 'REFRESH' })
      },
      // As in #newBearer: allocate will report it.
      () => undefined,
    )
  }

  #failure(thrown: unknown): { error: TrunklineError; jitter: number; way: Way | undefined } {
    const { transport, random } = this.#options.environment
    const error = TrunklineError.from(thrown)
    const way = transport.wayOf?.(error) ?? wayOfCause(transport, error)
    this.#failedAt = way?.endpoint
    return { error, jitter: random.fraction(), way }
  }
}

/** Of an error that was not believed as it came. */
function wayOfCause(transport: Transport, { cause }: TrunklineError): Way | undefined {
  return cause instanceof TrunklineError ? transport.wayOf?.(cause) : undefined
}

function keptTurn(turn: Turn): Turn {
  return { nextSeq: turn.nextSeq, challenge: turn.challenge.slice(), leaseMs: turn.leaseMs }
}

function keptAllocateReply(reply: AllocateReply): AllocateReply {
  return {
    ...reply,
    session: reply.session.slice(),
    secret: reply.secret.slice(),
    turn: keptTurn(reply.turn),
    cursor: reply.cursor?.slice(),
    writeCursor: reply.writeCursor?.slice(),
  }
}

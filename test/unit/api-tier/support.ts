// Owns: what the API tier's tests share: a scripted switchboard, real tokens, a principal, raw frames.

import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { type ApiMetrics, nullApiMetrics } from '../../../src/api-tier/api-metrics.ts'
import type { BearerVerifier } from '../../../src/api-tier/auth/bearer.ts'
import type { Authorizer } from '../../../src/api-tier/authorize/authorizer.ts'
import { GatewayCalls } from '../../../src/api-tier/gateway-calls.ts'
import type { SignaturesWanted } from '../../../src/api-tier/session-proofs.ts'
import { GatewayKeys } from '../../../src/crypto/gateway-keys.ts'
import { principalHash, type SessionTokenContent, sealSessionToken } from '../../../src/crypto/session-token.ts'
import { nullLogger } from '../../../src/observability/log.ts'
import type { Clock } from '../../../src/ports/clock.ts'
import type { AllocateOutcome, CallOptions, CallOutcome, Serving, Switchboard } from '../../../src/ports/switchboard.ts'
import type { Envelope, Principal } from '../../../src/protocol/envelope.ts'
import { decodeEnvelope, encodeAnswer, encodeErrorAnswer } from '../../../src/protocol/envelope-codec.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import {
  makeIncarnation,
  parseProducerId,
  parseSessionId,
  parseTopicId,
  parseTopicName,
} from '../../../src/protocol/ids.ts'
import { defaultLimits } from '../../../src/protocol/limits.ts'
import { type MethodName, mode, type ReplyOf, type Turn } from '../../../src/protocol/messages.ts'
import { encodeStruct } from '../../../src/protocol/thrift/codec.ts'
import { methodSchemas } from '../../../src/protocol/thrift/schemas.ts'
import { openAuthorizer } from '../../support/open-authorizer.ts'

export const random = new SeededRandom(7)
export const keys = GatewayKeys.generate(random, systemClock)
export const node = makeIncarnation('node-1', 'e1')

export const alice: Principal = { subject: 'alice', clientId: 'app', tenant: 'default', expiresAtMs: 4e12 }
export const bob: Principal = { subject: 'bob', clientId: 'app', tenant: 'default', expiresAtMs: 4e12 }

export const silentLogger = nullLogger

/** Bearers are the subject's name. */
export const bearers: BearerVerifier = {
  async verify(bearer) {
    if (bearer === 'alice' || bearer === 'bob')
      return { principal: bearer === 'alice' ? alice : bob, issuer: 'urn:test', scopes: [], roles: [] }
    if (bearer === 'expired') throw new TrunklineError('TOKEN_EXPIRED')
    throw new TrunklineError('UNAUTHENTICATED')
  },
}

export function tokenOf(over: Partial<SessionTokenContent> = {}, principal: Principal = alice): Uint8Array {
  return sealSessionToken(
    keys,
    {
      sessionId: parseSessionId('session-0001'),
      incarnation: node,
      pid: 1,
      topic: parseTopicName('quakes'),
      topicId: parseTopicId(`${'0'.repeat(31)}1`),
      mode: mode.read,
      principal: principalHash(principal.subject, principal.clientId, principal.tenant),
      packing: 1,
      partitions: 4,
      issuedAtMs: 1_000,
      ...over,
    },
    random,
  )
}

export const producerId = parseProducerId('0123456789abcdef0123456789abcdef')

export function writeToken(over: Partial<SessionTokenContent> = {}): Uint8Array {
  return tokenOf({ mode: mode.write, producerId, ...over })
}

export const turn: Turn = { nextSeq: 2, challenge: Uint8Array.of(9, 8, 7), leaseMs: 60_000 }

export interface SeenCall {
  readonly route: 'allocate' | 'call'
  readonly key: string | undefined
  readonly envelope: Envelope
  readonly options: CallOptions
}

type Answering = (seen: SeenCall) => CallOutcome | AllocateOutcome | Promise<CallOutcome | AllocateOutcome>

/** Answers what the script says, and remembers what it was asked. */
export class ScriptedSwitchboard implements Switchboard {
  readonly seen: SeenCall[] = []
  answer: Answering

  constructor(answer: Answering) {
    this.answer = answer
  }

  async allocate(body: Uint8Array, options: CallOptions): Promise<AllocateOutcome> {
    return await this.#ask({ route: 'allocate', key: undefined, envelope: decodeEnvelope(body), options })
  }

  async call(key: string, body: Uint8Array, options: CallOptions): Promise<CallOutcome> {
    const outcome = await this.#ask({ route: 'call', key, envelope: decodeEnvelope(body), options })
    if (outcome.kind === 'no-capacity') throw new Error('calls have no capacity')
    return outcome
  }

  async #ask(seen: SeenCall): Promise<AllocateOutcome> {
    this.seen.push(seen)
    return await this.answer(seen)
  }

  serve(): Promise<Serving> {
    throw new Error('nobody serves here')
  }
  presence(): [] {
    return []
  }
  async close(): Promise<void> {}
}

export function replied<M extends MethodName>(method: M, reply: ReplyOf<M>): CallOutcome {
  return { kind: 'answered', body: encodeAnswer({ body: encodeStruct(methodSchemas[method].reply, reply) }) }
}

export function refused(error: TrunklineError): CallOutcome {
  return { kind: 'answered', body: encodeErrorAnswer(error) }
}

export interface CallsUnderTest {
  readonly calls: GatewayCalls
  readonly board: ScriptedSwitchboard
}

export function gatewayCalls(
  answer: Answering,
  over: { clock?: Clock; metrics?: ApiMetrics; signatures?: SignaturesWanted; authorizer?: Authorizer } = {},
): CallsUnderTest {
  const board = new ScriptedSwitchboard(answer)
  const calls = new GatewayCalls({
    switchboard: board,
    gatewayKeys: keys,
    tokens: bearers,
    authorizer: over.authorizer ?? openAuthorizer(over.clock ?? systemClock),
    clock: over.clock ?? systemClock,
    metrics: over.metrics ?? nullApiMetrics,
    logger: silentLogger,
    limits: defaultLimits,
    // Only the tests of signatures sign.
    signatures: over.signatures ?? 'optional',
  })
  return { calls, board }
}

export const context = { requestId: 'test-1' }

// Sessions that are signed with HMAC-MD5: who gets one, that nothing on the wire chooses the algorithm, and when they end.
import { setFips } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { Authorizer, type AuthorizerDeps } from '../../../src/api-tier/authorize/authorizer.ts'
import { openPolicy } from '../../../src/api-tier/authorize/policy.ts'
import type { Answered } from '../../../src/api-tier/gateway-calls.ts'
import { OpenedTokens } from '../../../src/api-tier/opened-tokens.ts'
import type { SignaturesWanted } from '../../../src/api-tier/session-proofs.ts'
import { openSessionToken, type SessionTokenContent, sessionSecret } from '../../../src/crypto/session-token.ts'
import { type Logger, nullLogger } from '../../../src/observability/log.ts'
import type { LogFields } from '../../../src/observability/log-fields.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { defaultLimits } from '../../../src/protocol/limits.ts'
import type { AllocateRequest, MethodName, RequestOf } from '../../../src/protocol/messages.ts'
import { deriveMacKeys, type MacKeys, requestMac, verifyReply } from '../../../src/protocol/signed-bytes.ts'
import { decodeStruct } from '../../../src/protocol/thrift/codec.ts'
import { methodSchemas } from '../../../src/protocol/thrift/schemas.ts'
import { alice, bob, context, gatewayCalls, keys, replied, tokenOf, turn, writeToken } from './support.ts'

const minuteMs = 60_000
const issuedAtMs = Date.UTC(2026, 0, 1)
const clientOf = ({ subject, clientId, tenant }: typeof alice, allowHmacMd5?: boolean) => ({
  ...{ subject, clientId, tenant },
  ...(allowHmacMd5 === undefined ? {} : { allowHmacMd5 }),
})
/** Alice may, Bob may not. */
const clients = [clientOf(alice, true), clientOf(bob)]

interface Given extends Partial<AuthorizerDeps> {
  readonly signatures?: SignaturesWanted
  readonly answer?: Parameters<typeof gatewayCalls>[0]
}

function underTest({ signatures = 'thrift', answer, ...deps }: Given = {}) {
  const clock = new SimulatedClock(issuedAtMs)
  const lines: (LogFields & { message: string })[] = []
  const decisions: string[] = []
  const keep = (fields: LogFields, message: string): void => void lines.push({ ...fields, message })
  const logger: Logger = { ...nullLogger, info: keep, warn: keep }
  const authorizer = new Authorizer({
    policy: openPolicy,
    issuer: 'urn:test',
    clients,
    clock,
    logger,
    metrics: { decided: (action, outcome) => decisions.push(`${action} ${outcome}`), auditSuppressed: () => {} },
    allowHmacMd5: true,
    isFips: () => false,
    ...deps,
  })
  const acked = () => replied('ack', { turn, n: 1 })
  return { ...gatewayCalls(answer ?? acked, { clock, authorizer, signatures }), authorizer, clock, lines, decisions }
}

const allocated = () =>
  replied('allocate', {
    ...{ session: tokenOf(), secret: new Uint8Array(32), turn, sessionId: 'session-0001' },
    ...{ partitions: 4, limits: defaultLimits, expiresAtMs: 1 },
  })

const asking = (over: Partial<AllocateRequest> = {}): AllocateRequest => ({
  ...{ proof: { bearer: 'alice' }, topic: 'quakes', mode: 1, macAlgorithm: 'hmac-md5' },
  ...over,
})

const md5Token = (over: Partial<SessionTokenContent> = {}) => tokenOf({ macAlgorithm: 'hmac-md5', issuedAtMs, ...over })
const md5KeysOf = (token: Uint8Array) => deriveMacKeys(sessionSecret(keys, token, 'hmac-md5'), 'hmac-md5')

function signed<M extends MethodName>(method: M, by: MacKeys, unsigned: RequestOf<M>): RequestOf<M> {
  return { ...unsigned, proof: { ...unsigned.proof, mac: requestMac(by, method, unsigned) } }
}

const ackOf = (session: Uint8Array): RequestOf<'ack'> => ({ session, n: 1, proof: { seq: 1 } })

function errorIn(answered: Answered): { name: string; details: object; isSigned: boolean } {
  if (!('error' in answered)) throw new Error('it was answered')
  const { name, details = new Map(), mac, turn: at } = answered.error
  return { name, details: Object.fromEntries(details), isSigned: mac !== undefined || at?.mac !== undefined }
}

describe('an allocation with hmac-md5', () => {
  it('given both switches, then the node is asked for 15 minutes at most, and it is audited and counted', async () => {
    const { calls, board, lines, decisions } = underTest({ answer: allocated })
    await calls.call('allocate', asking(), context)
    const envelope = board.seen[0]?.envelope
    expect(decodeStruct(methodSchemas.allocate.request, envelope?.body ?? new Uint8Array()).macAlgorithm).toBe(
      'hmac-md5',
    )
    expect(envelope?.principal.expiresAtMs).toBe(issuedAtMs + 15 * minuteMs)
    expect(decisions).toEqual(['read allowed', 'hmac-md5 allowed'])
    expect(lines.filter(({ action }) => action === 'hmac-md5')).toEqual([
      {
        ...{
          tier: 'api',
          event: 'audit',
          requestId: 'test-1',
          method: 'allocate',
          action: 'hmac-md5',
          topic: 'quakes',
        },
        ...{ subject: 'alice', clientId: 'app', tenant: 'default', issuer: 'urn:test' },
        ...{ outcome: 'allowed', rule: 'allowHmacMd5', message: 'access allowed' },
      },
    ])
  })

  it('given a bearer that ends sooner, then the session ends with it', async () => {
    const soon = { ...alice, expiresAtMs: issuedAtMs + minuteMs }
    const { authorizer } = underTest()
    const access = {
      caller: { principal: soon, issuer: 'urn:test', scopes: [], roles: [] },
      method: 'allocate',
      requestId: 'r',
    }
    expect(authorizer.md5Sessions.allocating(access, asking()).expiresAtMs).toBe(issuedAtMs + minuteMs)
  })

  it.each([undefined, 'hmac-sha256'])(
    'given both switches and %s, then nothing is weak or short',
    async (macAlgorithm) => {
      const { calls, board, decisions } = underTest({ answer: allocated })
      await calls.call('allocate', asking({ macAlgorithm }), context)
      expect(board.seen[0]?.envelope.principal).toEqual(alice)
      expect(decisions).toEqual(['read allowed'])
    },
  )

  it.each<[string, Given, Partial<AllocateRequest>, string]>([
    ['the gateway not told to', { allowHmacMd5: false }, {}, 'not allowed to this client'],
    ['a client without the switch', {}, { proof: { bearer: 'bob' } }, 'not allowed to this client'],
    ['a switch that is off', { clients: [clientOf(alice, false)] }, {}, 'not allowed to this client'],
    ['nothing said', { clients: [] }, {}, 'not allowed to this client'],
    ['the same names at a provider', { issuer: 'urn:another' }, {}, 'not allowed to this client'],
    ['FIPS mode', { isFips: () => true }, {}, 'FIPS mode'],
  ])('given %s, then it is WEAK_MAC_REFUSED, audited, counted, and no node is asked', async (_, given, over, why) => {
    const { calls, board, lines, decisions } = underTest({ answer: allocated, ...given })
    const error = errorIn(await calls.callSigned('allocate', asking(over), context))
    expect(error).toEqual({ name: 'WEAK_MAC_REFUSED', details: { macAlgorithm: 'hmac-md5', why }, isSigned: false })
    expect(board.seen).toEqual([])
    expect(decisions).toEqual(['read allowed', 'hmac-md5 denied'])
    expect(lines.at(-1)).toMatchObject({ action: 'hmac-md5', outcome: 'denied', reason: why, method: 'allocate' })
  })

  it('given a name that is no algorithm, then it is BAD_REQUEST', async () => {
    const { calls, board } = underTest({ answer: allocated })
    const error = errorIn(await calls.callSigned('allocate', asking({ macAlgorithm: 'none' }), context))
    expect(error).toMatchObject({ name: 'BAD_REQUEST', details: { field: 'macAlgorithm' } })
    expect(board.seen).toEqual([])
  })

  it('given a producer whose session with HMAC-MD5 is over, then it is taken along', async () => {
    const session = writeToken({ macAlgorithm: 'hmac-md5', issuedAtMs: 0 })
    const resume = { session, writeCursor: new Uint8Array(), nextN: 1 }
    const { calls } = underTest({ answer: allocated, clients: [] })
    const request = asking({ mode: 2, resume, macAlgorithm: undefined })
    expect((await calls.call('allocate', request, context)).sessionId).toBe('session-0001')
  })
})

describe('a call of a session', () => {
  const md5 = md5Token()
  const sha256 = tokenOf()

  it('given a token with HMAC-MD5, when it is signed so, then it runs and its answer is signed so too', async () => {
    const { calls } = underTest()
    const sent = signed('ack', md5KeysOf(md5), ackOf(md5))
    const answered = await calls.callSigned('ack', sent, context)
    if (!('reply' in answered)) throw new Error(answered.error.name)
    const reply = decodeStruct(methodSchemas.ack.reply, Buffer.concat(answered.reply))
    expect(reply.turn.mac).toHaveLength(16)
    expect(verifyReply(md5KeysOf(md5), 'ack', sent.proof, reply)).toBe(true)
  })

  const sha256Keys = deriveMacKeys(sessionSecret(keys, sha256))
  it.each<[string, RequestOf<'ack'>]>([
    [
      'a token with HMAC-SHA256, and HMAC-MD5 under keys derived for that',
      signed('ack', md5KeysOf(sha256), ackOf(sha256)),
    ],
    [
      'a token with HMAC-SHA256, and HMAC-MD5 under keys of its own secret',
      signed('ack', deriveMacKeys(sessionSecret(keys, sha256), 'hmac-md5'), ackOf(sha256)),
    ],
    [
      'a token with HMAC-SHA256, and HMAC-MD5 under its own keys',
      signed('ack', { ...sha256Keys, algorithm: 'hmac-md5' }, ackOf(sha256)),
    ],
    [
      'a token with HMAC-MD5, and HMAC-SHA256 under keys derived for that',
      signed('ack', deriveMacKeys(sessionSecret(keys, md5)), ackOf(md5)),
    ],
    [
      'a token with HMAC-MD5, and HMAC-SHA256 under its own keys',
      signed('ack', { ...md5KeysOf(md5), algorithm: 'hmac-sha256' }, ackOf(md5)),
    ],
    ['a token with HMAC-MD5 and no MAC', ackOf(md5)],
  ])('given %s, then it is BAD_PROOF, unsigned, and no node is asked', async (_, bad) => {
    const { calls, board } = underTest()
    expect(errorIn(await calls.callSigned('ack', bad, context))).toMatchObject({ name: 'BAD_PROOF', isSigned: false })
    expect(board.seen).toEqual([])
  })

  it('given a token with HMAC-MD5 that was altered anywhere, then it is BAD_SESSION_TOKEN', async () => {
    const { calls, board } = underTest()
    for (const [at] of md5.entries()) {
      const altered = md5.map((byte, index) => (index === at ? byte ^ 8 : byte))
      const error = errorIn(await calls.callSigned('ack', signed('ack', md5KeysOf(md5), ackOf(altered)), context))
      expect(error, `byte ${at}`).toEqual({ name: 'BAD_SESSION_TOKEN', details: {}, isSigned: false })
    }
    expect(board.seen).toEqual([])
  })

  it.each<[string, Given]>([
    ['the switch of its client is turned off', { clients: [clientOf(alice, false)] }],
    ['the switch of the gateway is turned off', { allowHmacMd5: false }],
    ['the process runs in FIPS mode', { isFips: () => true }],
  ])('given that %s, then calls, a refresh and a call with a bearer alone are WEAK_MAC_REFUSED', async (_, given) => {
    const { calls, board } = underTest({ ...given, signatures: 'optional' })
    const byMac = signed('ack', md5KeysOf(md5), ackOf(md5))
    const proof = { seq: 1, bearer: 'alice' }
    const refresh = signed('extend', md5KeysOf(md5), { session: md5, proof })
    const answers = [
      await calls.callSigned('ack', byMac, context),
      await calls.callSigned('extend', refresh, context),
      await calls.callSigned('ack', { ...ackOf(md5), proof }, context),
    ]
    for (const answer of answers) expect(errorIn(answer)).toMatchObject({ name: 'WEAK_MAC_REFUSED', isSigned: false })
    expect(board.seen).toEqual([])
  })

  it('given that Node itself is in FIPS mode, then it is WEAK_MAC_REFUSED', () => {
    const { md5Sessions } = underTest({ isFips: undefined }).authorizer
    const content = openSessionToken(keys, md5)
    expect(() => md5Sessions.check(content)).not.toThrow()
    setFips(true)
    try {
      expect(() => md5Sessions.check(content)).toThrow(expect.objectContaining({ name: 'WEAK_MAC_REFUSED' }))
    } finally {
      setFips(false)
    }
  })

  it('given 15 minutes since the allocation, then it is SESSION_GONE, whatever bearers came', async () => {
    const { calls, board, clock } = underTest({
      answer: ({ envelope }) => replied('extend', { turn, expiresAtMs: envelope.principal.expiresAtMs }),
    })
    const refresh = signed('extend', md5KeysOf(md5), { session: md5, proof: { seq: 1, bearer: 'alice' } })
    await clock.advance(15 * minuteMs - 1)
    const { reply } = (await calls.callSigned('extend', refresh, context)) as { reply: readonly Uint8Array[] }
    expect(decodeStruct(methodSchemas.extend.reply, Buffer.concat(reply)).expiresAtMs).toBe(issuedAtMs + 15 * minuteMs)
    expect(board.seen[0]?.envelope).toMatchObject({
      refreshed: true,
      principal: { expiresAtMs: issuedAtMs + 15 * minuteMs },
    })
    await clock.advance(1)
    for (const call of [refresh, signed('extend', md5KeysOf(md5), { session: md5, proof: { seq: 2 } })])
      expect(errorIn(await calls.callSigned('extend', call, context))).toMatchObject({
        name: 'SESSION_GONE',
        isSigned: false,
      })
    expect(board.seen).toHaveLength(1)
  })

  it('given a token with HMAC-SHA256, then none of this concerns it', async () => {
    const { calls, clock } = underTest({ clients: [], allowHmacMd5: false, isFips: () => true })
    await clock.advance(60 * minuteMs)
    expect(await calls.callSigned('ack', signed('ack', sha256Keys, ackOf(sha256)), context)).toHaveProperty('reply')
  })
})

describe('administration', () => {
  const caller = (principal: typeof alice) => ({ principal, issuer: 'urn:test', scopes: [], roles: [] })
  const administers = ({ authorizer }: ReturnType<typeof underTest>, principal: typeof alice): string => {
    try {
      authorizer.require({ caller: caller(principal), method: 'topic-create', requestId: 'r' }, 'quakes', 'admin')
      return 'allowed'
    } catch (thrown) {
      return TrunklineError.from(thrown).name
    }
  }

  it('given a policy that allows everything, then a client with HMAC-MD5 administers nothing, and others do', () => {
    const world = underTest()
    expect([administers(world, alice), administers(world, bob)]).toEqual(['FORBIDDEN', 'allowed'])
    expect(world.lines[0]).toMatchObject({ reason: 'clients that may sign with HMAC-MD5 administer nothing' })
    expect(world.authorizer.allowsAny(caller(alice), 'quakes')).toBe(true)
  })

  it('given a gateway that is not told to allow HMAC-MD5, then the switch of a client takes nothing from it', () => {
    expect(administers(underTest({ allowHmacMd5: false }), alice)).toBe('allowed')
  })
})

describe('keys that were derived', () => {
  it('given more sessions than are kept, then the oldest are forgotten and derived again', () => {
    const tokens = new OpenedTokens(keys, 2, () => {})
    const [first, second, third] = [md5Token(), md5Token(), tokenOf()]
    const made = tokens.macKeys(first)
    expect(tokens.macKeys(first)).toBe(made)
    tokens.macKeys(second)
    tokens.macKeys(third)
    expect(tokens.macKeys(first)).not.toBe(made)
    expect(tokens.macKeys(first)).toEqual(md5KeysOf(first))
  })

  it('given a session that may do nothing any more, then its keys are forgotten at once', () => {
    let isOver = false
    const tokens = new OpenedTokens(keys, 2, () => {
      if (isOver) throw new TrunklineError('SESSION_GONE')
    })
    const token = md5Token()
    const made = tokens.macKeys(token)
    isOver = true
    expect(() => tokens.macKeys(token)).toThrow(expect.objectContaining({ name: 'SESSION_GONE' }))
    isOver = false
    expect(tokens.macKeys(token)).not.toBe(made)
  })
})

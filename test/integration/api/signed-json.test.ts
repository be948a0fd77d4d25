// Calls of a session over JSON that are signed: what is changed on the way is refused before it is read, answers carry a
// MAC, and an operator can ask for it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Proof } from '../../../src/protocol/messages.ts'
import { deriveMacKeys, type MacKeys } from '../../../src/protocol/signed-bytes.ts'
import { httpReplyMac, httpRequestMac } from '../../../src/protocol/signed-http.ts'
import { Harness } from '../sessions/harness.ts'

interface Call {
  readonly method: string
  readonly path: string
  readonly body: string
  readonly headers: Record<string, string>
  readonly proof: Proof
}

const fromText = (text: string | null): Uint8Array => Buffer.from(text ?? '', 'base64url')
const toText = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url')

/** One JSON session, in turn. */
class JsonSession {
  readonly #at: Harness
  readonly path: string
  readonly keys: MacKeys
  readonly #token: string
  #seq: string
  #challenge: string

  private constructor(at: Harness, allocated: Response, body: { sessionId: string; session: string; secret: string }) {
    this.#at = at
    this.path = `/v1/sessions/${body.sessionId}`
    this.keys = deriveMacKeys(fromText(body.secret))
    this.#token = body.session
    this.#seq = allocated.headers.get('trunkline-next-seq') ?? ''
    this.#challenge = allocated.headers.get('trunkline-next-challenge') ?? ''
  }

  static async open(at: Harness, request: object): Promise<JsonSession> {
    const answer = await at.postJson('/v1/sessions', request)
    expect(answer.status).toBe(201)
    return new JsonSession(at, answer, (await answer.json()) as { sessionId: string; session: string; secret: string })
  }

  signed(step: string, request: unknown): Call {
    const body = JSON.stringify(request)
    const proof = { slot: 0, seq: Number(this.#seq), challenge: fromText(this.#challenge) }
    const path = `${this.path}/${step}`
    const session = fromText(this.#token)
    const contentType = 'application/json'
    const message = { method: 'POST', path, contentType, body: Buffer.from(body), session, proof }
    const headers = {
      'content-type': contentType,
      'trunkline-session': this.#token,
      'trunkline-seq': this.#seq,
      'trunkline-challenge': this.#challenge,
      'trunkline-mac': toText(httpRequestMac(this.keys, message)),
    }
    return { method: 'POST', path, body, headers, proof: { ...proof, mac: fromText(headers['trunkline-mac']) } }
  }

  /** The answer, and whether it is signed for that call. */
  async send(
    call: Call,
    bearer: string | null = this.#at.bearer,
  ): Promise<{ status: number; name: string; body: string; isSigned: boolean; isLast: boolean }> {
    const answer = await this.#at.http(
      call.path,
      { method: call.method, body: call.body, headers: call.headers },
      bearer,
    )
    const body = await answer.text()
    const nextSeq = answer.headers.get('trunkline-next-seq')
    const challenge = answer.headers.get('trunkline-next-challenge')
    if (nextSeq !== null && challenge !== null) [this.#seq, this.#challenge] = [nextSeq, challenge]
    const turn =
      nextSeq === null
        ? undefined
        : {
            nextSeq: Number(nextSeq),
            challenge: fromText(challenge),
            leaseMs: Number(answer.headers.get('trunkline-lease-ms')),
          }
    const expected = httpReplyMac(this.keys, call.proof, { status: answer.status, body: Buffer.from(body), turn })
    const mac = answer.headers.get('trunkline-mac')
    return {
      status: answer.status,
      name: String((JSON.parse(body) as { name?: string }).name),
      body,
      isSigned: mac === toText(expected),
      isLast: answer.headers.get('connection') === 'close',
    }
  }
}

const write = { n: '1', commit: true, events: [{ key: 'k', payload: { text: 'pay 10' } }] }

describe('a session over JSON', () => {
  let at: Harness
  beforeAll(async () => {
    at = await Harness.start()
  })
  afterAll(() => at.end())

  it('Given signed calls, then they run, and answers and errors are signed', async () => {
    const session = await JsonSession.open(at, { topic: 'signed', mode: 'write' })
    expect(await session.send(session.signed('write', write))).toMatchObject({ status: 200, isSigned: true })
    expect(await session.send(session.signed('ack', { n: '9' }))).toMatchObject({ status: 409, isSigned: true })
    // Not a body that fits: told before any node is asked, and signed all the same.
    expect(await session.send(session.signed('ack', { n: 'x' }))).toMatchObject({ status: 400, isSigned: true })
  })

  it('Given a call that was changed on its way, then it is refused unsigned, and nothing is published', async () => {
    const session = await JsonSession.open(at, { topic: 'changed', mode: 'write' })
    const call = session.signed('write', write)
    const { headers } = call
    const { 'content-type': _, ...untyped } = headers
    const bad: readonly Call[] = [
      { ...call, body: call.body.replace('pay 10', 'pay 90') },
      { ...call, body: `${call.body} ` },
      { ...call, body: '' },
      { ...call, path: `${call.path}?x=1` },
      { ...call, path: call.path.replace('/write', '/ack') },
      { ...call, headers: { ...headers, 'content-type': 'application/json; charset=utf-8' } },
      { ...call, headers: untyped },
      { ...call, headers: { ...headers, 'trunkline-seq': '2' } },
      { ...call, headers: { ...headers, 'trunkline-slot': '1' } },
      { ...call, headers: { ...headers, 'trunkline-challenge': toText(new Uint8Array(12)) } },
      { ...call, headers: { ...headers, 'trunkline-mac': toText(new Uint8Array(32)) } },
      { ...call, headers: { ...headers, 'trunkline-mac': '' } },
    ]
    for (const each of bad) {
      const answer = await session.send(each)
      expect([answer.status, answer.name, answer.isSigned], each.path).toEqual([401, 'BAD_PROOF', false])
    }
    expect(await at.everything('changed')).toEqual(new Map())
    expect(await session.send(call)).toMatchObject({ status: 200, isSigned: true })
    expect([...(await at.everything('changed')).values()].flat()).toEqual(['pay 10'])
  })

  it('Given another bearer in a signed call, then the refusal is not signed, and the call itself still runs', async () => {
    const session = await JsonSession.open(at, { topic: 'swapped', mode: 'write' })
    const call = session.signed('write', write)
    const bearers = ['', `${at.bearer}x`, 'junk']
    for (const bearer of bearers) {
      const headers = { ...call.headers, authorization: `Bearer ${bearer}` }
      expect(await session.send({ ...call, headers }, null)).toMatchObject({ status: 401, isSigned: false })
    }
    expect(await session.send(call)).toMatchObject({ status: 200, isSigned: true })
  })

  it('Given a body above the limit, then it is refused although it is held to be checked', async () => {
    const session = await JsonSession.open(at, { topic: 'large', mode: 'write' })
    const large = { n: '1', events: [{ payload: { text: 'x'.repeat(1_400_000) } }] }
    // It says that its connection ends, or the next call would be sent there.
    const refused = { status: 413, name: 'FRAME_TOO_LARGE', isLast: true }
    expect(await session.send(session.signed('write', large))).toMatchObject(refused)
  })

  it('Given no signature, then the bearer is enough', async () => {
    const session = await JsonSession.open(at, { topic: 'bearer', mode: 'write' })
    const { 'trunkline-mac': _, ...headers } = session.signed('write', write).headers
    const call = session.signed('write', write)
    expect(await session.send({ ...call, headers })).toMatchObject({ status: 200, isSigned: false })
  })

  it('Given a gateway that wants all calls signed, then one without is BAD_PROOF', async () => {
    const strict = await Harness.start({ sessionSignatures: 'all' })
    try {
      const session = await JsonSession.open(strict, { topic: 'strict', mode: 'write' })
      const call = session.signed('write', write)
      const { 'trunkline-mac': _, ...headers } = call.headers
      expect(await session.send({ ...call, headers })).toMatchObject({ status: 401, name: 'BAD_PROOF' })
      expect(await session.send(call)).toMatchObject({ status: 200, isSigned: true })
    } finally {
      await strict.end()
    }
  })
})

// Owns: a gateway with several clients of several tenants and a policy file, and its fronts as a caller meets them.
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type TrunklineClient } from '../../../sdk/typescript/src/index.ts'
import { hashClientSecret } from '../../../src/api-tier/auth/client-registry.ts'
import { type Gateway, type GatewayOptions, startGateway } from '../../../src/main/gateway.ts'
import { type Logger, nullLogger } from '../../../src/observability/log.ts'
import type { LogFields } from '../../../src/observability/log-fields.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { type MethodName, mode, type ReplyOf, type RequestOf } from '../../../src/protocol/messages.ts'
import { decodeReply, encodeCall } from '../../../src/protocol/thrift/message.ts'
import { fetchToken, RawClient } from '../../support/raw-client.ts'

export interface ClientEntry {
  readonly clientId: string
  readonly tenant?: string
  readonly allowHmacMd5?: boolean
}

export type Line = LogFields & { readonly message: string }

export const clientSecret = 'a-secret-for-tests'

export class AccessWorld {
  readonly gateway: Gateway
  readonly lines: readonly Line[]
  readonly raw: RawClient
  readonly #dir: string
  readonly #tokens = new Map<string, Promise<string>>()

  private constructor(gateway: Gateway, raw: RawClient, dir: string, lines: readonly Line[]) {
    this.gateway = gateway
    this.raw = raw
    this.#dir = dir
    this.lines = lines
  }

  get dataDir(): string {
    return join(this.#dir, 'data')
  }

  static async start(
    clients: readonly ClientEntry[],
    rules: readonly object[],
    settings: Omit<Partial<GatewayOptions>, 'dataDir'> = {},
  ): Promise<AccessWorld> {
    const dir = mkdtempSync(join(tmpdir(), 'trunkline-access-'))
    const clientsFile = join(dir, 'clients.json')
    const secretHash = hashClientSecret(clientSecret)
    const entries = clients.map((client) => ({ ...client, secretHash }))
    writeFileSync(clientsFile, JSON.stringify({ version: 1, clients: entries }))
    writeFileSync(join(dir, 'policy.json'), policyText(rules), { mode: 0o600 })
    const lines: Line[] = []
    const keep = (fields: LogFields, message: string): void => {
      lines.push({ ...fields, message })
    }
    const logger: Logger = { ...nullLogger, info: keep, warn: keep, error: keep }
    const gateway = await startGateway({
      dataDir: join(dir, 'data'),
      httpPort: 0,
      thriftPort: 0,
      adminPort: 0,
      clientsFile,
      policyFile: join(dir, 'policy.json'),
      policyPollMs: 100,
      ...settings,
      logger,
    })
    return new AccessWorld(gateway, await RawClient.open(gateway.thriftUrl), dir, lines)
  }

  sdk(clientId: string): TrunklineClient {
    const { thriftUrl, httpUrl } = this.gateway
    return connect(thriftUrl, { clientId, clientSecret, tokenUrl: `${httpUrl}/oauth/token` })
  }

  async close(): Promise<void> {
    this.raw.close()
    await this.gateway.close()
    rmSync(this.#dir, { recursive: true })
  }

  token(clientId: string): Promise<string> {
    const known = this.#tokens.get(clientId) ?? this.newToken(clientId)
    this.#tokens.set(clientId, known)
    return known
  }

  newToken(clientId: string): Promise<string> {
    return fetchToken(this.gateway.httpUrl, clientId, clientSecret)
  }

  /** Resolves when the gateway has judged the new text. */
  async replacePolicy(rules: readonly object[] | string): Promise<void> {
    const told = this.lines.filter(({ event }) => event === 'policy').length
    const beside = join(this.#dir, 'policy.new')
    writeFileSync(beside, typeof rules === 'string' ? rules : policyText(rules), { mode: 0o600 })
    renameSync(beside, join(this.#dir, 'policy.json'))
    for (let attempt = 0; this.lines.filter(({ event }) => event === 'policy').length === told; attempt++) {
      if (attempt === 3_000) throw new Error('the policy was not looked at')
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  async json(clientId: string, method: string, path: string, body?: object, headers: object = {}): Promise<JsonAnswer> {
    const answer = await fetch(`${this.gateway.httpUrl}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${await this.token(clientId)}`,
        // One for all: answers are compared whole.
        'x-request-id': 'test-request',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    return {
      status: answer.status,
      text,
      json: text.startsWith('{') ? (JSON.parse(text) as JsonAnswer['json']) : {},
      headers: answer.headers,
    }
  }

  /** Thrift over TCP: the answer's frame. */
  async tcpFrame<M extends MethodName>(method: M, request: RequestOf<M>): Promise<Uint8Array> {
    return await this.raw.frame(77, encodeCall(method, 77, request))
  }

  /** Thrift over HTTP: the answer's body. */
  async httpFrame<M extends MethodName>(method: M, request: RequestOf<M>): Promise<Uint8Array> {
    const answer = await fetch(`${this.gateway.httpUrl}/thrift`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-thrift' },
      body: Buffer.from(encodeCall(method, 77, request)),
    })
    return new Uint8Array(await answer.arrayBuffer())
  }

  async call<M extends MethodName>(clientId: string, method: M, request: RequestOf<M>): Promise<ReplyOf<M>> {
    return await this.raw.call(method, { ...request, proof: { bearer: await this.token(clientId) } })
  }

  async publish(clientId: string, topic: string, ...texts: string[]): Promise<JsonAnswer> {
    return await this.json(clientId, 'POST', `/v1/topics/${topic}/events`, {
      events: texts.map((text) => ({ payload: { text } })),
    })
  }

  async textsOf(clientId: string, topic: string): Promise<string[]> {
    const { status, json, text } = await this.json(clientId, 'GET', `/v1/topics/${topic}/events`)
    if (status !== 200) throw new Error(text)
    return (json.events ?? []).map(({ payload }) => payload.text).sort()
  }
}

export interface JsonAnswer {
  readonly status: number
  readonly text: string
  readonly headers: Headers
  readonly json: {
    readonly name?: string
    readonly details?: Readonly<Record<string, string>>
    readonly events?: readonly { readonly payload: { readonly text: string } }[]
    readonly cursor?: string
    readonly topics?: readonly { readonly name: string }[]
    readonly nextPageToken?: string
    readonly sessionId?: string
  }
}

function policyText(rules: readonly object[]): string {
  return JSON.stringify({ version: 1, rules })
}

export function errorIn(method: MethodName, frame: Uint8Array): TrunklineError | undefined {
  const decoded = decodeReply(method, frame)
  return 'error' in decoded ? decoded.error : undefined
}

export async function errorOf(call: Promise<unknown>): Promise<string> {
  try {
    await call
    return 'no error'
  } catch (thrown) {
    if (thrown instanceof TrunklineError) return thrown.name
    throw thrown
  }
}

export const modes = { read: mode.read, publish: mode.write } as const

// Owns: `npm run bench -- --signing`: what signing, and authorisation, cost an API process alone, step by step and in whole calls, without
// sockets and nodes: prepared frames through the real dispatcher, answered at once with the same encoded reply.
// 1. All figures are CPU of the process, garbage collection included; what a signed call takes more is the price.
// 2. Of `runs` runs the best is printed: whoever else uses the machine only adds to the others.
// Leaves out: what it does to throughput (cluster/signing.ts).
import { cpus } from 'node:os'
import { systemClock } from '../src/adapters/clock/system-clock.ts'
import { nullApiMetrics } from '../src/api-tier/api-metrics.ts'
import { Authorizer, nullAccessMetrics } from '../src/api-tier/authorize/authorizer.ts'
import { parsePolicy } from '../src/api-tier/authorize/policy-file.ts'
import { OpenedTokens } from '../src/api-tier/opened-tokens.ts'
import { ThriftDispatcher } from '../src/api-tier/thrift/dispatcher.ts'
import { sessionSecret } from '../src/crypto/session-token.ts'
import type { MethodName, Proof, ReplyOf, RequestOf } from '../src/protocol/messages.ts'
import { deriveMacKeys, replyMac, requestMac, verifyRequest } from '../src/protocol/signed-bytes.ts'
import { partsWithMac } from '../src/protocol/signed-reply.ts'
import { decodeCanonical, encodeStruct } from '../src/protocol/thrift/codec.ts'
import { encodeCall } from '../src/protocol/thrift/message.ts'
import type { StructSchema } from '../src/protocol/thrift/schema.ts'
import { methodSchemas } from '../src/protocol/thrift/schemas.ts'
import {
  alice,
  context,
  gatewayCalls,
  keys,
  replied,
  silentLogger,
  tokenOf,
  turn,
  writeToken,
} from '../test/unit/api-tier/support.ts'
import { fixed, printTable } from './measure.ts'

type Measured = Extract<MethodName, 'write' | 'read'>

interface Shape<M extends Measured = Measured> {
  readonly label: string
  readonly method: M
  readonly request: RequestOf<M>
  readonly reply: ReplyOf<M>
  readonly calls: number
}

const runs = 7
const proof: Proof = { slot: 0, seq: 7, challenge: new Uint8Array(12).fill(5) }
const block = (bytes: number, count: number) => ({
  partition: 0,
  packing: 1,
  count,
  encoding: 0,
  rawSize: bytes,
  data: new Uint8Array(bytes).fill(3),
})

const session = writeToken()
const readSession = tokenOf()
const write = (label: string, bytes: number, count: number, calls: number): Shape<'write'> => ({
  label,
  method: 'write',
  request: { proof, session, n: 7, blocks: [block(bytes, count)], commit: true },
  reply: {
    turn: { ...turn, challenge: new Uint8Array(12).fill(6) },
    n: 7,
    published: true,
    writeCursor: new Uint8Array(120).fill(8),
    parts: [{ part: 0, partition: 0, state: 1, offset: 1_234 }],
  },
  calls,
})
const shapes: readonly Shape[] = [
  write('write of 1 KiB', 1_024, 1, 20_000),
  write('write of 100 KiB', 100 * 1_024, 100, 1_000),
  {
    label: 'read of 256 KiB',
    method: 'read',
    request: { proof, session: readSession, n: 7, ackOf: 6, maxEvents: 10_000, waitMs: 0 },
    reply: {
      turn: { ...turn, challenge: new Uint8Array(12).fill(6) },
      n: 7,
      count: 256,
      cursor: new Uint8Array(100).fill(8),
      blocks: Array.from({ length: 4 }, (_, index) => ({
        ...block(64 * 1_024, 64),
        offset: 1_000 + index,
        appendTimeMs: 1_700_000_000_000,
      })),
    },
    calls: 1_000,
  },
]

const caller = { principal: alice, issuer: 'urn:bench', scopes: [], roles: [] }

/** With a policy of a hundred rules, none of which is for everybody. */
function authorizer(): Authorizer {
  const rules = Array.from({ length: 100 }, (_, index) => ({
    allow: ['publish', 'read'],
    topics: [`team-${index}.*`, 'quakes'],
    to: [{ subject: index === 99 ? alice.subject : `service-${index}`, issuer: 'own' }],
  }))
  const parsed = parsePolicy(JSON.stringify({ version: 1, rules }))
  if (!('policy' in parsed)) throw new Error(parsed.problems.join())
  return new Authorizer({
    policy: parsed.policy,
    issuer: caller.issuer,
    clients: [],
    clock: systemClock,
    logger: silentLogger,
    metrics: nullAccessMetrics,
  })
}

function stepMicros(calls: number, work: () => void): number {
  const all = Array.from({ length: runs }, () => {
    const startedAt = process.cpuUsage()
    for (let call = 0; call < calls; call++) work()
    return cpuMicros(startedAt) / calls
  })
  return Math.min(...all)
}

async function callMicros(calls: number, work: () => Promise<unknown>): Promise<number> {
  const startedAt = process.cpuUsage()
  for (let call = 0; call < calls; call++) await work()
  return cpuMicros(startedAt) / calls
}

function cpuMicros(startedAt: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(startedAt)
  return user + system
}

async function rowsOf<M extends Measured>({ label, method, request, reply, calls }: Shape<M>): Promise<string[][]> {
  const opened = new OpenedTokens(keys, 10, () => {})
  const macKeys = deriveMacKeys(sessionSecret(keys, request.session))
  const signed: RequestOf<M> = { ...request, proof: { ...proof, mac: requestMac(macKeys, method, request) } }
  const schema: StructSchema<ReplyOf<M>> = methodSchemas[method].reply
  const encoded = encodeStruct(schema, reply)
  const mac = new Uint8Array(32)
  const access = authorizer()
  const token = opened.open(request.session)
  access.allocated(token.sessionId, caller)
  const at = { method, requestId: 'bench' }
  const steps: readonly (readonly [string, () => void])[] = [
    ['token look-up', () => void opened.macKeys(request.session)],
    ['authorise the call', () => access.requireSession(undefined, token, at)],
    ['verify request', () => void verifyRequest(macKeys, method, signed)],
    ['decode the reply', () => void decodeCanonical(schema, encoded)],
    ['MAC of the reply', () => void replyMac(macKeys, method, signed.proof, reply)],
    ['MAC into the reply', () => void partsWithMac(encoded, reply.turn, mac)],
  ]
  const rows = steps.map(([name, work]) => [`${label}: ${name}`, fixed(stepMicros(calls, work))])

  const frames = [signed, request].map((each) => encodeCall(method, 1, each))
  const answer = replied(method, reply)
  const { calls: gateway } = gatewayCalls(() => answer, { signatures: 'optional' })
  const dispatcher = new ThriftDispatcher({ calls: gateway, metrics: nullApiMetrics })
  const costs: number[][] = frames.map(() => [])
  for (let run = 0; run <= runs; run++) {
    for (const [index, frame] of frames.entries()) {
      const micros = await callMicros(calls, async () => await dispatcher.dispatch(frame, 'thrift-tcp', context))
      // The first run compiles.
      if (run > 0) costs[index]?.push(micros)
    }
  }
  const [signedMicros = Number.NaN, unsignedMicros = Number.NaN] = costs.map((all) => Math.min(...all))
  rows.push([`${label}: whole call, unsigned`, fixed(unsignedMicros)])
  rows.push([`${label}: whole call, signed`, fixed(signedMicros)])
  rows.push([`${label}: price of signing`, fixed(signedMicros - unsignedMicros)])
  return rows
}

export async function runSigningSteps(): Promise<void> {
  process.stdout.write(`Signing in an API process alone, Node ${process.version}, ${cpus()[0]?.model ?? 'unknown'}\n`)
  const rows: string[][] = []
  for (const shape of shapes) rows.push(...(await rowsOf(shape)))
  printTable('Signing, step by step', ['step', 'µs'], rows)
}

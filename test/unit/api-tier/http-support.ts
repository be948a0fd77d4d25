// Owns: the HTTP application over a scripted node, for the JSON API's tests.
import type { FastifyInstance, InjectOptions } from 'fastify'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { nullApiMetrics } from '../../../src/api-tier/api-metrics.ts'
import { buildHttpApp } from '../../../src/api-tier/http/app.ts'
import { ThriftDispatcher } from '../../../src/api-tier/thrift/dispatcher.ts'
import { idToBytes, parseTopicId } from '../../../src/protocol/ids.ts'
import { ScriptedNode } from './scripted-node.ts'
import { gatewayCalls, random, type ScriptedSwitchboard, silentLogger } from './support.ts'

export interface HttpUnderTest {
  readonly app: FastifyInstance
  readonly node: ScriptedNode
  readonly board: ScriptedSwitchboard
  /** A request as alice, unless headers say otherwise. */
  readonly ask: (method: 'GET' | 'POST' | 'DELETE' | 'PUT', url: string, over?: Ask) => Promise<Answer>
}

export interface Ask {
  readonly headers?: Record<string, string>
  readonly payload?: object | string | Buffer
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | number | undefined>>
  readonly text: string
  readonly json: Json
}

/** Members of any answer; missing ones are undefined. */
export type Json = Readonly<Record<string, unknown>>

/** Lets what is not waited for happen. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
}

interface SharedApp {
  readonly app: FastifyInstance
  readonly board: ScriptedSwitchboard
}

/** Building an application takes longer than most tests: one for a file, with a new node for each test. */
let shared: Promise<SharedApp> | undefined

async function buildShared(): Promise<SharedApp> {
  const { calls, board } = gatewayCalls(() => ({ kind: 'unroutable' }))
  const dispatcher = new ThriftDispatcher({ calls, metrics: nullApiMetrics })
  const app = await buildHttpApp({
    calls,
    dispatcher,
    clock: systemClock,
    random,
    metrics: nullApiMetrics,
    logger: silentLogger,
    version: '0.0.0',
  })
  return { app, board }
}

export async function httpApp(): Promise<HttpUnderTest> {
  const node = new ScriptedNode()
  node.topics.set('quakes', {
    name: 'quakes',
    topicId: idToBytes(parseTopicId(`${'0'.repeat(31)}1`)),
    partitions: 4,
    format: 'sealed',
  })
  shared ??= buildShared()
  const { app, board } = await shared
  await settled()
  board.seen.length = 0
  board.answer = node.answer
  const ask = async (method: 'GET' | 'POST' | 'DELETE' | 'PUT', url: string, over: Ask = {}): Promise<Answer> => {
    const options: InjectOptions = { method, url, headers: { authorization: 'Bearer alice', ...over.headers } }
    if (over.payload !== undefined) options.payload = over.payload
    const response = await app.inject(options)
    const text = response.body
    const isJson = String(response.headers['content-type']).includes('json')
    return {
      status: response.statusCode,
      headers: response.headers,
      text,
      json: isJson ? (JSON.parse(text) as Json) : {},
    }
  }
  return { app, node, board, ask }
}

// Proves that no JSON crashes the HTTP application or is answered with a defect: mutated and deep bodies, and reading
// whatever of them was accepted; seeded (TRUNKLINE_SEED replays a run).
import { beforeAll, describe, expect, it } from 'vitest'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { scale } from '../../support/scale.ts'
import { type HttpUnderTest, httpApp } from './http-support.ts'
import { tokenOf } from './support.ts'

const seed = Number(process.env['TRUNKLINE_SEED'] ?? 20_261_130)
const rounds = scale(2_000, 50_000)
/** One round in so many publishes a deep payload; as often, everything that is there is read. */
const deepEvery = 20
/** Twice as deep as what a stack of the usual size holds. */
const levelsMax = 9_000

const eventsUrl = '/v1/topics/quakes/events'
const session = {
  'trunkline-session': Buffer.from(tokenOf()).toString('base64url'),
  'trunkline-seq': '1',
  'trunkline-challenge': 'AAAA',
}
const samples: readonly { readonly url: string; readonly body: string; readonly headers?: Record<string, string> }[] = [
  {
    url: eventsUrl,
    body: '{"events":[{"key":"k","payload":{"json":{"a":[1,2,{"b":null}]}},"headers":{"h":"v"},"timestampMs":"1700000000000"}]}',
  },
  {
    url: eventsUrl,
    body: '{"payload":{"base64":"AAECAw=="},"id":"i","type":"t","source":"s","partition":1}',
  },
  { url: '/v1/topics', body: '{"name":"quakes","partitions":8,"retentionMs":"86400000"}' },
  { url: '/v1/sessions', body: '{"topic":"quakes","mode":"read","from":"earliest"}' },
  {
    url: '/v1/sessions',
    body: '{"topic":"quakes","mode":"write","resume":{"session":"AAAA","writeCursor":"AAAA","nextN":"3","writes":[{"n":"2","partitions":[0]}]}}',
  },
  { url: '/v1/sessions/session-0001/read', body: '{"n":"1","maxEvents":10,"waitMs":0,"ackOf":"0"}', headers: session },
  { url: '/v1/sessions/session-0001/ack', body: '{"n":"1","count":1}', headers: session },
]
const tokens = [
  '{',
  '}',
  '[',
  ']',
  '"',
  ',',
  ':',
  'null',
  '1e999',
  '-0',
  '1'.repeat(400),
  '\\ud800',
  '\u0000',
  '__proto__',
  'true',
]

function mutate(random: SeededRandom, source: string): string {
  const pick = (below: number): number => Math.floor(random.fraction() * below)
  const at = pick(source.length)
  switch (pick(6)) {
    case 0:
      return source.slice(0, at)
    case 1:
      return source.slice(0, at) + (tokens[pick(tokens.length)] ?? '') + source.slice(at + pick(4))
    case 2: {
      const depth = 1 + pick(20_000)
      return source.slice(0, at) + '['.repeat(depth) + (pick(2) === 0 ? ']'.repeat(depth) : '') + source.slice(at)
    }
    case 3:
      return source.slice(0, at) + source.slice(pick(at + 1)) + source.slice(at)
    case 4:
      return source.slice(0, at) + '{"a":'.repeat(1 + pick(5_000)) + source.slice(at)
    default:
      return source.slice(0, at) + String.fromCharCode(pick(0x250)) + source.slice(at + 1)
  }
}

/** JSON that is nested within the payload: as a value, and as text that says it is JSON. */
function deepPayload(random: SeededRandom): string {
  const levels = 1 + Math.floor(random.fraction() * levelsMax)
  const nested = '['.repeat(levels) + ']'.repeat(levels)
  return random.fraction() < 0.5
    ? `{"payload":{"json":${nested}}}`
    : `{"payload":{"text":"${nested}"},"headers":{"content-type":"application/json"}}`
}

describe(`the HTTP application under mutated JSON (TRUNKLINE_SEED=${seed}, ${rounds} rounds)`, () => {
  let at: HttpUnderTest
  beforeAll(async () => {
    at = await httpApp()
  })

  it('answers every one with success or the caller’s fault, and never stands still', async () => {
    const random = new SeededRandom(seed)
    const statuses = new Map<number, number>()
    let worstMs = 0
    for (let round = 0; round < rounds; round++) {
      const sample = samples[round % samples.length] ?? { url: '/', body: '' }
      const isDeep = round % deepEvery === 0
      const payload = isDeep ? deepPayload(random) : mutate(random, sample.body)
      const startedMs = performance.now()
      const answer = await at.ask('POST', isDeep ? eventsUrl : sample.url, {
        payload: Buffer.from(payload, 'utf8'),
        headers: { 'content-type': 'application/json', ...sample.headers },
      })
      worstMs = Math.max(worstMs, performance.now() - startedMs)
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
      if (answer.status >= 500) throw new Error(`round ${round}: ${answer.status} ${answer.text.slice(0, 300)}`)
      if (answer.status >= 400) expect(String(answer.json['name'])).toMatch(/^[A-Z_]+$/)
      if (isDeep) {
        const read = await at.ask('GET', eventsUrl)
        if (read.status !== 200) throw new Error(`read in round ${round}: ${read.status} ${read.text.slice(0, 300)}`)
        at.node.log.length = 0
      }
    }
    process.stdout.write(
      `${rounds} mutated JSON bodies: ${[...statuses].map(([status, count]) => `${status} ${count}`).join(', ')}; worst ${worstMs.toFixed(0)} ms\n`,
    )
    // The mutations reach past the parser: some are fine, some are refused by their meaning.
    expect([...statuses.keys()].some((status) => status < 300)).toBe(true)
    expect(statuses.get(400) ?? 0).toBeGreaterThan(rounds / 10)
  }, 600_000)
})

// Strangers need no SDK: code that Apache Thrift generated from the IDL, its own Python runtime, and the documents.
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type GatewayProcess, removeFolder, startGatewayProcess } from '../../support/gateway-process.ts'
import { requirement } from '../../support/requirement.ts'
import { runPython, type Seen, seenIn } from './python-program.ts'
import { generatePython, prepareStockThrift } from './toolchain.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const stock = requirement('Apache Thrift for Python', prepareStockThrift)

describe('docs/thrift.md', () => {
  it.each(['proof.py', 'example.py', 'producer.py'])(
    'Given the document, When it shows %s, Then it is the program that is tested',
    (name) => {
      const program = readFileSync(new URL(name, import.meta.url), 'utf8')
      const isShown = readFileSync(join(root, 'docs/thrift.md'), 'utf8').includes(`\`\`\`python\n${program}\`\`\`\n`)
      expect(isShown, `docs/thrift.md shows another ${name}: copy it there`).toBe(true)
    },
  )
})

stock.describe('a client of stock Apache Thrift', () => {
  let dir: string
  let generated: string
  let gateway: GatewayProcess

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'trunkline-python-'))
    generated = join(dir, 'generated')
    generatePython(join(root, 'idl/trunkline.thrift'), generated)
    gateway = await startGatewayProcess({ dir })
  })
  afterAll(async () => {
    await gateway?.stop()
    removeFolder(dir)
  })

  const devFile = (): string => join(dir, '.trunkline', 'dev.json')

  /** What the acts saw, in order. */
  const act = async (name: string, onAsk?: (what: string) => Promise<void>): Promise<Seen[]> => {
    const args = [devFile(), join(root, 'test/vectors'), name]
    return seenIn(await runPython('stock_client.py', { args, generated, ...(onAsk === undefined ? {} : { onAsk }) }))
  }

  it('Given a gateway, When the example of the document runs, Then it reads what it wrote', async () => {
    const lines = await runPython('example.py', { args: [devFile()], generated })
    expect(lines.slice(0, 2).map((line) => line.replace(/\d+/g, '#'))).toEqual([
      'written: partition # offset #',
      'written: partition # offset #',
    ])
    const read = lines.filter((line) => line.startsWith('read: ')).map((line) => line.replace(/ at .*/, ''))
    expect(read.filter((line) => line.includes(' en '))).toEqual(['read: en hello', 'read: en bye'])
    expect(read).toHaveLength(3)
    expect(lines.at(-1)).toMatch(/^the next reader starts at a cursor of \d+ bytes$/)
  })

  it.each(['tcp', 'http'])(
    'Given %s, When it writes, reads and errs in both phases, Then all is as the documents say',
    async (name) => {
      const seen = await act(name)
      const of = (wanted: string): Seen => {
        const found = seen.find(({ act }) => act === wanted)
        if (found === undefined) throw new Error(`no act ${wanted}`)
        return found
      }
      expect(of('staged')).toMatchObject({ published: false, repeatIsEqual: true })
      expect(of('changed')).toMatchObject({ error: { code: 1500, name: 'WRITE_CHANGED', hasTurn: true } })
      expect(of('nothing yet')).toMatchObject({ count: 0 })
      expect(of('published')['parts']).toEqual([
        { part: 0, partition: expect.any(Number), state: 1, perEvent: null, offset: 0 },
      ])
      expect(of('committed')).toMatchObject({ published: true, repeatIsEqual: true })
      expect(of('wrong proof')).toMatchObject({ error: { code: 1103, name: 'BAD_PROOF', hasTurn: false } })
      expect(of('wrong challenge')).toMatchObject({
        error: {
          code: 1102,
          name: 'BAD_CHALLENGE',
          retryable: false,
          advice: 'Repeat the request with the challenge that came with this error.',
          hasTurn: true,
        },
      })
      expect(of('n out of turn')).toMatchObject({
        error: { code: 1303, name: 'SEQUENCE_MISMATCH', expected: 3, details: { of: 'n' } },
      })
      expect(of('gone on')).toMatchObject({ published: true })
      expect(of('extended')).toMatchObject({ hasCursor: true })
      expect(of('read')).toMatchObject({
        texts: ['one', 'zwö'],
        repeatIsEqual: true,
        againIsEqual: true,
        first: {
          key: 'k',
          headers: { a: '1', __proto__: 'x' },
          timestampMs: 1_700_000_000_000,
          type: 'event',
          offset: 0,
          index: 0,
        },
      })
      expect(Object.keys((of('read')['first'] as { headers: object }).headers)).toEqual(['a', '__proto__'])
      expect(of('read on')).toMatchObject({
        second: ['three'],
        deliveries: 1,
        third: ['three'],
        fourth: ['four'],
        atEnd: true,
      })
      expect(of('ack of nothing')).toMatchObject({ error: { code: 1305, name: 'NOTHING_TO_ACK' } })
      expect(of('disposed')).toMatchObject({
        repeatIsEqual: true,
        error: { name: expect.stringMatching(/^SESSION_(GONE|CLOSED)$/) },
      })
      const fromCursors = seen.filter(({ act }) => act === 'from cursor')
      expect(fromCursors).toMatchObject([{ texts: ['three', 'four'] }, { texts: ['four'] }])
      expect(of('unknown topic')).toMatchObject({
        error: { code: 1200, name: 'UNKNOWN_TOPIC', details: { topic: 'never-made' }, hasTurn: false },
      })
      expect(of('no bearer')).toMatchObject({ error: { code: 1100, name: 'UNAUTHENTICATED' } })
      expect(of('forged cursor')).toMatchObject({ error: { code: 1400, name: 'BAD_CURSOR' } })
      expect(of('described')).toMatchObject({ partitions: 8, stored: 3 })
    },
  )

  it('Given docs/formats.md alone, When Python packs and unpacks blocks, Then both sides find the same events', async () => {
    const [seen] = await act('blocks')
    const sent = [...Array.from({ length: 50 }, (_, i) => `packed in Python ${i}`), 'packed by the gateway']
    expect(seen).toMatchObject({
      encodings: [0, 1, 0],
      count: 51,
      ours: sent,
      equal: true,
      samePartition: true,
      restFirst: 3,
      rest: sent.slice(13),
      ids: ['py-0', 'py-1'],
      times: [1_700_000_000_007, true],
    })
  })

  it('Given the vectors for other languages, When Python reads them, Then none is wrong', async () => {
    const [seen] = await act('vectors')
    expect(seen?.['wrong']).toEqual([])
    expect([seen?.['packed'], seen?.['refused'], seen?.['keys']].every((count) => Number(count) > 0)).toBe(true)
  })

  it('Given writes without an answer, When the gateway is killed and the client resumes, Then everything is there once', async () => {
    const asked: string[] = []
    const seen = await act('take_over', async (what) => {
      asked.push(what)
      if (what === 'stop') gateway.signal('SIGSTOP')
      else {
        await gateway.kill('SIGKILL')
        await gateway.restart()
      }
    })
    expect(asked).toEqual(['stop', 'kill and restart', 'kill and restart'])
    expect(seen).toMatchObject([
      { act: 'taken over', unanswered: [3, 4], landed: [3], missing: [4], resent: [4], offset: 1 },
      { act: 'old session', error: { name: 'SESSION_GONE', retryable: true } },
      { act: 'gone on', nextN: 6 },
      { act: 'refused', error: { name: 'EVENT_TOO_LARGE', details: { bytesMax: '917504' } } },
      { act: 'everything once', texts: ['1', '2', '3a', '3b', '4', '5', '6'] },
    ])
  })
})

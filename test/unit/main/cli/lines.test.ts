import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lineGroups } from '../../../../src/main/cli/lines.ts'

async function* chunksOf(...chunks: readonly (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk
}

async function linesOf(
  chunks: AsyncIterable<Uint8Array>,
  bytesMax = 100,
  cut?: AbortSignal,
): Promise<(string | undefined)[]> {
  const lines: (string | undefined)[] = []
  for await (const group of lineGroups(chunks, bytesMax, cut)) {
    for (const { number, bytes } of group) {
      expect(number).toBe(lines.length + 1)
      lines.push(bytes === undefined ? undefined : Buffer.from(bytes).toString('utf8'))
    }
  }
  return lines
}

describe('lines of an input', () => {
  it.each<[string, readonly string[], (string | undefined)[]]>([
    ['nothing', [], []],
    ['one line without an end', ['abc'], ['abc']],
    ['a line end at the end', ['a\nb\n'], ['a', 'b']],
    ['empty lines', ['\n\na\n'], ['', '', 'a']],
    ['line ends of Windows', ['a\r\nb\r\n\r\n'], ['a', 'b', '']],
    ['a line in pieces', ['a', 'b', 'c\nd'], ['abc', 'd']],
    ['a piece between \\r and \\n', ['a\r', '\nb'], ['a', 'b']],
    ['a carriage return inside', ['a\rb\n'], ['a\rb']],
    ['a byte order mark', ['\uFEFFa\n\uFEFFb'], ['a', '\uFEFFb']],
  ])('given %s, yields them', async (_, chunks, expected) => {
    expect(await linesOf(chunksOf(...chunks))).toEqual(expected)
  })

  it('given a line above the bound, yields it without bytes and goes on behind it', async () => {
    const long = 'x'.repeat(11)
    expect(await linesOf(chunksOf(`a\n${long}\nb\n${long.slice(0, 6)}`, `${long}`, 'y\nc'), 10)).toEqual([
      'a',
      undefined,
      'b',
      undefined,
      'c',
    ])
  })

  it('given a line of exactly the bound, keeps it, also before \\r\\n', async () => {
    const exact = 'x'.repeat(10)
    expect(await linesOf(chunksOf(`${exact}\n${exact}\r\n${exact}y\n`), 10)).toEqual([exact, exact, undefined])
  })

  it('given a very long line, keeps none of it meanwhile', async () => {
    const before = process.memoryUsage().arrayBuffers
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (let count = 0; count < 2_000; count += 1) yield Buffer.alloc(64 * 1024, 120)
    }
    expect(await linesOf(endless(), 1_000)).toEqual([undefined])
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100 * 1024 * 1024)
  })

  it('given an input that was cut off, leaves its last piece out', async () => {
    const cut = new AbortController()
    async function* interrupted(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('whole\npie')
      cut.abort()
    }
    expect(await linesOf(interrupted(), 100, cut.signal)).toEqual(['whole'])
  })

  it('yields the same lines however the input is cut into chunks', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: fc.constantFrom('a', 'é', '\r', ' ') }), { maxLength: 8 }),
        fc.array(fc.nat(5)),
        async (texts, sizes) => {
          const whole = Buffer.from(texts.join('\n'))
          const chunks: Uint8Array[] = []
          let at = 0
          for (const size of sizes) {
            chunks.push(whole.subarray(at, at + size))
            at += size
          }
          chunks.push(whole.subarray(at))
          expect(await linesOf(chunksOf(...chunks))).toEqual(await linesOf(chunksOf(whole)))
        },
      ),
    )
  })
})

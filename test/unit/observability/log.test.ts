// Owns: what the log writes and, above all, what it never writes.
import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { createLogger, type Logger, type LoggerOptions, nullLogger } from '../../../src/observability/log.ts'
import { describeError, type LogFields } from '../../../src/observability/log-fields.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'

const canary = 'CANARY-7f3a'

function recording(options: Partial<LoggerOptions> = {}): { logger: Logger; lines: string[] } {
  const lines: string[] = []
  const sink = { write: (line: string) => void lines.push(line) }
  const nowMs = (): number => Date.UTC(2026, 0, 2, 3, 4, 5, 678)
  return { logger: createLogger({ level: 'debug', format: 'json', isTerminal: false, nowMs, sink, ...options }), lines }
}

function parse(line: string | undefined): Record<string, unknown> {
  const parsed: unknown = JSON.parse(line ?? '')
  return parsed as Record<string, unknown>
}

describe('the log as JSON', () => {
  test('given fields and a message, then one line holds them with time and level', () => {
    const { logger, lines } = recording()
    logger.info({ tier: 'stream', partition: 3, topic: 'quakes' }, 'opened a topic')
    expect(lines.length).toBe(1)
    expect(lines[0]?.endsWith('}\n')).toBe(true)
    expect(parse(lines[0])).toEqual({
      level: 'info',
      time: '2026-01-02T03:04:05.678Z',
      tier: 'stream',
      partition: 3,
      topic: 'quakes',
      message: 'opened a topic',
    })
  })

  test('given a level, then lines below it are not written', () => {
    const { logger, lines } = recording({ level: 'warn' })
    logger.debug({}, 'a')
    logger.info({}, 'b')
    logger.warn({}, 'c')
    logger.error({}, 'd')
    expect(lines.map((line) => parse(line)['message'])).toEqual(['c', 'd'])
    const silent = recording({ level: 'silent' })
    silent.logger.error({}, 'e')
    expect(silent.lines).toEqual([])
  })

  test('given bound fields, then every line carries them and a line may lay its own over them', () => {
    const { logger, lines } = recording({ fields: { nodeId: 'n1' } })
    const bound = logger.with({ tier: 'api', requestId: 'r1' })
    bound.info({ requestId: 'r2' }, 'x')
    logger.info({}, 'y')
    expect(parse(lines[0])).toMatchObject({ nodeId: 'n1', tier: 'api', requestId: 'r2' })
    expect(Object.keys(parse(lines[1])).sort()).toEqual(['level', 'message', 'nodeId', 'time'])
  })

  test('given a field that is not in the dictionary, then it is not written, bound or not', () => {
    const { logger, lines } = recording()
    const stray: object = { payload: canary, authorization: canary, token: canary, topic: 'quakes' }
    logger.with(stray).info(stray, 'x')
    expect(lines.join('')).not.toContain(canary)
    expect(parse(lines[0])['topic']).toBe('quakes')
  })

  test('given an object where a short text belongs, then its content is not written', () => {
    const { logger, lines } = recording()
    const stray = { topic: { secret: canary }, reason: [canary], state: Buffer.from(canary), count: 12n }
    logger.info(stray as unknown as LogFields, 'x')
    expect(lines.join('')).not.toContain(canary)
    expect(lines.join('')).not.toContain(Buffer.from(canary).join(','))
    expect(parse(lines[0])).toMatchObject({ topic: '[object]', count: '12' })
  })

  test('given a long text, then it is cut', () => {
    const { logger, lines } = recording()
    logger.info({ remote: 'x'.repeat(10_000) }, 'x')
    expect(String(parse(lines[0])['remote']).length).toBe(257)
  })

  test('given line ends in a value, then the line stays one line', () => {
    const { logger, lines } = recording()
    logger.info({ topic: 'a\nlevel=error\r\u2028b' }, 'x')
    expect(lines[0]?.trimEnd().includes('\n')).toBe(false)
  })

  test('given the null log, then nothing happens', () => {
    expect(() => nullLogger.with({ tier: 'api' }).error({}, 'x')).not.toThrow()
  })

  test('given no sink, then lines go to stderr and none to stdout, also right before a crash', () => {
    const logUrl = new URL('../../../src/observability/log.ts', import.meta.url).href
    const program = `import { createLogger } from '${logUrl}'
      createLogger({ nowMs: () => 0 }).error({}, 'the last line')
      process.kill(process.pid, 'SIGKILL')`
    const args = ['--import', 'tsx', '--input-type=module', '-e', program]
    const ended = spawnSync(process.execPath, args, { encoding: 'utf8' })
    expect(ended.signal).toBe('SIGKILL')
    expect(ended.stdout).toBe('')
    expect(parse(ended.stderr)).toMatchObject({ level: 'error', message: 'the last line' })
  })
})

describe('errors in the log', () => {
  test('given one of ours with a stranger as its cause, then both are told, the stranger without its quotations', () => {
    let cause: unknown
    try {
      JSON.parse(`{"key": ${canary}}`)
    } catch (error) {
      cause = error
    }
    const described = describeError(new TrunklineError('BAD_REQUEST', { cause }))
    expect(described).toMatchObject({ type: 'BAD_REQUEST', code: '1000', cause: { type: 'SyntaxError' } })
    expect(described.message).toContain('Correct the field')
    expect(described.stack).toContain('log.test.ts')
    expect(described.cause?.stack).toContain('log.test.ts')
    expect(JSON.stringify(described)).not.toContain(canary)
  })

  test('given an argument check of Node that quotes its input, then only its code is told', () => {
    let thrown: unknown
    try {
      Buffer.from(Object(Symbol(canary)))
    } catch (error) {
      thrown = error
    }
    const described = describeError(Object.assign(thrown instanceof Error ? thrown : new Error(), { message: canary }))
    expect(described.code).toBe('ERR_INVALID_ARG_TYPE')
    expect(JSON.stringify(described)).not.toContain(canary)
  })

  test('given a plain assertion or an error of the operating system, then its message is told', () => {
    expect(describeError(new Error('a key is served once')).message).toBe('a key is served once')
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
      code: 'ENOSPC',
      syscall: 'write',
    })
    expect(describeError(full)).toMatchObject({ code: 'ENOSPC', message: 'ENOSPC: no space left on device, write' })
  })

  test('given a message of several lines that looks like frames, then none of it comes back with the stack', () => {
    const error = Object.assign(new Error(`x\n${canary} y\n at ${canary}\n    at ${canary}:1:1`), { code: 'ERR_X' })
    expect(describeError(error).stack).toContain('log.test.ts')
    expect(JSON.stringify(describeError(error))).not.toContain(canary)
  })

  test('given something else that was thrown, then its type is told', () => {
    expect(describeError(canary)).toEqual({ type: 'string' })
    expect(describeError({ secret: canary })).toEqual({ type: 'object' })
  })

  test('given causes without an end, then they are cut', () => {
    const error = new Error('loop')
    error.cause = error
    const text = JSON.stringify(describeError(error))
    expect(text.match(/"type"/g)?.length).toBe(4)
  })
})

describe('the log at a terminal', () => {
  const pretty = (isTerminal: boolean): ReturnType<typeof recording> => recording({ format: 'pretty', isTerminal })

  test('given a line, then it is short and plain', () => {
    const { logger, lines } = pretty(false)
    logger.warn({ topic: 'quakes', reason: 'disk is full', err: new Error('boom') }, 'refused a write')
    expect(lines).toEqual([
      '03:04:05.678 WARN  refused a write topic=quakes reason="disk is full" error="Error: boom"\n',
    ])
  })

  test('given a terminal, then it is coloured, and no escape sequence of a value reaches it', () => {
    const { logger, lines } = pretty(true)
    logger.info({ remote: '\u001b[2Jx' }, 'connected')
    expect(lines[0]).toContain('\u001b[32mINFO')
    expect(lines[0]).not.toContain('\u001b[2J')
    expect(lines[0]).toContain('\\u001b')
  })

  test('given auto, then a terminal gets short lines and everything else JSON', () => {
    const terminal = recording({ format: 'auto', isTerminal: true })
    const file = recording({ format: 'auto', isTerminal: false })
    terminal.logger.info({}, 'x')
    file.logger.info({}, 'x')
    expect(terminal.lines[0]).not.toContain('{')
    expect(parse(file.lines[0])['message']).toBe('x')
  })
})

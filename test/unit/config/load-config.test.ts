// Owns: where settings come from, what is refused, and how it is told.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { settings } from '../../../src/config/gateway-settings.ts'
import {
  type ConfigSources,
  configProblemLines,
  type LoadedConfig,
  loadConfig,
} from '../../../src/config/load-config.ts'
import { nearest } from '../../../src/config/nearest-name.ts'
import { redactedConfig } from '../../../src/config/redacted-config.ts'
import { readSecretFile } from '../../../src/config/secret-file.ts'
import { isErrorNamed } from '../../../src/protocol/errors.ts'

const canary = 'CANARY-91bc'
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'trunkline-config-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function file(content: unknown): string {
  const path = join(folder, 'config.json')
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

function load(sources: Partial<ConfigSources> = {}): LoadedConfig {
  return loadConfig({ environment: {}, ...sources })
}

/** The problems by subject; fails when the configuration is taken. */
function problems(sources: Partial<ConfigSources>): Readonly<Record<string, string>> {
  try {
    load(sources)
  } catch (error) {
    if (!isErrorNamed(error, 'BAD_CONFIG')) throw error
    expect(configProblemLines(error)?.length).toBe(Object.keys(error.details).length)
    return error.details
  }
  throw new Error('the configuration was taken')
}

describe('where a setting comes from', () => {
  test('given nothing, then the defaults hold', () => {
    const { config, sources, warnings } = load()
    expect(config).toMatchObject({
      host: '127.0.0.1',
      httpPort: 7470,
      thriftPort: 7471,
      adminPort: 7479,
      logLevel: 'info',
    })
    expect(config.keyringFile).toBeUndefined()
    expect(new Set(Object.values(sources))).toEqual(new Set(['default']))
    expect(warnings).toEqual([])
  })

  test('given all of them, then option is above environment, environment above file, file above default', () => {
    const sources = {
      options: { httpPort: '1001' },
      environment: { TRUNKLINE_HTTP_PORT: '1002', TRUNKLINE_THRIFT_PORT: '1003' },
      file: file({ httpPort: 1004, thriftPort: 1005, adminPort: 1006 }),
    }
    const loaded = load(sources)
    expect(loaded.config).toMatchObject({ httpPort: 1001, thriftPort: 1003, adminPort: 1006, nodeId: 'dev' })
    expect(loaded.sources).toMatchObject({
      httpPort: 'option',
      thriftPort: 'environment',
      adminPort: 'file',
      nodeId: 'default',
    })
  })

  test('given a file named by the environment, then it is read; an option names another', () => {
    const one = file({ nodeId: 'one' })
    const environment = { TRUNKLINE_CONFIG_FILE: one }
    expect(load({ environment }).config.nodeId).toBe('one')
    const two = join(folder, 'two.json')
    writeFileSync(two, '{"nodeId":"two"}')
    expect(load({ environment, file: two }).config.nodeId).toBe('two')
  })

  test('given empty variables and undefined options, then they count as not set', () => {
    const environment = { TRUNKLINE_HTTP_PORT: '', TRUNKLINE_CONFIG_FILE: '' }
    expect(load({ environment, options: { httpPort: undefined } }).config.httpPort).toBe(7470)
  })

  test('given every setting by its variable, then each arrives in its own type', () => {
    const texts: Record<string, string> = {}
    for (const setting of settings) {
      const { environmentName, kind, choices, minimum } = setting
      const byKind = {
        integer: String(setting.default ?? minimum),
        boolean: 'false',
        choice: choices[0] ?? '',
        text: 'x',
      }
      texts[environmentName] = byKind[kind]
    }
    const { config, sources } = load({ environment: texts })
    expect(new Set(Object.values(sources))).toEqual(new Set(['environment']))
    expect(config.autoCreateTopics).toBe(false)
    expect(typeof config.sessionLeaseMs).toBe('number')
    expect(Object.keys(config).sort()).toEqual(settings.map(({ name }) => name).sort())
  })
})

describe('what is refused', () => {
  test('given many mistakes in all places, then all are told at once, with their place and what would be right', () => {
    const found = problems({
      options: { httpPort: 'seventy' },
      environment: { TRUNKLINE_LOG_LEVEL: 'loud', TRUNKLINE_SESSIONS_MAX: '0', TRUNKLINE_AUTO_CREATE_TOPICS: 'yes' },
      file: file({ adminPort: '7479', thriftPort: 70_000, nodeId: 'a b', drainTimeoutMs: 20_000 }),
    })
    expect(found).toEqual({
      httpPort: 'the option httpPort must be an integer from 0 to 65535',
      logLevel: 'TRUNKLINE_LOG_LEVEL must be one of debug, info, warn, error, silent',
      sessionsMax: 'TRUNKLINE_SESSIONS_MAX must be an integer from 1 to 1000000',
      autoCreateTopics: 'TRUNKLINE_AUTO_CREATE_TOPICS must be true or false',
      adminPort: 'in the configuration file it must be an integer from 0 to 65535',
      thriftPort: 'in the configuration file it must be an integer from 0 to 65535',
      nodeId: expect.stringContaining('letters, digits and hyphens'),
      'drainTimeoutMs, shutdownTimeoutMs': 'the first must be below the second',
    })
  })

  test.each(['1.5', '1e3', '0x10', ' ', '١', '9999999999999999999', 'NaN', '--1'])(
    'given %j where a number belongs, then it is refused',
    (text) => {
      expect(Object.keys(problems({ environment: { TRUNKLINE_SESSIONS_MAX: text } }))).toEqual(['sessionsMax'])
    },
  )

  test('given equal ports, then each pair is told; two times 0 is fine', () => {
    expect(Object.keys(problems({ options: { httpPort: 7479, thriftPort: 7479 } }))).toEqual([
      'httpPort, thriftPort',
      'httpPort, adminPort',
      'thriftPort, adminPort',
    ])
    expect(load({ options: { httpPort: 0, thriftPort: 0, adminPort: 0 } }).config.adminPort).toBe(0)
  })

  test('given related values that do not fit, then both are named', () => {
    expect(problems({ options: { sessionLeaseMs: 10_000 } })).toEqual({
      'keepAliveMs, sessionLeaseMs': expect.stringContaining('half'),
    })
    expect(load({ options: { sessionLeaseMs: 10_000, keepAliveMs: 5_000 } }).config.keepAliveMs).toBe(5_000)
    expect(Object.keys(problems({ options: { drainTimeoutMs: 500, shutdownTimeoutMs: 500 } }))).toEqual([
      'drainTimeoutMs, shutdownTimeoutMs',
    ])
  })

  test('given a name that is none, then the nearest one is named, and a secret by value is sent to its file', () => {
    const found = problems({
      options: { htpPort: 1 },
      file: file({ clientSecret: canary, colour: 'red', __proto_: 1 }),
    })
    expect(found['htpPort']).toContain('did you mean httpPort?')
    expect(found['clientSecret']).toContain('use clientSecretFile')
    expect(found['colour']).toContain('there is no such setting')
    expect(JSON.stringify(found)).not.toContain(canary)
  })

  test.each(['toString', 'constructor', '__proto__'])(
    'given %s as a name in the file, then it is an unknown name',
    (name) => {
      expect(Object.keys(problems({ file: file(`{"${name}": 1}`) }))).toEqual([name])
    },
  )

  test('given a wrong value, then the problem never repeats it', () => {
    const found = problems({
      environment: { TRUNKLINE_NODE_ID: `${canary}!`, TRUNKLINE_LOG_LEVEL: canary, TRUNKLINE_HTTP_PORT: canary },
    })
    expect(Object.keys(found).length).toBe(3)
    expect(JSON.stringify(found)).not.toContain(canary)
  })

  test.each([
    ['not JSON', `{"nodeId": ${canary}`, 'must be JSON'],
    ['a list', '[]', 'must be an object'],
    ['null', 'null', 'must be an object'],
    ['too large', ' '.repeat(1024 * 1024 + 1), 'at most 1048576 bytes'],
  ])('given a file that is %s, then that is told without quoting it', (_what, text, problem) => {
    const found = problems({ file: file(text) })
    expect(Object.values(found)).toEqual([expect.stringContaining(problem)])
    expect(JSON.stringify(found)).not.toContain(canary)
  })

  test('given a file that is missing, then that is told together with the rest', () => {
    const found = problems({ file: join(folder, 'none.json'), options: { httpPort: -1 } })
    expect(Object.keys(found).length).toBe(2)
    expect(Object.values(found).join()).toContain('cannot be read (ENOENT)')
  })

  test('given a variable that looks like a misspelt setting, then that is a warning; others are not looked at', () => {
    const environment = { TRUNKLINE_HTP_PORT: '1', TRUNKLINE_TEST_SCALE: 'ci', HTTP_PORT: '2' }
    expect(load({ environment }).warnings).toEqual([
      'TRUNKLINE_HTP_PORT is not a setting; did you mean TRUNKLINE_HTTP_PORT?',
    ])
  })
})

describe('secrets', () => {
  test('given files of secrets, then the redacted configuration shows only that they are set', () => {
    const { config } = load({ options: { clientSecretFile: `/etc/${canary}` } })
    const shown = redactedConfig(config)
    expect(shown['clientSecretFile']).toBe('set')
    expect(shown).toMatchObject({ httpPort: 7470, autoCreateTopics: true })
    expect(shown).not.toHaveProperty('keyringFile')
    expect(JSON.stringify(shown)).not.toContain(canary)
  })

  test('given a setting that names a file, then it is hidden', () => {
    expect(settings.filter(({ name }) => name.endsWith('File')).every(({ hidden }) => hidden)).toBe(true)
  })

  test('given a secret of mode 0600, then it is read without its line end, and again after it changed', () => {
    const path = join(folder, 'secret')
    writeFileSync(path, `${canary}\n`, { mode: 0o600 })
    expect(readSecretFile('clientSecretFile', path)).toBe(canary)
    writeFileSync(path, 'rotated')
    expect(readSecretFile('clientSecretFile', path)).toBe('rotated')
  })

  test.each([
    ['readable by others', 0o640, canary, 'set its mode to 0600'],
    ['empty', 0o600, '\n', 'is empty'],
    ['too large', 0o600, canary.repeat(10_000), 'at most 65536 bytes'],
  ])('given a secret that is %s, then it is refused without quoting it', (_what, mode, text, problem) => {
    const path = join(folder, 'secret')
    writeFileSync(path, text)
    chmodSync(path, mode)
    expect(() => readSecretFile('clientSecretFile', path)).toThrow(
      expect.objectContaining({
        name: 'BAD_CONFIG',
        details: { clientSecretFile: expect.stringContaining(problem) },
      }),
    )
  })

  test('given a secret that is missing, then that is told', () => {
    expect(() => readSecretFile('clientSecretFile', join(folder, 'none'))).toThrow(
      expect.objectContaining({
        details: { clientSecretFile: expect.stringContaining('cannot be opened') },
      }),
    )
  })
})

describe('the nearest name', () => {
  test.each([
    ['htpPort', 'httpPort'],
    ['HTTPPORT', 'httpPort'],
    ['httpPorts', 'httpPort'],
    ['colour', undefined],
    ['', undefined],
  ])('given %j, then %j is meant', (name, meant) => {
    expect(nearest(name, ['httpPort', 'thriftPort'])).toBe(meant)
  })
})

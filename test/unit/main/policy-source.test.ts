// The policy file of a process: right at the start or no start; later, what is wrong changes nothing.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import type { Policy } from '../../../src/api-tier/authorize/policy.ts'
import { startingPolicyText } from '../../../src/api-tier/authorize/policy-file.ts'
import { PolicySource } from '../../../src/main/policy-source.ts'
import { nullLogger } from '../../../src/observability/log.ts'
import type { LogFields } from '../../../src/observability/log-fields.ts'

let dir: string
let path: string
let clock: SimulatedClock
let errors: LogFields[]
let loads: string[]
let seen: Policy[]

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'trunkline-policy-'))
  path = join(dir, 'policy.json')
  clock = new SimulatedClock()
  errors = []
  loads = []
  seen = []
})
afterEach(() => rmSync(dir, { recursive: true }))

const write = (text: string): void => writeFileSync(path, text, { mode: 0o600 })

function source(): PolicySource {
  return new PolicySource({
    path,
    pollMs: 5_000,
    clock,
    logger: { ...nullLogger, error: (fields) => errors.push(fields) },
    metrics: { policyLoads: { add: ({ outcome }) => loads.push(outcome) } },
  })
}

describe('a policy file', () => {
  test('given a start, then all its problems are told at once, with the setting', () => {
    write('{"version": 2,\n "rules": [{}]}')
    expect(source).toThrow(
      expect.objectContaining({
        name: 'BAD_CONFIG',
        details: { policyFile: expect.stringMatching(/line 1, .*line 2, /s) },
      }),
    )
    chmodSync(path, 0o666)
    expect(source).toThrow(
      expect.objectContaining({ details: { policyFile: expect.stringContaining('others may write') } }),
    )
    rmSync(path)
    expect(source).toThrow(
      expect.objectContaining({ details: { policyFile: expect.stringContaining('cannot be read') } }),
    )
  })

  test('given a change before anybody watches, then that is the policy, and one that is broken leaves the first', () => {
    for (const [text, rules] of [
      ['{"version":1,"rules":[]}', 0],
      ['{', 1],
    ] as const) {
      write(startingPolicyText('one'))
      const watched = source()
      write(text)
      expect(watched.watch((policy) => seen.push(policy)).rules).toHaveLength(rules)
      watched.close()
    }
    expect(seen).toHaveLength(0)
  })

  test('given changes, then each is taken once; a broken one keeps what was, and is told once', async () => {
    write(startingPolicyText('one'))
    const watched = source()
    expect(watched.watch((policy) => seen.push(policy)).rules).toHaveLength(1)
    await clock.advance(20_000)
    expect(seen).toHaveLength(0)

    write('{"version":1,"rules":[]}')
    await clock.advance(5_000)
    expect(seen.map(({ rules }) => rules.length)).toEqual([0])

    write('{"version":1,"rules":[{"CANARY":1}')
    await clock.advance(20_000)
    rmSync(path)
    await clock.advance(20_000)
    expect(seen).toHaveLength(1)
    expect(errors.map(({ problem }) => problem)).toEqual([
      'line 1: it is not JSON from here',
      'it cannot be read: correct the path, or its permissions',
    ])

    write(startingPolicyText('two'))
    watched.reload()
    expect(seen).toHaveLength(2)
    expect(loads).toEqual(['ok', 'ok', 'failed', 'failed', 'ok'])

    watched.close()
    write('{"version":1,"rules":[]}')
    watched.reload()
    await clock.advance(20_000)
    expect(seen).toHaveLength(2)
    expect(clock.pendingCount).toBe(0)
  })
})

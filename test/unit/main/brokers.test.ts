// Opening what may be away, refuse us, or come when nobody wants it any more.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { loadConfig } from '../../../src/config/load-config.ts'
import { streamRole } from '../../../src/config/roles.ts'
import { freshKafkaAccess, nodeIsThere, openPatiently, problemFields } from '../../../src/main/brokers.ts'
import { nullLogger } from '../../../src/observability/log.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { makeIncarnation } from '../../../src/protocol/ids.ts'

class Opened {
  closed = false
  async close(): Promise<void> {
    this.closed = true
  }
}

function world() {
  const clock = new SimulatedClock()
  const stop = new AbortController()
  const open = (next: () => Promise<Opened>) =>
    openPatiently('it', { clock, random: new SeededRandom(1), logger: nullLogger }, stop.signal, next)
  return { clock, stop, open }
}

describe('whether a node is there', () => {
  const seen = (a: 'up' | 'blocked', nodeOn: readonly string[]) => ({
    shardStates: () => [
      { name: 'a', state: a },
      { name: 'b', state: 'up' as const },
    ],
    presence: () => [{ key: makeIncarnation('one', 'e1'), shards: nodeOn }],
  })
  it('given a node on shards of which one is up, then it is', () => {
    expect(nodeIsThere(seen('up', ['a']))).toBe(true)
    expect(nodeIsThere(seen('blocked', ['a', 'b']))).toBe(true)
  })
  it('given none, or nodes only on shards that are not up, then it is not', () => {
    expect(nodeIsThere(undefined)).toBe(false)
    expect(nodeIsThere({ ...seen('up', []), presence: () => [] })).toBe(false)
    expect(nodeIsThere(seen('blocked', ['a']))).toBe(false)
  })
})

describe('what the log says of a problem', () => {
  it('given one of a shard, then its name and why; given anything else, then nothing', () => {
    const problem = new TrunklineError('BROKER_REFUSED', { details: { shard: 'a', why: 'credentials', other: 'x' } })
    expect(problemFields(problem)).toEqual({ errorCode: 'BROKER_REFUSED', shard: 'a', reason: 'credentials' })
    expect(problemFields(new TrunklineError('UNAVAILABLE'))).toEqual({ errorCode: 'UNAVAILABLE' })
    expect(problemFields(new Error('a defect'))).toEqual({})
  })
})

describe('what Kafka is shown', () => {
  it('given files that are rotated, then each connection has what is there; one that cannot be read leaves the last', () => {
    const dir = mkdtempSync(join(tmpdir(), 'trunkline-access-'))
    const put = (name: string, text: string): string => {
      writeFileSync(join(dir, name), text, { mode: 0o600 })
      return join(dir, name)
    }
    const [ca, password] = [put('ca', '-----BEGIN 1'), put('password', 'one')]
    const { config } = loadConfig(streamRole, {
      environment: {},
      options: {
        ...{ nodeId: 'n', keyringFile: 'k', gatewayKeyFile: 'g', rabbitShards: ['a=amqps://mq'] },
        ...{ kafkaBrokers: ['k:9092'], kafkaTls: true, kafkaCaFile: ca },
        ...{ kafkaSaslMechanism: 'plain', kafkaSaslUsername: 'u', kafkaSaslPasswordFile: password },
      },
    })
    const told: unknown[] = []
    const access = freshKafkaAccess(config, new SimulatedClock(), (problem) => told.push(problem))
    const shown = (): unknown[] => [access().tls?.ca, access().sasl]
    const login = (text: string) => ({ mechanism: 'plain', username: 'u', password: text })
    expect(shown()).toEqual(['-----BEGIN 1', login('one')])
    put('ca', '-----BEGIN 2')
    put('password', 'two')
    expect(shown()).toEqual(['-----BEGIN 2', login('two')])
    put('ca', 'half a fi')
    put('password', 'three')
    expect(shown()).toEqual(['-----BEGIN 2', login('two')])
    expect(told).toMatchObject([{ name: 'BAD_CONFIG', details: { kafkaCaFile: 'its file is not PEM' } }])
    put('ca', '-----BEGIN 3')
    expect(shown()).toEqual(['-----BEGIN 3', login('three')])
    rmSync(dir, { recursive: true })
  })
})

describe('opening with patience', () => {
  it('given one that is away, then it is asked again in bounded pauses until it is there', async () => {
    const { clock, open } = world()
    const there = new Opened()
    let asked = 0
    const opening = open(async () => {
      asked += 1
      if (asked < 30) throw new TrunklineError('UNAVAILABLE')
      return there
    })
    for (let round = 1; round <= 30; round++) {
      await clock.advance(5_000)
      expect(asked).toBeGreaterThanOrEqual(Math.min(30, round + 1))
    }
    expect(await opening).toBe(there)
    expect(asked).toBe(30)
  })

  it.each([new TrunklineError('BROKER_REFUSED'), new TrunklineError('BAD_CONFIG'), new Error('a defect')])(
    'given %s, then it is not asked again',
    async (error) => {
      const { open } = world()
      let asked = 0
      const opening = open(() => {
        asked += 1
        return Promise.reject(error)
      })
      await expect(opening).rejects.toBe(error)
      expect(asked).toBe(1)
    },
  )

  it('given a stop during a pause, then it ends at once with nothing', async () => {
    const { stop, open } = world()
    const opening = open(() => Promise.reject(new TrunklineError('UNAVAILABLE')))
    await Promise.resolve()
    stop.abort()
    expect(await opening).toBeUndefined()
  })

  it('given a stop while it opens, then what opens later is closed', async () => {
    const { stop, open } = world()
    const there = new Opened()
    let settle: (opened: Opened) => void = () => {}
    const opening = open(
      () =>
        new Promise<Opened>((resolve) => {
          settle = resolve
        }),
    )
    stop.abort()
    settle(there)
    expect(await opening).toBeUndefined()
    expect(there.closed).toBe(true)
  })
})

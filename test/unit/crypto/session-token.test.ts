import { describe, expect, test } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { GatewayKeys } from '../../../src/crypto/gateway-keys.ts'
import {
  openSessionToken,
  principalHash,
  type SessionTokenContent,
  sealSessionToken,
  sessionSecret,
} from '../../../src/crypto/session-token.ts'
import { parseIncarnation, parseSessionId, parseTopicName } from '../../../src/protocol/ids.ts'
import { macAlgorithm } from '../../../src/protocol/mac-algorithm.ts'
import { errorOf, everyBitFlip, hex, producerA, topicA } from './crypto-fixtures.ts'

const clock = new SimulatedClock()
const random = new SeededRandom('session tokens')
const keys = GatewayKeys.generate(random, clock)

const readContent: SessionTokenContent = {
  sessionId: parseSessionId('r3adSession_0-ab'),
  incarnation: parseIncarnation('node-1.k3x9'),
  pid: 4711,
  topic: parseTopicName('orders.eu_v2'),
  topicId: topicA,
  mode: 1,
  principal: principalHash('alice', 'cli', 'default'),
  packing: 1,
  partitions: 8,
  issuedAtMs: 1_767_323_045_678,
}
const writeContent: SessionTokenContent = { ...readContent, mode: 2, producerId: producerA }
const largestContent: SessionTokenContent = {
  ...writeContent,
  sessionId: parseSessionId('_'.repeat(22)),
  incarnation: parseIncarnation(`${'-'.repeat(64)}.${'z'.repeat(32)}`),
  topic: parseTopicName('-'.repeat(249)),
  pid: 2 ** 53 - 1,
  packing: 255,
  partitions: 65_535,
  issuedAtMs: 2 ** 48 - 1,
}

describe('session tokens', () => {
  test.each([
    ['a read session', readContent],
    ['a write session', writeContent],
    ['the largest content', largestContent],
    ['the smallest names', { ...readContent, topic: parseTopicName('A'), incarnation: parseIncarnation('A.0') }],
  ])('given %s, when its token is opened, then everything comes back within 384 bytes', (_, content) => {
    const token = sealSessionToken(keys, content, random)
    expect(openSessionToken(keys, token)).toEqual(content)
    expect(token.length).toBeLessThanOrEqual(384)
  })

  test('given every character of a name, then it survives', () => {
    const topic = parseTopicName('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-')
    expect(openSessionToken(keys, sealSessionToken(keys, { ...readContent, topic }, random)).topic).toBe(topic)
  })

  test('given names that do not fit, then sealing is refused as a bug', () => {
    const content = { ...largestContent, sessionId: parseSessionId('x'.repeat(40)) }
    expect(() => sealSessionToken(keys, content, random)).toThrow('above its limit')
  })

  test('given the same content twice, then the tokens share nothing after the key id', () => {
    const [one, two] = [sealSessionToken(keys, readContent, random), sealSessionToken(keys, readContent, random)]
    expect(hex(one.subarray(0, 5))).toBe(hex(two.subarray(0, 5)))
    expect(hex(one.subarray(5, 21))).not.toBe(hex(two.subarray(5, 21)))
    expect(hex(one.subarray(21))).not.toBe(hex(two.subarray(21)))
    expect(hex(sessionSecret(keys, one))).not.toBe(hex(sessionSecret(keys, two)))
  })

  test('given any single flipped bit, then the token is refused', async () => {
    const token = sealSessionToken(keys, writeContent, random)
    for (const { bit, flipped } of everyBitFlip(token)) {
      expect(await errorOf(() => openSessionToken(keys, flipped)), `bit ${bit}`).toBe('BAD_SESSION_TOKEN')
    }
  })

  test('given any truncation, lengthening or nothing, then the token is refused', async () => {
    const token = sealSessionToken(keys, writeContent, random)
    for (let size = 0; size < token.length; size += 1) {
      expect(await errorOf(() => openSessionToken(keys, token.subarray(0, size)))).toBe('BAD_SESSION_TOKEN')
    }
    expect(await errorOf(() => openSessionToken(keys, Uint8Array.from([...token, 0])))).toBe('BAD_SESSION_TOKEN')
    expect(await errorOf(() => openSessionToken(keys, random.bytes(1_000)))).toBe('BAD_SESSION_TOKEN')
  })

  test('given a token of another gateway or version, then it is refused the same way', async () => {
    const foreign = sealSessionToken(GatewayKeys.generate(random, clock), writeContent, random)
    const old = sealSessionToken(keys, writeContent, random)
    old[0] = 0
    for (const token of [foreign, old]) {
      for (const call of [openSessionToken, sessionSecret]) {
        await expect(async () => call(keys, token)).rejects.toMatchObject({ name: 'BAD_SESSION_TOKEN', details: {} })
      }
    }
  })

  test('given rotations, then older tokens open; given their key was dropped, then they do not', async () => {
    const token = sealSessionToken(keys, writeContent, random)
    const once = keys.rotated(random, clock)
    expect(openSessionToken(once, token)).toEqual(writeContent)
    expect(hex(sessionSecret(once, token))).toBe(hex(sessionSecret(keys, token)))
    const twice = once.rotated(random, clock)
    expect(openSessionToken(twice, token)).toEqual(writeContent)
    expect(await errorOf(() => openSessionToken(twice.without(keys.currentId), token))).toBe('BAD_SESSION_TOKEN')
  })

  test('given HMAC-MD5, when its token is opened, then it says so, and its secret is not the one for HMAC-SHA256', () => {
    const content = { ...writeContent, macAlgorithm: macAlgorithm.md5 }
    const token = sealSessionToken(keys, content, random)
    expect(openSessionToken(keys, token)).toEqual(content)
    expect(hex(sessionSecret(keys, token, macAlgorithm.md5))).not.toBe(hex(sessionSecret(keys, token)))
    const strong = sealSessionToken(keys, { ...writeContent, macAlgorithm: macAlgorithm.sha256 }, random)
    expect(openSessionToken(keys, strong)).toEqual(writeContent)
  })

  test('given a token with HMAC-MD5 and any single flipped bit, then it is refused: it is never one with HMAC-SHA256', async () => {
    const token = sealSessionToken(keys, { ...readContent, macAlgorithm: macAlgorithm.md5 }, random)
    for (const { bit, flipped } of everyBitFlip(token))
      expect(await errorOf(() => openSessionToken(keys, flipped)), `bit ${bit}`).toBe('BAD_SESSION_TOKEN')
  })

  test('given a token, then its secret has 32 bytes and is the same on another node', () => {
    const token = sealSessionToken(keys, readContent, random)
    const secret = sessionSecret(keys, token)
    expect(secret).toHaveLength(32)
    expect(hex(sessionSecret(GatewayKeys.parse(keys.toText()), token))).toBe(hex(secret))
  })
})

describe('principals', () => {
  test('given other names, or names cut elsewhere, then the hashes differ', () => {
    const hashes = [
      principalHash('alice', 'cli', 'default'),
      principalHash('alic', 'ecli', 'default'),
      principalHash('alice', 'clidefault', ''),
      principalHash('alice', '', 'default'),
      principalHash('alice', undefined, 'default'),
    ].map(hex)
    expect(new Set(hashes).size).toBe(hashes.length)
    expect(hex(principalHash('alice', 'cli', 'default'))).toBe(hashes[0])
  })
})

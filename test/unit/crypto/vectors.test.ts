// The vectors of test/vectors hold three things together: src/crypto, docs/formats.md (through the independent opener)
// and every other language's SDK.
import { describe, expect, test } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { keyringText, parseKeyring } from '../../../src/adapters/keyring/keyring-content.ts'
import { KeyringProvider } from '../../../src/adapters/keyring/keyring-provider.ts'
import { fingerprintOf, RewrappedKeys, rewrappedBytes } from '../../../src/adapters/keyring/rewrapped-keys.ts'
import { BlockOpener } from '../../../src/crypto/block-opener.ts'
import { BlockSealer } from '../../../src/crypto/block-sealer.ts'
import { CursorSealer, openCursor } from '../../../src/crypto/cursor-seal.ts'
import { GatewayKeys } from '../../../src/crypto/gateway-keys.ts'
import { decodeServiceWrap, encodeServiceWrap } from '../../../src/crypto/service-wrap.ts'
import {
  openSessionToken,
  principalHash,
  type SessionTokenContent,
  sealSessionToken,
  sessionSecret,
} from '../../../src/crypto/session-token.ts'
import type { KeyProvider } from '../../../src/ports/key-provider.ts'
import {
  parseIncarnation,
  parseProducerId,
  parseSessionId,
  parseTopicId,
  parseTopicName,
} from '../../../src/protocol/ids.ts'
import { macAlgorithm } from '../../../src/protocol/mac-algorithm.ts'
import { mode } from '../../../src/protocol/messages.ts'
import keyFiles from '../../vectors/key-files.json' with { type: 'json' }
import blocks from '../../vectors/sealed-block.json' with { type: 'json' }
import cursors from '../../vectors/sealed-cursor.json' with { type: 'json' }
import tokens from '../../vectors/session-token.json' with { type: 'json' }
import { errorOf, FixedRandom, hex, unhex } from './crypto-fixtures.ts'
import {
  openBlockByTheBook,
  openCursorByTheBook,
  openTokenByTheBook,
  sessionSecretByTheBook,
} from './independent-opener.ts'

type BlockCase = (typeof blocks.cases)[number]
type TokenCase = (typeof tokens.cases)[number]

describe('sealed block vectors', () => {
  test.each(blocks.cases)('given $name, then sealing makes exactly these bytes', async (vector) => {
    const place = placeOf(vector)
    const random = new FixedRandom(unhex(vector.lane))
    const sealer = new BlockSealer({ keys: oneKey(vector), clock: new SimulatedClock(), random, tenant: 't' })
    const block = { partition: place.partition, ...vector.block, data: unhex(vector.block.data) }
    for (let before = 0; before < vector.counter; before += 1) await sealer.seal(block, place)
    expect(hex(await sealer.seal(block, place))).toBe(vector.sealed)
  })

  test.each(blocks.cases)('given $name, then it opens', async (vector) => {
    const opener = new BlockOpener({ keys: oneKey(vector), clock: new SimulatedClock(), tenant: 't' })
    const { data, ...shape } = await opener.open(placeOf(vector), unhex(vector.sealed))
    expect({ ...shape, data: hex(data) }).toEqual({ ...vector.block, partition: vector.place.partition })
  })

  test.each(blocks.cases)('given $name, then an opener written from the document opens it', (vector) => {
    const dataKey = Buffer.from(vector.dataKey, 'hex')
    const place = { ...vector.place, n: BigInt(vector.place.n) }
    expect(openBlockByTheBook(vector.sealed, dataKey, place)).toEqual({
      ...vector.block,
      ...{ kekId: vector.kekId, wrapped: vector.wrapped, topicId: vector.place.topicId, commitment: vector.commitment },
    })
    expect(() => openBlockByTheBook(vector.sealed, dataKey, { ...place, part: place.part ^ 1 })).toThrow(/authenticate/)
  })
})

describe('session token vectors', () => {
  const keys = GatewayKeys.parse(tokens.gatewayKeyFile)

  test.each(tokens.cases)('given $name, then sealing makes exactly these bytes', (vector) => {
    const token = sealSessionToken(keys, contentOf(vector), new FixedRandom(unhex(vector.salt)))
    expect(hex(token)).toBe(vector.token)
  })

  test.each(tokens.cases)('given $name, then it opens and gives its secret', (vector) => {
    expect(openSessionToken(keys, unhex(vector.token))).toEqual(contentOf(vector))
    expect(hex(sessionSecret(keys, unhex(vector.token), contentOf(vector).macAlgorithm))).toBe(vector.secret)
  })

  test.each(tokens.cases)('given $name, then an opener written from the document opens it', (vector) => {
    expect(openTokenByTheBook(vector.token, tokens.gatewayKeyFile)).toEqual(vector.content)
    const isMd5 = vector.content.macAlgorithm !== undefined
    expect(sessionSecretByTheBook(vector.token, tokens.gatewayKeyFile, isMd5)).toBe(vector.secret)
  })

  test.each(tokens.cases)('given $name, then its principal is the hash of the names', (vector) => {
    const { subject, clientId, tenant } = vector.principalOf
    expect(hex(principalHash(subject, clientId ?? undefined, tenant))).toBe(vector.content.principal)
  })
})

describe('sealed cursor vectors', () => {
  const keys = GatewayKeys.parse(cursors.gatewayKeyFile)

  test.each(cursors.cases)('given $name, then sealing makes exactly these bytes', (vector) => {
    const scope = { ...vector.scope, topicId: parseTopicId(vector.scope.topicId) }
    const sealer = new CursorSealer(keys, scope, new FixedRandom(unhex(vector.salt)))
    for (let before = 0; before < vector.counter; before += 1) sealer.seal(unhex(vector.content))
    expect(hex(sealer.seal(unhex(vector.content)))).toBe(vector.cursor)
    expect(hex(openCursor(keys, scope, unhex(vector.cursor)))).toBe(vector.content)
  })

  test.each(cursors.cases)('given $name, then an opener written from the document opens it', (vector) => {
    expect(openCursorByTheBook(vector.cursor, cursors.gatewayKeyFile, vector.scope)).toBe(vector.content)
  })
})

function placeOf({ place }: BlockCase) {
  return {
    topicId: parseTopicId(place.topicId),
    partition: place.partition,
    producerId: parseProducerId(place.producerId),
    n: Number(place.n),
    part: place.part,
  }
}

function contentOf({ content }: TokenCase): SessionTokenContent {
  return {
    sessionId: parseSessionId(content.sessionId),
    incarnation: parseIncarnation(content.incarnation),
    pid: Number(content.pid),
    topic: parseTopicName(content.topic),
    topicId: parseTopicId(content.topicId),
    mode: content.mode === 1 ? mode.read : mode.write,
    ...(content.producerId === undefined ? {} : { producerId: parseProducerId(content.producerId) }),
    ...(content.macAlgorithm === undefined ? {} : { macAlgorithm: macAlgorithm.md5 }),
    principal: unhex(content.principal),
    packing: content.packing,
    partitions: content.partitions,
    issuedAtMs: Number(content.issuedAtMs),
  }
}

describe('key file vectors', () => {
  const [old, now] = keyFiles.keyrings.map(({ text }) => parseKeyring(text))
  const ringOfVectors = (): KeyringProvider =>
    new KeyringProvider('', parseKeyring(keyFiles.keyrings[1]?.text ?? ''), new FixedRandom())

  test('given version 2, then it is written again byte for byte, and says what stands in it', () => {
    if (now === undefined) throw new Error('no vector')
    expect(keyringText(now)).toBe(keyFiles.keyrings[1]?.text)
    expect(now.keks.map(({ state }) => state.kind)).toEqual(['destroyed', 'active', 'revoked', 'active'])
    expect(now.topics).toEqual([
      { topicId: '00112233445566778899aabbccddeeff', topic: 'orders', current: 'kek-0000000000000004' },
    ])
  })

  test('given version 1, then it is the same ring, before any revision', () => {
    expect(old).toMatchObject({ ringId: now?.ringId, revision: 0, current: now?.current, topics: [] })
    expect(old?.keks.map(({ state }) => state.kind)).toEqual(['destroyed', 'active'])
  })

  test.each(keyFiles.wrapped)(
    'given a data key $name, then it unwraps, and that KEK is current for its topic',
    async (vector) => {
      const context = { topicId: parseTopicId(vector.topicId), tenant: vector.tenant }
      const ring = ringOfVectors()
      expect(hex(await ring.unwrap(vector.kekId, unhex(vector.wrapped), context))).toBe(vector.dataKey)
      expect(ring.isCurrent(vector.kekId, context)).toBe(true)
      expect(await errorOf(() => ring.unwrap('kek-0000000000000001', unhex(vector.wrapped), context))).toBe(
        'KEY_SHREDDED',
      )
      expect(await errorOf(() => ring.unwrap('kek-0000000000000003', unhex(vector.wrapped), context))).toBe(
        'KEY_UNAVAILABLE',
      )
    },
  )

  test.each(keyFiles.serviceWraps)('given $name, then it is made and read exactly so', (vector) => {
    const context = { topicId: parseTopicId(vector.topicId), tenant: vector.tenant }
    expect(hex(encodeServiceWrap(vector.kekId, unhex(vector.cipherText), context))).toBe(vector.wrapped)
    expect(hex(decodeServiceWrap(vector.kekId, unhex(vector.wrapped), context))).toBe(vector.cipherText)
  })

  describe('re-wrapped keys', () => {
    const text = keyFiles.keyrings[2]?.text ?? ''
    const { file, revision, keys } = keyFiles.rewrapped
    const rewrapped = (): RewrappedKeys => RewrappedKeys.parse(Buffer.from(file, 'hex'), parseKeyring(text))

    test('given the file and its keyring, version 3, then both are written again byte for byte', () => {
      const ring = parseKeyring(text)
      expect(keyringText(ring)).toBe(text)
      expect(ring.keks.map(({ state }) => state.kind)).toEqual(['replaced', 'active', 'retired', 'active'])
      expect(rewrapped().revision).toBe(revision)
      expect(hex(rewrappedBytes(ring, revision, rewrapped().entries()))).toBe(file)
    })

    test('given a keyring with a KEK that was revoked while it was retired, then it is written again byte for byte, and needs them', () => {
      const text = keyFiles.keyrings[3]?.text ?? ''
      expect(keyringText(parseKeyring(text))).toBe(text)
      expect(parseKeyring(text).keks[2]?.state).toMatchObject({ kind: 'revoked', wasRetired: true })
      const without = text.replace('  "rewrappedMin": 5,\n', '')
      expect(() => parseKeyring(without)).toThrow(expect.objectContaining({ details: { reason: 'rewrappedMin' } }))
      const odd = text.replace('"retired": true', '"retired": "yes"')
      expect(() => parseKeyring(odd)).toThrow(expect.objectContaining({ details: { reason: 'retired' } }))
    })

    test.each(keys)('given a data key $name, then it opens by its entry, and not without', async (vector) => {
      const context = { topicId: parseTopicId(vector.topicId), tenant: vector.tenant }
      const wrapped = unhex(vector.wrapped)
      expect(hex(fingerprintOf(vector.kekId, wrapped, context))).toBe(vector.fingerprint)
      const ring = new KeyringProvider('', parseKeyring(text), new FixedRandom(), rewrapped())
      const opened = ring.unwrap(vector.kekId, wrapped, context)
      if (vector.dataKey === undefined) await expect(opened).rejects.toMatchObject({ name: vector.error })
      else expect(hex(await opened)).toBe(vector.dataKey)
      const bare = new KeyringProvider('', parseKeyring(text), new FixedRandom())
      expect(await errorOf(() => bare.unwrap(vector.kekId, wrapped, context))).toBe('KEY_UNAVAILABLE')
    })
  })

  test.each(keyFiles.gatewayKeys)('given $name, then they are written again byte for byte', ({ text }) => {
    expect(GatewayKeys.parse(text).toText()).toBe(text)
  })
})

/** Hands out the one data key of a vector. */
function oneKey(vector: BlockCase): KeyProvider {
  const refuse = async (): Promise<never> => {
    throw new Error('not part of a vector')
  }
  return {
    generate: async () => ({
      kekId: vector.kekId,
      plaintext: unhex(vector.dataKey),
      wrapped: unhex(vector.wrapped),
    }),
    unwrap: async (kekId, wrapped) => {
      expect([kekId, hex(wrapped)]).toEqual([vector.kekId, vector.wrapped])
      return unhex(vector.dataKey)
    },
    rewrap: refuse,
    describe: refuse,
    isCurrent: () => true,
    refusalOf: () => undefined,
    onChange: () => () => {},
    close: async () => undefined,
  }
}

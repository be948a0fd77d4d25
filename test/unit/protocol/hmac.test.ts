// Proves the HMAC against OpenSSL's, which it stands in for.
import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hmac, keyRoom } from '../../../src/protocol/hmac.ts'
import { digestOf, macAlgorithm } from '../../../src/protocol/mac-algorithm.ts'
import { scale } from '../../support/scale.ts'
import { bytesToHex } from './support/json-values.ts'
import { forAll } from './support/seed.ts'

const inRoom = (bytes: Uint8Array) => Buffer.concat([Buffer.alloc(keyRoom, 7), bytes])

describe('hmac', () => {
  it('Given any key that fits and any message, When it is made, Then it is that of OpenSSL', () => {
    const anything = fc.record({
      algorithm: fc.constantFrom(...Object.values(macAlgorithm)),
      key: fc.uint8Array({ maxLength: keyRoom }),
      message: fc.uint8Array({ maxLength: 300 }),
    })
    forAll(scale(500, 20_000), anything, ({ algorithm, key, message }) => {
      const expected = createHmac(digestOf(algorithm).name, key).update(message).digest('hex')
      expect(bytesToHex(hmac(algorithm, key, inRoom(message)))).toBe(expected)
    })
  })

  it('Given a MAC, When the next one is made, Then the first stays as it was', () => {
    const key = new Uint8Array(32).fill(1)
    const first = hmac(undefined, key, inRoom(Uint8Array.of(1)))
    const kept = bytesToHex(first)
    hmac(undefined, key, inRoom(Uint8Array.of(2)))
    expect(bytesToHex(first)).toBe(kept)
  })

  it('Given a key or a message that has no room, When a MAC is made, Then it is an Error', () => {
    expect(() => hmac(undefined, new Uint8Array(keyRoom + 1), Buffer.alloc(100))).toThrow('room')
    expect(() => hmac(undefined, new Uint8Array(32), Buffer.alloc(keyRoom - 1))).toThrow('room')
  })
})

// Owns: the specification of the KeyProvider port, for every adapter.
// Leaves out: what one adapter promises beyond the port (its own test file).
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { KeyChange, KeyContext, KeyProvider } from '../../src/ports/key-provider.ts'
import type { ErrorName } from '../../src/protocol/errors.ts'
import { parseTopicId } from '../../src/protocol/ids.ts'

export interface KeyProviderFixture {
  readonly provider: KeyProvider
  /** A new KEK becomes current, as an operator does it; the provider has noticed when it resolves. */
  rotate(): Promise<void>
  /** Withdraws a KEK that is not current, so that it can be given back; the provider has noticed when it resolves. */
  revoke(kekId: string): Promise<void>
  /** Gives a revoked KEK back; the provider has noticed when it resolves. */
  restore(kekId: string): Promise<void>
  /** Destroys a KEK that is not current; the provider has noticed when it resolves. */
  destroy(kekId: string): Promise<void>
  /** Another provider that shares no KEK with this one. The fixture closes it. */
  stranger(): Promise<KeyProvider>
  close(): Promise<void>
}

const context: KeyContext = { topicId: parseTopicId('00112233445566778899aabbccddeeff'), tenant: 'acme' }
const otherTopic: KeyContext = { ...context, topicId: parseTopicId('ff112233445566778899aabbccddeeff') }
const otherTenant: KeyContext = { ...context, tenant: 'acmf' }
const splitElsewhere: KeyContext = { ...context, tenant: '' }

export function describeKeyProvider(name: string, factory: () => Promise<KeyProviderFixture>): void {
  describe(`key provider: ${name}`, () => {
    let fixture: KeyProviderFixture
    let provider: KeyProvider

    beforeEach(async () => {
      fixture = await factory()
      provider = fixture.provider
    })

    afterEach(async () => fixture.close())

    test('given a generated key, when it is unwrapped in its context, then it is the same key', async () => {
      const key = await provider.generate(context)
      expect(key.plaintext).toHaveLength(32)
      expect(key.wrapped.length).toBeGreaterThan(0)
      expect(key.wrapped.length).toBeLessThanOrEqual(512)
      expect(key.kekId).toMatch(/^[\x21-\x7e]{1,64}$/)
      expect(hex(await provider.unwrap(key.kekId, key.wrapped, context))).toBe(hex(key.plaintext))
    })

    test('given the wrapped key, then the plain one does not stand in it', async () => {
      const key = await provider.generate(context)
      expect(hex(key.wrapped)).not.toContain(hex(key.plaintext).slice(0, 16))
    })

    test('given many generated keys, then no two are the same, plain or wrapped', async () => {
      const keys = await Promise.all(Array.from({ length: 64 }, () => provider.generate(context)))
      expect(new Set(keys.map((key) => hex(key.plaintext))).size).toBe(64)
      expect(new Set(keys.map((key) => hex(key.wrapped))).size).toBe(64)
    })

    test('given the caller wiped its copies, when the key is unwrapped again, then it is whole', async () => {
      const key = await provider.generate(context)
      const plain = hex(key.plaintext)
      key.plaintext.fill(0)
      const first = await provider.unwrap(key.kekId, key.wrapped, context)
      first.fill(0)
      expect(hex(await provider.unwrap(key.kekId, key.wrapped, context))).toBe(plain)
    })

    test.each([
      ['another topic', otherTopic],
      ['another tenant', otherTenant],
      ['no tenant', splitElsewhere],
    ])('given %s, when the key is unwrapped, then it is refused', async (_, other) => {
      const key = await provider.generate(context)
      await expectError(provider.unwrap(key.kekId, key.wrapped, other), 'BLOCK_DAMAGED')
      await expectError(provider.rewrap(key.kekId, key.wrapped, other), 'BLOCK_DAMAGED')
    })

    test('given any flipped bit of the wrapped key, when it is unwrapped, then it is refused', async () => {
      const key = await provider.generate(context)
      for (let bit = 0; bit < key.wrapped.length * 8; bit += 1) {
        const flipped = Uint8Array.from(key.wrapped)
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        await expectError(provider.unwrap(key.kekId, flipped, context), 'BLOCK_DAMAGED')
      }
    })

    test('given a truncated, empty or lengthened wrapped key, when it is unwrapped, then it is refused', async () => {
      const { kekId, wrapped } = await provider.generate(context)
      for (const size of [0, 1, wrapped.length - 1]) {
        await expectError(provider.unwrap(kekId, wrapped.subarray(0, size), context), 'BLOCK_DAMAGED')
      }
      await expectError(provider.unwrap(kekId, Uint8Array.from([...wrapped, 0]), context), 'BLOCK_DAMAGED')
    })

    test('given an unknown KEK, when a key is unwrapped, then it is unavailable', async () => {
      const { wrapped } = await provider.generate(context)
      await expectError(provider.unwrap('nobody-knows-me', wrapped, context), 'KEY_UNAVAILABLE')
      await expectError(provider.rewrap('nobody-knows-me', wrapped, context), 'KEY_UNAVAILABLE')
    })

    test('given a stranger, when it unwraps a key of ours, then it gets none', async () => {
      const key = await provider.generate(context)
      const stranger = await fixture.stranger()
      await expectError(stranger.unwrap(key.kekId, key.wrapped, context), 'KEY_UNAVAILABLE')
    })

    test('given a rotation, then new keys are under the new KEK and old ones still unwrap', async () => {
      const before = await provider.generate(context)
      await fixture.rotate()
      const after = await provider.generate(context)
      expect(after.kekId).not.toBe(before.kekId)
      expect(hex(await provider.unwrap(before.kekId, before.wrapped, context))).toBe(hex(before.plaintext))
      expect(hex(await provider.unwrap(after.kekId, after.wrapped, context))).toBe(hex(after.plaintext))
      await expectError(provider.unwrap(after.kekId, before.wrapped, context), 'BLOCK_DAMAGED')
    })

    test('given a rotation, when an old key is rewrapped, then it is the same key under the new KEK', async () => {
      const before = await provider.generate(context)
      await fixture.rotate()
      const after = await provider.rewrap(before.kekId, before.wrapped, context)
      const current = (await provider.describe()).find((kek) => kek.current)
      expect(after.kekId).toBe(current?.kekId)
      expect(hex(after.wrapped)).not.toBe(hex(before.wrapped))
      expect(hex(await provider.unwrap(after.kekId, after.wrapped, context))).toBe(hex(before.plaintext))
    })

    test('given a destroyed KEK, when its keys are unwrapped, then they are shredded and rewrapped ones live', async () => {
      const before = await provider.generate(context)
      await fixture.rotate()
      const after = await provider.rewrap(before.kekId, before.wrapped, context)
      await fixture.destroy(before.kekId)
      await expectError(provider.unwrap(before.kekId, before.wrapped, context), 'KEY_SHREDDED')
      await expectError(provider.rewrap(before.kekId, before.wrapped, context), 'KEY_SHREDDED')
      expect(hex(await provider.unwrap(after.kekId, after.wrapped, context))).toBe(hex(before.plaintext))
      expect((await provider.describe()).map((kek) => kek.kekId)).not.toContain(before.kekId)
    })

    test('given a revoked KEK, then it is refused until it is given back', async () => {
      const before = await provider.generate(context)
      await fixture.rotate()
      expect(provider.refusalOf(before.kekId)).toBeUndefined()
      await fixture.revoke(before.kekId)
      expect(provider.refusalOf(before.kekId)).toBe('KEY_UNAVAILABLE')
      await expectError(provider.unwrap(before.kekId, before.wrapped, context), 'KEY_UNAVAILABLE')
      await expectError(provider.rewrap(before.kekId, before.wrapped, context), 'KEY_UNAVAILABLE')
      expect((await provider.describe()).map((kek) => kek.kekId)).not.toContain(before.kekId)
      await fixture.restore(before.kekId)
      expect(provider.refusalOf(before.kekId)).toBeUndefined()
      expect(hex(await provider.unwrap(before.kekId, before.wrapped, context))).toBe(hex(before.plaintext))
    })

    test('given a listener, then it hears of each change what it is, until it stops', async () => {
      const heard: KeyChange[] = []
      const first = await provider.generate(context)
      const stop = provider.onChange((change) => heard.push(change))
      expect(provider.isCurrent(first.kekId, context)).toBe(true)
      await fixture.rotate()
      expect(heard).toContain('current')
      expect(provider.isCurrent(first.kekId, context)).toBe(false)
      expect(provider.isCurrent((await provider.generate(context)).kekId, context)).toBe(true)
      heard.length = 0
      await fixture.revoke(first.kekId)
      expect(heard).toContain('access')
      heard.length = 0
      await fixture.restore(first.kekId)
      await fixture.destroy(first.kekId)
      expect(heard).toContain('access')
      expect(provider.refusalOf(first.kekId)).toBe('KEY_SHREDDED')
      stop()
      heard.length = 0
      await fixture.rotate()
      expect(heard).toEqual([])
    })

    test('given rotations, when the KEKs are described, then exactly one is current and it is the one in use', async () => {
      await fixture.rotate()
      await fixture.rotate()
      const keks = await provider.describe()
      expect(keks).toHaveLength(3)
      const current = keks.filter((kek) => kek.current)
      expect(current).toHaveLength(1)
      expect(current[0]?.kekId).toBe((await provider.generate(context)).kekId)
      for (const kek of keks) expect(kek.createdAtMs).toBeGreaterThan(0)
    })

    test('given it is closed, then it answers unavailable, and closing again is nothing', async () => {
      const key = await provider.generate(context)
      await provider.close()
      await provider.close()
      await expectError(provider.generate(context), 'KEY_UNAVAILABLE')
      await expectError(provider.unwrap(key.kekId, key.wrapped, context), 'KEY_UNAVAILABLE')
    })
  })
}

async function expectError(answer: Promise<unknown>, name: ErrorName): Promise<void> {
  await expect(answer).rejects.toMatchObject({ name })
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

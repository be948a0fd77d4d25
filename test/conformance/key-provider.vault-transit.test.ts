// Owns: the Vault transit adapter passes the KeyProvider suite against the stub, and what it promises beyond the port.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../src/adapters/clock/simulated-clock.ts'
import { type TransitAccess, TransitCalls } from '../../src/adapters/vault-transit/transit-calls.ts'
import { VaultTransitProvider } from '../../src/adapters/vault-transit/vault-transit-provider.ts'
import { decodeServiceWrap, encodeServiceWrap } from '../../src/crypto/service-wrap.ts'
import { parseTopicId } from '../../src/protocol/ids.ts'
import { startVaultStub, type VaultStub } from '../support/vault-stub.ts'
import { describeKeyProvider, type KeyProviderFixture } from './key-provider-suite.ts'

const context = { topicId: parseTopicId('00112233445566778899aabbccddeeff'), tenant: 'acme' }

let vault: VaultStub
let keys = 0
beforeAll(async () => {
  vault = await startVaultStub()
})
afterAll(async () => vault.close())

function callsTo(key: string, changed: Partial<TransitAccess> = {}): TransitCalls {
  return new TransitCalls({ url: vault.url, mount: 'transit', key, token: () => vault.token, ...changed })
}

function providerOf(key: string, changed: Partial<TransitAccess> = {}): VaultTransitProvider {
  return new VaultTransitProvider({ calls: callsTo(key, changed), key, clock: new SimulatedClock() })
}

async function fixture(): Promise<
  KeyProviderFixture & { readonly provider: VaultTransitProvider; readonly key: string }
> {
  keys += 1
  const key = `trunkline-${keys}`
  vault.addKey(key)
  const provider = providerOf(key)
  await provider.refresh()
  const strangers: VaultTransitProvider[] = []
  const versionOf = (kekId: string): number => Number(kekId.slice(kekId.lastIndexOf('v') + 1))
  return {
    provider,
    key,
    async rotate() {
      vault.rotate(key)
      await provider.refresh()
    },
    async revoke(kekId) {
      vault.config(key, versionOf(kekId) + 1)
      await provider.refresh()
    },
    async restore(kekId) {
      vault.config(key, versionOf(kekId))
      await provider.refresh()
    },
    async destroy(kekId) {
      vault.config(key, versionOf(kekId) + 1)
      vault.trim(key, versionOf(kekId) + 1)
      await provider.refresh()
    },
    async stranger() {
      vault.addKey(`${key}-other`)
      const stranger = providerOf(`${key}-other`)
      strangers.push(stranger)
      return stranger
    },
    async close() {
      await Promise.all([provider, ...strangers].map((one) => one.close()))
    },
  }
}

describeKeyProvider('Vault transit (stub)', fixture)

describe('the Vault transit adapter', () => {
  it.each([
    ['topic', { ...context, topicId: parseTopicId('ff112233445566778899aabbccddeeff') }],
    ['tenant', { ...context, tenant: 'acmf' }],
  ])('binds the %s at the service too: a forged check does not help', async (_, other) => {
    const at = await fixture()
    const { provider } = at
    const { kekId, wrapped } = await provider.generate(context)
    const forged = encodeServiceWrap(kekId, decodeServiceWrap(kekId, wrapped, context), other)
    await expect(provider.unwrap(kekId, forged, other)).rejects.toMatchObject({ name: 'BLOCK_DAMAGED' })
    await expect(provider.rewrap(kekId, forged, other)).rejects.toMatchObject({ name: 'BLOCK_DAMAGED' })
    await at.close()
  })

  it('refuses a key that is not derived, before it makes one', async () => {
    vault.addKey('plain', false)
    const provider = providerOf('plain')
    await provider.refresh()
    vault.calls.length = 0
    await expect(provider.generate(context)).rejects.toMatchObject({ name: 'KEY_UNAVAILABLE' })
    expect(vault.calls).not.toContain('POST datakey/plaintext')
    await provider.close()
  })

  it('tells a version that was withdrawn from damage, also before it has heard of it', async () => {
    const at = await fixture()
    const { provider, key } = at
    const { kekId, wrapped } = await provider.generate(context)
    const late = providerOf(key)
    await late.refresh()
    vault.rotate(key)
    vault.config(key, 2)
    await expect(late.unwrap(kekId, wrapped, context)).rejects.toMatchObject({ name: 'KEY_UNAVAILABLE' })
    vault.trim(key, 2)
    const later = providerOf(key)
    await expect(later.unwrap(kekId, wrapped, context)).rejects.toMatchObject({ name: 'KEY_SHREDDED' })
    await Promise.all([late.close(), later.close(), at.close()])
  })

  it.each<[string, () => Partial<TransitAccess>, string]>([
    ['a token that is not taken', () => ({ token: () => 'nothing-of-ours' }), 'Vault refuses the key'],
    ['Vault away', () => ({ url: 'http://127.0.0.1:9' }), 'Vault does not answer'],
    ['no such key', () => ({ key: 'nowhere' }), 'Vault refuses the key'],
  ])('given %s, then keys are unavailable, and nothing of it travels', async (_, changed, reason) => {
    const at = await fixture()
    const { key } = at
    const provider = providerOf(key, changed())
    const error = await provider.generate(context).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ name: 'KEY_UNAVAILABLE', details: { reason } })
    expect(JSON.stringify(error)).not.toMatch(/127\.0\.0\.1|ECONNREFUSED|permission|nothing-of-ours/)
    await provider.close()
    await at.close()
  })
})

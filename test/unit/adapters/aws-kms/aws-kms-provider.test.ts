// What moto cannot be made to do: a key that is gone for good, a service that fails between two questions, a foreign account.
import { beforeEach, expect, it } from 'vitest'
import { AwsKmsProvider } from '../../../../src/adapters/aws-kms/aws-kms-provider.ts'
import { type KmsCalls, KmsError, type KmsFault, type KmsKey } from '../../../../src/adapters/aws-kms/kms-calls.ts'
import { SimulatedClock } from '../../../../src/adapters/clock/simulated-clock.ts'
import type { KeyChange } from '../../../../src/ports/key-provider.ts'
import { parseTopicId } from '../../../../src/protocol/ids.ts'

const account = 'arn:aws:kms:eu-central-1:111122223333:'
const context = { topicId: parseTopicId('00112233445566778899aabbccddeeff'), tenant: 'acme' }
const idOf = (n: number): string => `00000000-0000-0000-0000-00000000000${n}`

/** Answers from memory; every key id that it was asked for is noted. */
class FakeKms implements KmsCalls {
  readonly keys = new Map<string, KmsKey['state'] | KmsFault>()
  readonly asked: string[] = []
  target = idOf(1)

  async generate(): ReturnType<KmsCalls['generate']> {
    return {
      arn: this.#arn(this.target),
      plaintext: new Uint8Array(32).fill(7),
      cipherText: new Uint8Array(184).fill(9),
    }
  }

  async decrypt(keyId: string): Promise<Uint8Array> {
    const { state } = await this.describe(keyId)
    if (state !== 'usable') throw new KmsError('refused', new Error(state))
    return new Uint8Array(32).fill(7)
  }

  async reEncrypt(): ReturnType<KmsCalls['reEncrypt']> {
    return { arn: this.#arn(this.target), cipherText: new Uint8Array(184).fill(8) }
  }

  async describe(keyId: string): Promise<KmsKey> {
    this.asked.push(keyId)
    const id = keyId.includes('alias/') ? this.target : keyId.slice(keyId.lastIndexOf('/') + 1)
    const state = this.keys.get(id) ?? 'refused'
    if (state === 'damaged' || state === 'refused' || state === 'away') throw new KmsError(state, new Error('as told'))
    return { arn: this.#arn(id), createdAtMs: 1, state }
  }

  close(): void {}

  #arn(id: string): string {
    return `${account}key/${id}`
  }
}

let kms: FakeKms
let clock: SimulatedClock
beforeEach(() => {
  kms = new FakeKms()
  clock = new SimulatedClock()
  for (const n of [1, 2, 3]) kms.keys.set(idOf(n), 'usable')
})

const providerOf = (keyId = 'alias/trunkline'): AwsKmsProvider => new AwsKmsProvider({ calls: kms, keyId, clock })

it('given one KEK that KMS knows no more, then the others are still looked at, and it stays shredded', async () => {
  const provider = providerOf()
  const kekIds: string[] = []
  for (const n of [1, 2, 3]) {
    kms.target = idOf(n)
    kekIds.push((await provider.generate(context)).kekId)
  }
  kms.keys.set(idOf(1), 'destroyed')
  await provider.refresh()
  kms.keys.set(idOf(1), 'refused')
  kms.keys.set(idOf(2), 'revoked')
  await provider.refresh()
  expect(kekIds.map((kekId) => provider.refusalOf(kekId))).toEqual(['KEY_SHREDDED', 'KEY_UNAVAILABLE', undefined])
  await provider.close()
})

it('given time alone, then a change is known within 15 seconds, and nothing is left to run after the close', async () => {
  const provider = providerOf()
  const heard: KeyChange[] = []
  provider.onChange((change) => heard.push(change))
  await clock.settle()
  const { kekId } = await provider.generate(context)
  kms.target = idOf(2)
  kms.keys.set(idOf(1), 'destroyed')
  await clock.advance(15_000)
  expect([heard.toSorted(), provider.isCurrent(kekId), provider.refusalOf(kekId)]).toEqual([
    ['access', 'current'],
    false,
    'KEY_SHREDDED',
  ])
  await provider.close()
  expect(clock.pendingCount).toBe(0)
})

it('given the key cannot be looked at behind a good answer, then the answer counts', async () => {
  const provider = providerOf()
  await clock.settle()
  kms.target = idOf(2)
  kms.keys.set(idOf(2), 'away')
  const { kekId, plaintext } = await provider.generate(context)
  expect([kekId, plaintext.length, provider.isCurrent(kekId)]).toEqual([`aws:${idOf(2)}`, 32, true])
  await provider.close()
})

it('given a KEK that is withdrawn between two looks, then whoever asks hears which way', async () => {
  const provider = providerOf()
  const { kekId, wrapped } = await provider.generate(context)
  kms.keys.set(idOf(1), 'revoked')
  await expect(provider.unwrap(kekId, wrapped, context)).rejects.toMatchObject({ name: 'KEY_UNAVAILABLE' })
  kms.keys.set(idOf(1), 'destroyed')
  await provider.refresh()
  await expect(provider.unwrap(kekId, wrapped, context)).rejects.toMatchObject({ name: 'KEY_SHREDDED' })
  await provider.close()
})

it('given a key of another account, then its KEKs are asked for there', async () => {
  const provider = providerOf(`${account}alias/trunkline`)
  const { kekId, wrapped } = await provider.generate(context)
  expect(kekId.length).toBeLessThanOrEqual(64)
  kms.asked.length = 0
  await provider.unwrap(kekId, wrapped, context)
  expect(new Set(kms.asked)).toEqual(new Set([`${account}key/${idOf(1)}`]))
  await provider.close()
})

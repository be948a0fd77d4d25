// Owns: the local keyring passes the KeyProvider suite, alone and through the fault-injecting provider at rest.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SimulatedClock } from '../../src/adapters/clock/simulated-clock.ts'
import { restoreKek, revokeKek, rotateKek, shredKek } from '../../src/adapters/keyring/keyring-edits.ts'
import { changeKeyring } from '../../src/adapters/keyring/keyring-file.ts'
import { openKeyring } from '../../src/adapters/keyring/keyring-provider.ts'
import { SeededRandom } from '../../src/adapters/random/seeded-random.ts'
import type { KeyProvider } from '../../src/ports/key-provider.ts'
import { FaultyKeyProvider } from './key-provider-faulty.ts'
import { describeKeyProvider, type KeyProviderFixture } from './key-provider-suite.ts'

async function keyringFixture(around: (keyring: KeyProvider) => KeyProvider): Promise<KeyProviderFixture> {
  const folder = await mkdtemp(join(tmpdir(), 'trunkline-keyring-'))
  const path = join(folder, 'keyring.json')
  const clock = new SimulatedClock()
  const random = new SeededRandom('key provider suite')
  const keyring = await openKeyring(path, { create: true, random, clock })
  const source = { random, clock }
  const strangers: KeyProvider[] = []
  return {
    provider: around(keyring),
    async rotate() {
      await clock.advance(1)
      await changeKeyring(path, source, rotateKek(source))
      await keyring.reload()
    },
    async revoke(kekId) {
      await changeKeyring(path, source, revokeKek(kekId))
      await keyring.reload()
    },
    async restore(kekId) {
      await changeKeyring(path, source, restoreKek(kekId))
      await keyring.reload()
    },
    async destroy(kekId) {
      await changeKeyring(path, source, revokeKek(kekId))
      await changeKeyring(path, source, shredKek(kekId, true))
      await keyring.reload()
    },
    async stranger() {
      const stranger = await openKeyring(join(folder, 'stranger.json'), { create: true, random, clock })
      strangers.push(stranger)
      return stranger
    },
    async close() {
      await Promise.all([keyring, ...strangers].map((provider) => provider.close()))
      await rm(folder, { recursive: true })
    },
  }
}

describeKeyProvider('keyring file', () => keyringFixture((keyring) => keyring))
describeKeyProvider('keyring file behind a fault-injecting provider at rest', () =>
  keyringFixture((keyring) => new FaultyKeyProvider(keyring)),
)

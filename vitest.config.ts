// Owns how tests are found and run: one project per kind of test, so that each can be run alone
// (`npm run test:unit`) and has the time limits its kind needs.
import { defineConfig } from 'vitest/config'
import { mutantPlugin } from './test/support/mutant-plugin.ts'

const plugins = [mutantPlugin()]
/** Simulations: they take one core each, and nothing else. */
const walks = ['test/chaos/random-walk.test.ts', 'test/chaos/omissions.test.ts']
/**
 * CI's machine is slow and shared: what waits for real brokers and processes there is tried a second time, and said to be
 * (scripts/second-tries.ts). What proves the promises, walks and chaos, has one try everywhere.
 */
const isCi = process.env['CI'] === 'true'
const retry = isCi ? 1 : 0
/** Time limits are there against hangs; long tests are longer there, too (test/support/scale.ts). */
const patience = isCi ? 5 : 1
/** The longest run is the crash test at CI scale. */
const chaosTimeoutMs = 45 * 60_000

export default defineConfig({
  test: {
    // Two workers: chaos and integration tests start processes of their own.
    maxWorkers: 2,
    projects: [
      {
        plugins,
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          testTimeout: patience * 60_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        plugins,
        test: {
          name: 'sdk',
          include: ['sdk/typescript/test/**/*.test.ts'],
          testTimeout: patience * 120_000,
          hookTimeout: patience * 60_000,
          sequence: { groupOrder: 2 },
        },
      },
      {
        plugins,
        test: {
          name: 'conformance',
          include: ['test/conformance/**/*.test.ts'],
          testTimeout: patience * 30_000,
          retry,
          hookTimeout: patience * 30_000,
          sequence: { groupOrder: 3 },
        },
      },
      {
        plugins,
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          testTimeout: patience * 120_000,
          retry,
          hookTimeout: patience * 60_000,
          sequence: { groupOrder: 4 },
        },
      },
      {
        plugins,
        test: {
          name: 'walk',
          include: walks,
          testTimeout: chaosTimeoutMs,
          sequence: { groupOrder: 5 },
        },
      },
      {
        plugins,
        test: {
          name: 'chaos',
          include: ['test/chaos/**/*.test.ts'],
          exclude: walks,
          testTimeout: chaosTimeoutMs,
          hookTimeout: patience * 120_000,
          fileParallelism: false,
          sequence: { groupOrder: 6 },
        },
      },
    ],
  },
})

// Owns: what a call throws, for tests of errors.
import { TrunklineError } from '../../../../src/protocol/errors.ts'

/** The TrunklineError that `run` throws; fails the test on anything else. */
export function errorOf(run: () => unknown): TrunklineError {
  try {
    run()
  } catch (error) {
    if (error instanceof TrunklineError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

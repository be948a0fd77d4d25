// Owns: tests that need something of the machine (root, a compiler, another program).
// 1. A missing requirement is never silent: the test is skipped and the reason goes to the report that
//    `npm test` prints, or, with TRUNKLINE_REQUIRE_STACK=1, the test fails.
// 2. The probe runs once, when the requirement is declared, and answers why it is not met.
import { appendFileSync } from 'node:fs'
import { describe, it, type TestFunction } from 'vitest'

export interface Requirement {
  readonly name: string
  /** True when the tests will run. */
  readonly met: boolean
  /** Why it is not met; empty when it is. */
  readonly reason: string
  /** vitest's `it`, skipped with the reason (or failing) when the requirement is not met. */
  readonly it: (title: string, test: TestFunction, timeoutMs?: number) => void
  /** vitest's `describe`; when the requirement is not met, `body` does not run at all. */
  readonly describe: (title: string, body: () => void) => void
}

/** One line of the file that TRUNKLINE_SKIP_REPORT names. */
export interface SkipLine {
  readonly requirement: string
  readonly reason: string
  readonly title: string
}

/**
 * Declares what tests of this file need. `probe` answers true, or false or the reason why not; what it
 * throws is a reason too. Keep it to what is cheap: it runs while the test file is loaded.
 */
export function requirement(name: string, probe: () => boolean | string): Requirement {
  const reason = reasonOf(probe)
  const met = reason === ''
  if (met) {
    return { name, met, reason, it: (title, test, timeoutMs) => it(title, test, timeoutMs), describe }
  }
  if (process.env['TRUNKLINE_REQUIRE_STACK'] === '1') {
    const fail = (title: string): void =>
      it(title, () => {
        throw new Error(`TRUNKLINE_REQUIRE_STACK=1, but ${name} is missing: ${reason}`)
      })
    return { name, met, reason, it: fail, describe: (title) => describe(title, () => fail(`needs ${name}`)) }
  }
  const skip = (title: string): void => {
    reportSkip({ requirement: name, reason, title })
    it.skip(title, () => {})
  }
  return {
    name,
    met,
    reason,
    it: skip,
    describe: (title) => {
      reportSkip({ requirement: name, reason, title })
      describe(title, () => it.skip(`needs ${name}`, () => {}))
    },
  }
}

function reasonOf(probe: () => boolean | string): string {
  try {
    const answer = probe()
    if (answer === true) return ''
    return answer === false || answer === '' ? 'not available here' : answer
  } catch (error) {
    return error instanceof Error ? (error.message.split('\n', 1)[0] ?? error.name) : String(error)
  }
}

function reportSkip(line: SkipLine): void {
  const file = process.env['TRUNKLINE_SKIP_REPORT']
  // Without the runner, vitest's own summary counts the skip; the reason stands in the log.
  if (file === undefined) process.stderr.write(`skipped: ${line.title}: needs ${line.requirement}: ${line.reason}\n`)
  else appendFileSync(file, `${JSON.stringify(line)}\n`)
}

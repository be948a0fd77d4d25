// Owns: the reporter that says which tests passed only when they were tried again (vitest.config.ts allows that on CI, to
// tests against real brokers and processes), and what the first try failed with.
import type { Reporter, TestCase } from 'vitest/node'

// biome-ignore lint/style/noDefaultExport: vitest takes a reporter from there.
export default class SecondTries implements Reporter {
  readonly #tests: TestCase[] = []

  onTestCaseResult(test: TestCase): void {
    if (test.ok() && (test.diagnostic()?.retryCount ?? 0) > 0) this.#tests.push(test)
  }

  onTestRunEnd(): void {
    if (this.#tests.length === 0) return
    const lines = this.#tests.map((test) => {
      const errors = test.result().errors ?? []
      return `  ${test.fullName} — ${errors.map(({ stack, message }) => shown(stack ?? message)).join('; ')}\n`
    })
    process.stdout.write(`\nPassed only when tried again:\n${lines.join('')}`)
  }
}

/** The message and where it was thrown. */
function shown(stack: string): string {
  return stack.split('\n').slice(0, 2).join('\n  ')
}

// Owns: the policy file of an API process: read at the start, and again when it has changed.
// 1. At the start a file that is not right ends the process, with all its problems. Later it changes nothing: the policy
//    before holds, its problems are logged once for each content, and the process stays ready.
// 2. A file that others on the machine may write to is refused: whoever can write it may do everything.
// 3. It is looked at every `pollMs`, and at once by `reload`; one look at a time.
// 4. What it holds is compared as text: a file that was replaced by an equal one changes nothing.
import { readFileSync, statSync } from 'node:fs'
import type { Policy } from '../api-tier/authorize/policy.ts'
import { parsePolicy, policyFileBytesMax } from '../api-tier/authorize/policy-file.ts'
import { configError } from '../config/load-config.ts'
import type { Logger } from '../observability/log.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { TrunklineError } from '../protocol/errors.ts'

export interface PolicySourceDeps {
  readonly path: string
  readonly pollMs: number
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Pick<Metrics, 'policyLoads'>
}

const othersMayWrite = 0o022
/** Of problems that are logged one by one; `trunkline policy check` shows all. */
const loggedProblemsMax = 10

export class PolicySource {
  readonly #deps: PolicySourceDeps
  #current: Policy
  /** The content that was judged last, or why there was none. */
  #seen: string
  #timer: Timer | undefined
  #onChange: (policy: Policy) => void = () => {}
  #closed = false

  /** Errors: BAD_CONFIG naming policyFile with every problem. */
  constructor(deps: PolicySourceDeps) {
    this.#deps = deps
    const found = readPolicyFile(deps.path)
    if (!('policy' in found)) throw policyError(found.problems)
    this.#seen = found.seen
    this.#current = found.policy
    deps.metrics.policyLoads.add({ outcome: 'ok' })
  }

  /** The policy as the file has it now; `onChange` gets every later one. Call once. */
  watch(onChange: (policy: Policy) => void): Policy {
    // A process may have waited long for its brokers.
    this.reload()
    this.#onChange = onChange
    this.#poll()
    return this.#current
  }

  /** Invariant 1: never throws. */
  reload(): void {
    if (this.#closed) return
    const { path, logger, metrics } = this.#deps
    const found = readPolicyFile(path)
    if (found.seen === this.#seen) return
    this.#seen = found.seen
    if ('policy' in found) {
      metrics.policyLoads.add({ outcome: 'ok' })
      logger.info({ tier: 'api', event: 'policy', count: found.policy.rules.length }, 'the policy was replaced')
      this.#current = found.policy
      this.#onChange(found.policy)
      return
    }
    metrics.policyLoads.add({ outcome: 'failed' })
    for (const problem of found.problems.slice(0, loggedProblemsMax))
      logger.error({ tier: 'api', event: 'policy', problem }, 'the policy file is not right: the policy before holds')
    const count = found.problems.length - loggedProblemsMax
    if (count > 0) logger.error({ tier: 'api', event: 'policy', count }, 'the policy file has more problems')
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  #poll(): void {
    this.#timer = this.#deps.clock.after(this.#deps.pollMs, () => {
      this.reload()
      if (!this.#closed) this.#poll()
    })
  }
}

type Found = { readonly seen: string } & ({ readonly policy: Policy } | { readonly problems: readonly string[] })

/** `seen` is equal as long as the answer would be. Invariant 2. */
export function readPolicyFile(path: string): Found {
  const refuse = (problem: string): Found => ({ seen: problem, problems: [problem] })
  let text: string
  try {
    const stat = statSync(path)
    if (!stat.isFile()) return refuse('it is not a file')
    if (process.platform !== 'win32' && (stat.mode & othersMayWrite) !== 0)
      return refuse('others may write to it: set its mode to 0600 or 0644')
    if (stat.size > policyFileBytesMax) return refuse(`it must be at most ${policyFileBytesMax} bytes`)
    text = readFileSync(path, 'utf8')
  } catch {
    return refuse('it cannot be read: correct the path, or its permissions')
  }
  return { seen: `text ${text}`, ...parsePolicy(text) }
}

export function policyError(problems: readonly string[]): TrunklineError {
  return configError(problems.map((problem) => ({ subject: 'policyFile', problem })))
}

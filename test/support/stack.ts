// Owns: real Kafka and RabbitMQ for tests: what they need of the machine, a private stack, the one that already runs.
// 1. A private stack has folders, ports and processes of its own, and ends with the test file, however that ends.
import { readFileSync } from 'node:fs'
import { type KafkaVersion, kafkaVersions, parsePlan, type StackOptions } from '../../scripts/stack/plan.ts'
import { openStack, type Stack, startStack } from '../../scripts/stack/stack.ts'
import { describeMissing, missingTools } from '../../scripts/stack/tools.ts'
import { type Requirement, requirement } from './requirement.ts'

/** Names the `stack.json` of a stack that runs and may be used. */
const sharedStackVariable = 'TRUNKLINE_STACK_JSON'

/** For tests with Kafka, RabbitMQ or both. */
export const stackRequirement = stackRequirementWith(kafkaVersions[0])

export function stackRequirementWith(kafkaVersion: KafkaVersion): Requirement {
  return requirement(`Kafka ${kafkaVersion} and RabbitMQ on this machine`, () => {
    const missing = missingTools({ kafka: true, kafkaVersion, rabbit: true, secured: true })
    return missing.length === 0 || describeMissing(missing)
  })
}

/** Call it in `beforeAll` with a limit of `stackStartMs`, and `stop()` in `afterAll`. Default: one broker of each kind. */
export function privateStack(options: Omit<StackOptions, 'dir'> = {}): Promise<Stack> {
  return startStack(options)
}

/** Covers fetching the jars for the first time and a slow machine. */
export const stackStartMs = 10 * 60_000

/**
 * For tests that need only addresses: the stack that TRUNKLINE_STACK_JSON names, or a private one. `stop()` ends the
 * private one only. Use names of your own: others work on it at the same time.
 */
export async function sharedStack(options: Omit<StackOptions, 'dir'> = {}): Promise<Stack> {
  const file = process.env[sharedStackVariable]
  if (file === undefined) return privateStack(options)
  const stack = openStack(parsePlan(readFileSync(file, 'utf8'), file))
  return Object.create(stack, { stop: { value: () => Promise.resolve(), enumerable: true } }) as Stack
}

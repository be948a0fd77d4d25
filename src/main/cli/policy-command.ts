// Owns: `trunkline policy check|test`: what is wrong with a policy file, and what it says about one caller.
// 1. They judge by the gateway's own code, and need no gateway.
import type { Command } from 'commander'
import type { Action } from '../../api-tier/authorize/policy.ts'
import { exitCode } from './exit-codes.ts'
import { CommandFailure, oneLine, QuietEnd } from './failure.ts'
import { tell } from './output.ts'

const groupHelp = `
Examples:
  $ trunkline policy check ./keys/policy.json
  $ trunkline policy test orders-app publish orders.eu --policy ./keys/policy.json`

const checkHelp = `
Example:
  $ trunkline policy check ./keys/policy.json

Every problem is told at once, with its line. Exit code 2 when there is one.`

const testHelp = `
Examples:
  $ trunkline policy test orders-app publish orders.eu --policy ./keys/policy.json
  $ trunkline policy test alice read audit --policy ./keys/policy.json --issuer https://login.example --role auditor

SUBJECT is also the client, unless --client names another. The exit code is 0 when it is allowed and 1 when it is denied.`

/** Of `test`: the answer is no. */
const denied = exitCode.unexpected

interface TestOptions {
  readonly policy: string
  readonly client?: string
  readonly issuer: string
  readonly tenant: string
  readonly role: readonly string[]
  readonly scope: readonly string[]
}

export function addPolicyCommand(program: Command): void {
  const policy = program.command('policy').description('look at a policy file').addHelpText('after', groupHelp)
  policy
    .command('check')
    .description('tell all that is wrong with a policy file')
    .argument('<file>')
    .addHelpText('after', checkHelp)
    .action((file: string) => runCheck(file))
  policy
    .command('test')
    .description('explain whether a caller may do something')
    .argument('<subject>', 'subject of the token')
    .argument('<action>', 'publish, read or admin')
    .argument('<topic>', 'as the caller names it')
    .requiredOption('--policy <file>', 'policy file')
    .option('--client <id>', 'client of the token (default: the subject)')
    .option('--issuer <issuer>', 'issuer of the token', 'own')
    .option('--tenant <name>', 'tenant of the token', 'default')
    .option('--role <name>', 'a role of the token; may be given again', gathered, [])
    .option('--scope <word>', 'a scope of the token; may be given again', gathered, [])
    .addHelpText('after', testHelp)
    .action((subject: string, action: string, topic: string, options: TestOptions) =>
      runTest(subject, action, topic, options),
    )
}

function gathered(value: string, before: readonly string[]): readonly string[] {
  return [...before, value]
}

async function runCheck(file: string): Promise<void> {
  const { readPolicyFile } = await import('../policy-source.ts')
  const found = readPolicyFile(file)
  if ('policy' in found) {
    const { length } = found.policy.rules
    tell(`nothing is wrong: ${length} ${length === 1 ? 'rule' : 'rules'}`)
    return
  }
  for (const problem of found.problems) process.stdout.write(`${oneLine(problem)}\n`)
  throw new QuietEnd(exitCode.usage)
}

async function runTest(subject: string, action: string, topic: string, options: TestOptions): Promise<void> {
  const [{ policyError, readPolicyFile }, { actions, decide, ownIssuer }, { isTenantName }, { parseTopicName }] =
    await Promise.all([
      import('../policy-source.ts'),
      import('../../api-tier/authorize/policy.ts'),
      import('../../protocol/tenant-topics.ts'),
      import('../../protocol/ids.ts'),
    ])
  const asked = actions.find((one): one is Action => one === action)
  if (asked === undefined) throw new CommandFailure(exitCode.usage, `the action is one of ${actions.join(', ')}`)
  const { tenant, client: clientId = subject, issuer, role: roles } = options
  if (!isTenantName(tenant))
    throw new CommandFailure(exitCode.usage, 'a tenant has 1 to 32 lower-case letters, digits and hyphens')
  const found = readPolicyFile(options.policy)
  if (!('policy' in found)) throw policyError(found.problems)
  const principal = { subject, clientId, tenant, expiresAtMs: Number.MAX_SAFE_INTEGER }
  // As in a token, where one text holds all.
  const scopes = options.scope.flatMap((words) => words.split(' ').filter((word) => word !== ''))
  const decision = decide(found.policy, { principal, issuer, roles, scopes }, ownIssuer, asked, parseTopicName(topic))
  if (decision.allowed) {
    process.stdout.write(`allowed by ${oneLine(decision.by)}\n`)
    return
  }
  process.stdout.write(`denied: ${decision.why}\n`)
  throw new QuietEnd(denied)
}

// Owns: `trunkline keys list|verify|rotate|create|revoke|restore|retire|shred`: key files changed while gateways run.
// 1. Ids, and nothing else, go to stdout; what comes next is told on stderr. No command prints a secret.
// 2. What destroys data asks on a terminal, for the name of what is lost, and needs --yes elsewhere.
// Leaves out: the changes (../key-admin.ts), re-wrapping (rewrap-command.ts).
import { createInterface } from 'node:readline/promises'
import type { Command } from 'commander'
import { systemClock } from '../../adapters/clock/system-clock.ts'
import { systemRandom } from '../../adapters/random/system-random.ts'
import type { KeyFileReport, KeyLine, RotateStep } from '../key-admin.ts'
import { addConnectionOptions, type ConnectionOptions, resolveConnection } from './connection.ts'
import { exitCode } from './exit-codes.ts'
import { CommandFailure, oneLine } from './failure.ts'
import { addKeyFileOptions, type KeyFileOptions, keyFileOf } from './key-file-choice.ts'
import { tell } from './output.ts'
import { counted } from './progress.ts'
import { timeText } from './times.ts'
import { parseTopicView } from './topic-view.ts'

const source = { clock: systemClock, random: systemRandom }
const soon = 'Running gateways use it within keyReloadMs (5 s by default).'

const rotateHelp = `
Examples:
  $ trunkline keys rotate                       all processes read this very file
  $ trunkline keys rotate --stage               1. add a key; 2. copy the file to every process;
  $ trunkline keys rotate --activate kek-…      3. when all have it: make it current; 4. copy again
  $ trunkline keys rotate --gateway             session tokens and cursors

Old keys stay: what they sealed still opens. trunkline_key_file_revision says which file a process has.`

const shredHelp = `
Examples:
  $ trunkline keys shred --topic orders --yes
  $ trunkline keys revoke kek-… && trunkline keys shred kek-… --lose-all-topics --yes
  $ trunkline keys retire kek-… && trunkline keys shred kek-… --yes        what was re-wrapped is kept

What a destroyed KEK wrapped is KEY_SHREDDED for good: readers are told, and go on behind it. Copies and backups of
the file still hold the key: destroy them too.`

interface RotateOptions extends KeyFileOptions {
  readonly stage?: true
  readonly activate?: string
  readonly topic?: string
}

interface CreateOptions extends KeyFileOptions, ConnectionOptions {
  readonly topic: string
  readonly topicId?: string
}

interface ShredOptions extends KeyFileOptions {
  readonly topic?: string
  readonly loseAllTopics?: true
  readonly yes?: true
}

export function addKeyFileCommands(keys: Command): void {
  addKeyFileOptions(keys.command('list').description('the keys of a file, without secrets'), 'both')
    .option('--json', 'one JSON object')
    .addHelpText('after', '\nExample:\n  $ trunkline keys list --gateway')
    .action(async ({ json, ...options }: KeyFileOptions & { readonly json?: true }) => {
      const report = await reportOf(options)
      process.stdout.write(json === true ? `${JSON.stringify(report)}\n` : report.keys.map(lineOf).join(''))
    })

  addKeyFileOptions(
    keys.command('verify').description('whether a key file is whole, and what tells copies apart'),
    'both',
  )
    .addHelpText(
      'after',
      '\nExample:\n  $ trunkline keys verify --file keys/keyring.json\n\nCopies with the same fingerprint are the same.',
    )
    .action(async (options: KeyFileOptions) => {
      const { kind, ringId, revision, fingerprint, keys: lines } = await reportOf(options)
      const facts = [
        kind,
        ...(ringId === undefined ? [] : [`ring ${ringId}`]),
        ...(revision === undefined ? [] : [`revision ${revision}`]),
      ]
      process.stdout.write(`${[...facts, `keys ${lines.length}`, `fingerprint ${fingerprint}`].join('\t')}\n`)
      if (kind === 'keyring') await verifyRewrapped(options)
    })

  addKeyFileOptions(
    keys.command('rotate').description('a fresh key that seals from now on; the old ones still open'),
    'both',
  )
    .option('--topic <name>', 'the KEK of this topic, which has its own')
    .option('--stage', 'only add it: every process can open with it before any seals with it')
    .option('--activate <id>', 'make a staged (or any other) key the current one')
    .addHelpText('after', rotateHelp)
    .action((options: RotateOptions) => runRotate(options))

  addConnectionOptions(
    addKeyFileOptions(
      keys.command('create').description('a KEK for one topic alone, so that it can be shredded alone'),
      'keyring',
    ),
  )
    .requiredOption('--topic <name>', 'topic; it has to exist')
    .option('--topic-id <id>', 'its id (`trunkline topic describe`), when no gateway is to be asked')
    .addHelpText(
      'after',
      '\nExample:\n  $ trunkline topic create orders && trunkline keys create --topic orders\n\nWhat was published before is under the shared KEK, and stays there.',
    )
    .action((options: CreateOptions) => runCreate(options))

  addKeyFileOptions(
    keys.command('revoke').argument('<id>').description('a key neither seals nor opens any more'),
    'both',
  )
    .addHelpText(
      'after',
      '\nExample:\n  $ trunkline keys revoke kek-…\n\nA KEK can be restored. A gateway key is dropped for good: the tokens and cursors it sealed end.',
    )
    .action(async (id: string, options: KeyFileOptions) => {
      const path = keyFileOf(options, process.cwd())
      const { revokeKey } = await import('../key-admin.ts')
      await edited(() => revokeKey(path, id, source))
      tell(`revoked. ${soon}`)
    })

  addKeyFileOptions(
    keys.command('restore').argument('<id>').description('takes back that a KEK was revoked, or retired'),
    'keyring',
  )
    .addHelpText('after', '\nExample:\n  $ trunkline keys restore kek-…')
    .action(async (id: string, options: KeyFileOptions) => {
      const { restoreKey } = await import('../key-admin.ts')
      await edited(() => restoreKey(keyFileOf(options, process.cwd()), id, source))
      tell(`restored. ${soon}`)
    })

  addKeyFileOptions(
    keys.command('shred').argument('[id]').description('destroy a KEK, and with it all that it wrapped'),
    'keyring',
  )
    .option('--topic <name>', 'all KEKs of this topic, which has its own')
    .option('--lose-all-topics', 'the KEK is shared: everything of every topic under it may be lost, re-wrapped or not')
    .option('--yes', 'do not ask')
    .addHelpText('after', shredHelp)
    .action((id: string | undefined, options: ShredOptions) => runShred(id, options))

  addKeyFileOptions(
    keys.command('retire').argument('<id>').description('a KEK opens only what was re-wrapped from it'),
    'keyring',
  )
    .addHelpText(
      'after',
      '\nExample:\n  $ trunkline keys rewrap && trunkline keys retire kek-…\n\n`restore` takes it back. When nobody misses it, `shred` destroys its key and keeps what was re-wrapped.',
    )
    .action(async (id: string, options: KeyFileOptions) => {
      const { retireKey } = await import('../key-admin.ts')
      await edited(() => retireKey(keyFileOf(options, process.cwd()), id, source))
      tell(`retired. ${soon}`)
    })
}

async function reportOf(options: KeyFileOptions): Promise<KeyFileReport> {
  const { describeKeyFile } = await import('../key-admin.ts')
  return await describeKeyFile(keyFileOf(options, process.cwd()))
}

async function verifyRewrapped(options: KeyFileOptions): Promise<void> {
  const { checkRewrapped } = await import('../rewrap.ts')
  const rewrapped = await checkRewrapped(keyFileOf(options, process.cwd()), source)
  if (rewrapped === undefined) return
  const { revision, count, closed } = rewrapped
  process.stdout.write(`${['rewrapped-keys', `revision ${revision}`, `keys ${count}`].join('\t')}\n`)
  for (const [why, keys] of closed) tell(`${counted(keys, 're-wrapped key')} opens nothing now: ${why}`)
}

async function runRotate({ stage, activate, topic, ...options }: RotateOptions): Promise<void> {
  if (stage === true && activate !== undefined)
    throw new CommandFailure(exitCode.usage, '--stage and --activate are two steps: one at a time')
  const step: RotateStep =
    activate !== undefined ? { kind: 'activate', id: activate } : stage === true ? { kind: 'stage' } : { kind: 'both' }
  const path = keyFileOf(options, process.cwd())
  const { describeKeyFile, rotateKeys } = await import('../key-admin.ts')
  const id = await edited(() => rotateKeys(path, { step, topic }, source))
  process.stdout.write(`${id}\n`)
  if (step.kind !== 'stage') return tell(`current. ${soon}`)
  const { revision } = await describeKeyFile(path)
  tell(
    `staged. Copy the file to every process; when trunkline_key_file_revision is ${revision} at all of them: --activate ${id}`,
  )
}

async function runCreate({ topic, topicId, file, ...connection }: CreateOptions): Promise<void> {
  const path = keyFileOf(file === undefined ? {} : { file }, process.cwd())
  const known = topicId ?? (await idOfTopic(topic, connection))
  if (!/^[0-9a-f]{32}$/.test(known)) throw new CommandFailure(exitCode.usage, 'a topic id has 32 hex digits')
  const { createTopicKey } = await import('../key-admin.ts')
  const id = await edited(() => createTopicKey(path, { topic, topicId: known }, source))
  process.stdout.write(`${id}\n`)
  tell(`${oneLine(topic)} has a KEK of its own. ${soon} What was published before stays under the shared one.`)
}

async function idOfTopic(topic: string, options: ConnectionOptions): Promise<string> {
  const { JsonApi } = await import('./json-api.ts')
  const api = new JsonApi(await resolveConnection(options, process.cwd()))
  return parseTopicView(await api.call('GET', `/v1/topics/${encodeURIComponent(topic)}`)).topicId
}

async function runShred(
  id: string | undefined,
  { topic, loseAllTopics, yes, ...options }: ShredOptions,
): Promise<void> {
  if ((id === undefined) === (topic === undefined))
    throw new CommandFailure(exitCode.usage, 'name one KEK, or one topic with --topic')
  const path = keyFileOf(options, process.cwd())
  const what = topic === undefined ? { id: id ?? '', allTopics: loseAllTopics === true } : { topic }
  if (yes !== true) await confirmed(topic ?? id ?? '')
  const { shredKeys } = await import('../key-admin.ts')
  const destroyed = await edited(() => shredKeys(path, what, source))
  for (const one of destroyed) process.stdout.write(`${one}\n`)
  tell(`destroyed. ${soon} Destroy the copies and backups of ${path} too: they still hold what it held.`)
}

/** Invariant 2. */
async function confirmed(name: string): Promise<void> {
  if (!process.stdin.isTTY)
    throw new CommandFailure(exitCode.usage, 'shredding makes events unreadable for good: add --yes')
  const asked = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await asked.question(
      `This makes what ${oneLine(name)} sealed unreadable for good. Type it to go on: `,
    )
    if (answer.trim() !== name) throw new CommandFailure(exitCode.usage, 'nothing was destroyed')
  } finally {
    asked.close()
  }
}

/** A refused edit is a conflict with what the file says, in one sentence. */
export async function edited<T>(change: () => Promise<T>): Promise<T> {
  const { KeyEditRefused } = await import('../key-admin.ts')
  try {
    return await change()
  } catch (thrown) {
    if (thrown instanceof KeyEditRefused) throw new CommandFailure(exitCode.conflict, thrown.message, thrown)
    throw thrown
  }
}

function lineOf({ id, state, createdAtMs, topic }: KeyLine): string {
  const created = createdAtMs === undefined ? '-' : String(timeText(createdAtMs))
  return `${id}\t${state}\t${created}\t${topic === undefined ? 'shared' : `topic ${topic.name} ${topic.id}`}\n`
}

// Owns: `trunkline topic create|list|describe|delete` over the JSON API.
// 1. Deleting asks for the topic's name on a terminal and for --yes everywhere else.
import { createInterface } from 'node:readline/promises'
import type { Command } from 'commander'
import { addConnectionOptions, type ConnectionOptions, resolveConnection } from './connection.ts'
import { exitCode } from './exit-codes.ts'
import { CommandFailure, oneLine } from './failure.ts'
import type { JsonApi } from './json-api.ts'
import { wholeNumber } from './option-values.ts'
import { tell } from './output.ts'
import { grouped } from './progress.ts'
import { timeText } from './times.ts'
import { parseTopicPage, parseTopicView, type TopicView } from './topic-view.ts'

const pagesMax = 1_000

const groupHelp = `
Examples:
  $ trunkline topic create quakes --partitions 8 --retention-ms 604800000
  $ trunkline topic list
  $ trunkline topic describe quakes --json
  $ trunkline topic delete quakes --yes`

interface CreateOptions extends ConnectionOptions {
  readonly partitions?: number
  readonly retentionMs?: number
  readonly retentionBytes?: number
}

interface ShowOptions extends ConnectionOptions {
  readonly json?: true
}

interface DeleteOptions extends ConnectionOptions {
  readonly yes?: true
}

export function addTopicCommand(program: Command): void {
  const topic = program
    .command('topic')
    .description('create, list, describe and delete topics')
    .addHelpText('after', groupHelp)

  addConnectionOptions(topic.command('create').argument('<name>').description('create a topic'))
    .option('--partitions <count>', 'default 8; they cannot be changed later', wholeNumber(1))
    .option('--retention-ms <ms>', 'events older than this are removed (default: kept for ever)', wholeNumber(1))
    .option(
      '--retention-bytes <bytes>',
      'oldest events of a partition above this are removed (default: no bound)',
      wholeNumber(1),
    )
    .addHelpText(
      'after',
      '\nExample:\n  $ trunkline topic create quakes --partitions 16 --retention-ms 604800000   a week',
    )
    .action(async (name: string, { partitions, retentionMs, retentionBytes, ...options }: CreateOptions) => {
      const api = await apiFor(options)
      const made = parseTopicView(
        await api.call('POST', '/v1/topics', { name, partitions, retentionMs, retentionBytes }),
      )
      process.stdout.write(`created ${made.name} with ${made.partitions} partitions\n`)
    })

  addConnectionOptions(topic.command('list').description('list topics by name'))
    .option('--json', 'one JSON object per line')
    .addHelpText('after', '\nExample:\n  $ trunkline topic list --json | jq -r .name')
    .action(async ({ json, ...options }: ShowOptions) => {
      const api = await apiFor(options)
      for await (const view of topicsOf(api)) {
        process.stdout.write(json === true ? `${JSON.stringify(view)}\n` : `${view.name}\t${view.partitions}\n`)
      }
    })

  addConnectionOptions(topic.command('describe').argument('<name>').description('settings and offsets of a topic'))
    .option('--json', 'as a JSON object')
    .addHelpText('after', '\nExample:\n  $ trunkline topic describe quakes')
    .action(async (name: string, { json, ...options }: ShowOptions) => {
      const api = await apiFor(options)
      const view = parseTopicView(await api.call('GET', pathOf(name)))
      process.stdout.write(json === true ? `${JSON.stringify(view)}\n` : describeTopic(view))
    })

  addConnectionOptions(
    topic.command('delete').argument('<name>').description('delete a topic and its events, for good'),
  )
    .option('--yes', 'do not ask')
    .addHelpText('after', '\nExample:\n  $ trunkline topic delete quakes --yes')
    .action(async (name: string, { yes, ...options }: DeleteOptions) => {
      const api = await apiFor(options)
      if (yes !== true) await confirmDeletion(name)
      await api.call('DELETE', pathOf(name))
      process.stdout.write(`deleted ${oneLine(name)}\n`)
    })
}

async function apiFor(options: ConnectionOptions): Promise<JsonApi> {
  const { JsonApi: Api } = await import('./json-api.ts')
  return new Api(await resolveConnection(options, process.cwd()))
}

async function* topicsOf(api: JsonApi): AsyncGenerator<TopicView, void, undefined> {
  let token: string | undefined
  for (let page = 0; page < pagesMax; page += 1) {
    const query = token === undefined ? '' : `&pageToken=${encodeURIComponent(token)}`
    const { topics, nextPageToken } = parseTopicPage(await api.call('GET', `/v1/topics?pageSize=1000${query}`))
    yield* topics
    if (nextPageToken === undefined) return
    token = nextPageToken
  }
  tell(`only the first ${grouped(pagesMax * 1_000)} topics are listed`)
}

/** Invariant 1. */
async function confirmDeletion(name: string): Promise<void> {
  if (!process.stdin.isTTY)
    throw new CommandFailure(exitCode.usage, 'deleting a topic removes its events for good: add --yes')
  const asked = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await asked.question(
      `This removes all events of ${oneLine(name)} for good. Type its name to go on: `,
    )
    if (answer.trim() !== name) throw new CommandFailure(exitCode.usage, 'nothing was deleted')
  } finally {
    asked.close()
  }
}

function describeTopic(view: TopicView): string {
  const { name, topicId, partitions, format, retentionMs, retentionBytes, createdAtMs, earliest, latest } = view
  const lines = [
    ['topic', name],
    ['id', topicId],
    ['format', format],
    ['partitions', String(partitions)],
    ['retention', retentionMs === undefined ? 'for ever' : `${grouped(Number(retentionMs))} ms`],
    ['size bound', retentionBytes === undefined ? 'none' : `${grouped(Number(retentionBytes))} bytes per partition`],
    ...(createdAtMs === undefined ? [] : [['created', String(timeText(Number(createdAtMs)))]]),
  ].map(([label = '', value = '']) => `${label.padEnd(11)} ${value}\n`)
  if (earliest === undefined || latest === undefined) return lines.join('')
  const rows = latest.map(
    (next, partition) =>
      `${String(partition).padStart(9)} ${(earliest[partition] ?? '').padStart(16)} ${next.padStart(16)}\n`,
  )
  return `${lines.join('')}\npartition     first offset      next offset\n${rows.join('')}`
}

function pathOf(name: string): string {
  return `/v1/topics/${encodeURIComponent(name)}`
}

// Owns: topics as the JSON API answers them, checked before they are shown.
import { exitCode } from './exit-codes.ts'
import { CommandFailure } from './failure.ts'

/** int64 stay decimal strings, as they come. */
export interface TopicView {
  readonly name: string
  readonly topicId: string
  readonly partitions: number
  readonly format: string
  readonly retentionMs?: string
  readonly retentionBytes?: string
  readonly createdAtMs?: string
  /** By partition. */
  readonly earliest?: readonly string[]
  readonly latest?: readonly string[]
}

export interface TopicPage {
  readonly topics: readonly TopicView[]
  readonly nextPageToken: string | undefined
}

/** Throws CommandFailure on anything else. */
export function parseTopicView(content: unknown): TopicView {
  const fields = fieldsOf(content)
  const [name, topicId, format] = ['name', 'topicId', 'format'].map((field) => fields.get(field))
  const partitions = fields.get('partitions')
  if (
    typeof name !== 'string' ||
    typeof topicId !== 'string' ||
    typeof format !== 'string' ||
    typeof partitions !== 'number'
  ) {
    throw unknownAnswer()
  }
  return {
    name,
    topicId,
    partitions,
    format,
    ...texts(fields, 'retentionMs', 'retentionBytes', 'createdAtMs'),
    ...textLists(fields, 'earliest', 'latest'),
  }
}

export function parseTopicPage(content: unknown): TopicPage {
  const fields = fieldsOf(content)
  const topics = fields.get('topics')
  const nextPageToken = fields.get('nextPageToken')
  if (!Array.isArray(topics)) throw unknownAnswer()
  return {
    topics: topics.map(parseTopicView),
    nextPageToken: typeof nextPageToken === 'string' ? nextPageToken : undefined,
  }
}

function fieldsOf(content: unknown): ReadonlyMap<string, unknown> {
  if (typeof content !== 'object' || content === null) throw unknownAnswer()
  return new Map<string, unknown>(Object.entries(content))
}

function texts(fields: ReadonlyMap<string, unknown>, ...names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = fields.get(name)
      return typeof value === 'string' ? [[name, value]] : []
    }),
  )
}

function textLists(
  fields: ReadonlyMap<string, unknown>,
  ...names: readonly string[]
): Record<string, readonly string[]> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = fields.get(name)
      return Array.isArray(value) ? [[name, value.map(String)]] : []
    }),
  )
}

function unknownAnswer(): CommandFailure {
  return new CommandFailure(exitCode.unexpected, 'the gateway answered in a way that this version does not know')
}

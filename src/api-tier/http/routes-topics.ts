// Owns: /v1/topics: create, list, describe, delete.
import { Type } from 'typebox'
import { parseTopicName } from '../../protocol/ids.ts'
import type { TopicDescription } from '../../protocol/messages.ts'
import { topicListMax } from '../../protocol/topic-admin.ts'
import type { TopicCalls } from '../topic-calls.ts'
import type { HttpApp } from './http-app.ts'
import { httpContext } from './http-context.ts'
import { badField, defined, optionalNumber, textOf } from './json-values.ts'
import { answer, problems, topicParams } from './schemas-common.ts'
import { topicBody, topicListQuery, topicListSchema } from './schemas-topics.ts'

const pageSizeDefault = 100
const shared = { tags: ['topics'] } as const
const topicRef = Type.Ref('Topic#')

export function topicRoutes(app: HttpApp, deps: { readonly topics: TopicCalls }): void {
  const { topics } = deps

  app.post(
    '/v1/topics',
    {
      schema: {
        ...shared,
        summary: 'Create a topic',
        operationId: 'createTopic',
        body: topicBody,
        response: {
          201: answer('Created.', topicRef, { location: { type: 'string', description: 'Path of the topic.' } }),
          ...problems(409),
        },
      },
    },
    async (request, reply) => {
      const { body } = request
      const { topic } = await topics.create(
        {
          name: parseTopicName(body.name),
          partitions: body.partitions,
          format: body.format,
          retentionMs: optionalNumber(body.retentionMs, 'retentionMs'),
          retentionBytes: optionalNumber(body.retentionBytes, 'retentionBytes'),
        },
        httpContext(request, reply),
      )
      return await reply.code(201).header('location', `/v1/topics/${topic.name}`).send(topicJson(topic))
    },
  )

  app.get(
    '/v1/topics',
    {
      schema: {
        ...shared,
        summary: 'List topics by name',
        operationId: 'listTopics',
        querystring: topicListQuery,
        response: { 200: answer('A page.', topicListSchema), ...problems() },
      },
    },
    async (request, reply) => {
      const { pageSize, pageToken } = request.query
      const limit = pageSize === undefined ? pageSizeDefault : Number(pageSize)
      if (limit < 1 || limit > topicListMax) throw badField('pageSize', `1 to ${topicListMax}`)
      const after = pageToken === undefined ? undefined : nameOfPageToken(pageToken)
      const page = await topics.list({ after, limit }, httpContext(request, reply))
      const last = page.topics.at(-1)
      return defined({
        topics: page.topics.map(topicJson),
        nextPageToken: page.more && last !== undefined ? Buffer.from(last.name).toString('base64url') : undefined,
      })
    },
  )

  app.get(
    '/v1/topics/:topic',
    {
      schema: {
        ...shared,
        summary: 'Describe a topic',
        operationId: 'describeTopic',
        params: topicParams,
        response: { 200: answer('The topic.', topicRef), ...problems(404) },
      },
    },
    async (request, reply) => {
      const described = await topics.describe(parseTopicName(request.params.topic), httpContext(request, reply))
      if (described.topic === undefined) throw new Error('describe of a topic answers the topic')
      return topicJson(described.topic)
    },
  )

  app.delete(
    '/v1/topics/:topic',
    {
      schema: {
        ...shared,
        summary: 'Delete a topic with its events',
        operationId: 'deleteTopic',
        params: topicParams,
        response: { 204: { description: 'Deleted.', type: 'null' }, ...problems(404) },
      },
    },
    async (request, reply) => {
      await topics.delete(parseTopicName(request.params.topic), httpContext(request, reply))
      return await reply.code(204).send(null)
    },
  )
}

function topicJson(topic: TopicDescription): object {
  return defined({
    name: topic.name,
    topicId: Buffer.from(topic.topicId).toString('hex'),
    partitions: topic.partitions,
    format: topic.format,
    retentionMs: textOf(topic.retentionMs),
    retentionBytes: textOf(topic.retentionBytes),
    createdAtMs: textOf(topic.createdAtMs),
    earliest: topic.earliest?.map(String),
    latest: topic.latest?.map(String),
  })
}

/** A page token is the last name of the page before. */
function nameOfPageToken(token: string): string {
  try {
    return parseTopicName(Buffer.from(token, 'base64url').toString('utf8'))
  } catch {
    throw badField('pageToken', 'not one of ours')
  }
}

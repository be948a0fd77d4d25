// Owns: POST /thrift: one Thrift message a body, as a stock THttpClient sends it (no frame length before it).
// The status is 200 whatever the message says: stock clients do not read the body of anything else.
import type { FastifyInstance } from 'fastify'
import type { ThriftDispatcher } from '../thrift/dispatcher.ts'
import { httpContext } from './http-context.ts'

const contentType = 'application/x-thrift'
const accepted = [contentType, 'application/vnd.apache.thrift.binary', 'application/octet-stream']

export function thriftRoutes(app: FastifyInstance, deps: { readonly dispatcher: ThriftDispatcher }): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<Buffer>(accepted, { parseAs: 'buffer' }, async (_request: unknown, body: Buffer) => body)
  app.post(
    '/thrift',
    {
      schema: {
        summary: 'One Thrift call',
        description:
          'A strict Thrift binary message of idl/trunkline.thrift in, one out. Errors are in the message; the status is 200.',
        operationId: 'thrift',
        tags: ['thrift'],
        consumes: [contentType],
        produces: [contentType],
      },
    },
    async (request, reply) => {
      const message = request.body instanceof Uint8Array ? request.body : new Uint8Array(0)
      const dispatched = await deps.dispatcher.dispatch(message, 'thrift-http', httpContext(request, reply))
      const bytes = dispatched.message
      return await reply.type(contentType).send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    },
  )
}

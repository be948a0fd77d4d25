// Owns: GET /.well-known/oauth-protected-resource (RFC 9728): which providers a caller may get its token from.
// 1. There only when providers are configured. The gateway's own issuer has no URL for it; /openapi.json shows its login.
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'

const metadataSchema = Type.Object(
  {
    resource: Type.String({ description: 'This gateway, as the request named it.' }),
    authorization_servers: Type.Array(Type.String(), { description: 'Issuers whose access tokens count.' }),
    bearer_methods_supported: Type.Array(Type.Literal('header')),
  },
  {
    examples: [
      {
        resource: 'https://gateway.example/',
        authorization_servers: ['https://login.example/'],
        bearer_methods_supported: ['header'],
      },
    ],
  },
)

export function metadataRoutes(app: FastifyInstance, issuers: readonly string[]): void {
  app.get(
    '/.well-known/oauth-protected-resource',
    {
      schema: {
        summary: 'Where access tokens come from',
        description: 'RFC 9728: the providers that are configured beside the own issuer.',
        operationId: 'protectedResource',
        tags: ['login'],
        security: [],
        response: { 200: metadataSchema },
      },
    },
    async (request) => ({
      resource: `${request.protocol}://${request.host}/`,
      authorization_servers: issuers,
      bearer_methods_supported: ['header'],
    }),
  )
}

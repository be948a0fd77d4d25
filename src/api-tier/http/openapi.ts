// Owns: the head of /openapi.json (OpenAPI 3.1); paths come from the routes' own schemas.
import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger'

export function openApiOptions(version: string, withLogin: boolean): FastifyDynamicSwaggerOptions {
  return {
    // Components are named by their $id, not numbered.
    refResolver: {
      buildLocalReference: ({ $id }, _baseUri, _fragment, index) => (typeof $id === 'string' ? $id : `schema-${index}`),
    },
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Trunkline',
        version,
        description:
          'Durable event streaming: two-phase sessions (allocate, read or write, ack, dispose) and one-shot calls over the ' +
          'same machines. int64 values are decimal strings; bytes are base64url; errors are problem+json (RFC 9457).',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: '/' }],
      tags: [
        { name: 'events', description: 'One-shot publish (at least once) and read.' },
        {
          name: 'sessions',
          description: 'Two-phase sessions: exactly-once publishing, reads that come again until acked.',
        },
        { name: 'topics', description: 'Administration of topics.' },
        { name: 'login', description: 'Access tokens.' },
        { name: 'thrift', description: 'The Thrift API over HTTP.' },
      ],
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'An access token.' },
          ...(withLogin
            ? { clientBasic: { type: 'http', scheme: 'basic', description: 'Client id and secret.' } }
            : {}),
        },
      },
      security: [{ bearer: [] }],
    },
  }
}

// Owns: POST /oauth/token (RFC 6749 §4.4 client credentials, Basic or form) and the key set of its tokens.
// 1. Errors are RFC 6749 §5.2 bodies, not problem+json: stock OAuth clients read these.
// 2. Nothing of a failed attempt is logged but that it failed.
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Logger } from '../../observability/log.ts'
import type { ClientRegistry } from '../auth/client-registry.ts'
import type { TokenIssuer } from '../auth/token-issuer.ts'
import { errorOf } from './problem.ts'
import { oauthErrorSchema, oauthTokenSchema } from './schemas-oauth.ts'

export interface OAuthDeps {
  readonly issuer: TokenIssuer
  readonly clients: ClientRegistry
}

const formType = 'application/x-www-form-urlencoded'
const formBytesMax = 16 * 1024
const basicPattern = /^Basic +([A-Za-z0-9+/_-]+={0,2})$/i

type OAuthErrorCode = 'invalid_request' | 'invalid_client' | 'unsupported_grant_type'

class OAuthError extends Error {
  readonly code: OAuthErrorCode
  /** The caller tried Basic: the answer names the scheme. */
  readonly basic: boolean

  constructor(code: OAuthErrorCode, description: string, basic = false) {
    super(description)
    this.code = code
    this.basic = basic
  }
}

export function oauthRoutes(app: FastifyInstance, deps: OAuthDeps & { readonly logger: Logger }): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<string>(
    formType,
    { parseAs: 'string', bodyLimit: formBytesMax },
    async (_: unknown, body: string) => body,
  )
  app.setErrorHandler(async (thrown, request, reply) => {
    if (thrown instanceof OAuthError) return await sendOAuthError(reply, thrown)
    const error = errorOf(thrown)
    if (error.http < 500)
      return await sendOAuthError(reply, new OAuthError('invalid_request', 'The body is not a form, or too long.'))
    deps.logger.error({ tier: 'api', requestId: request.id, err: thrown }, 'the token endpoint failed by a defect')
    return await reply.code(500).send({ error: 'server_error' })
  })
  app.post(
    '/oauth/token',
    {
      schema: {
        summary: 'Get an access token',
        description: 'Client credentials grant of RFC 6749, with the client id and secret by Basic or in the form.',
        operationId: 'token',
        tags: ['login'],
        consumes: [formType],
        security: [{ clientBasic: [] }, {}],
        response: { 200: oauthTokenSchema, 400: oauthErrorSchema, 401: oauthErrorSchema },
      },
    },
    async (request, reply) => {
      const form = formOf(request.body)
      const { clientId, secret, basic } = credentialsOf(request.headers.authorization, form)
      if (form.get('grant_type') === undefined) throw new OAuthError('invalid_request', 'grant_type is missing.')
      if (form.get('grant_type') !== 'client_credentials')
        throw new OAuthError('unsupported_grant_type', 'Only client_credentials is supported.')
      const client = deps.clients.authenticate(clientId, secret)
      if (client === undefined) {
        deps.logger.warn({ tier: 'api', requestId: request.id, remote: request.ip }, 'a client failed to log in')
        throw new OAuthError('invalid_client', 'The client is unknown or its secret is wrong.', basic)
      }
      const { token, lifetimeSeconds } = await deps.issuer.issue(client)
      reply.header('cache-control', 'no-store').header('pragma', 'no-cache')
      return { access_token: token, token_type: 'Bearer', expires_in: lifetimeSeconds }
    },
  )
  app.get(
    '/.well-known/jwks.json',
    { schema: { summary: 'Keys that check the access tokens', operationId: 'jwks', tags: ['login'], security: [] } },
    async (_request, reply) => {
      reply.header('cache-control', 'public, max-age=300')
      return deps.issuer.jwks
    },
  )
}

/** Errors: invalid_request when a name comes twice (RFC 6749 §3.2). */
function formOf(body: unknown): ReadonlyMap<string, string> {
  const form = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(typeof body === 'string' ? body : '')) {
    if (form.has(name)) throw new OAuthError('invalid_request', 'A parameter comes twice.')
    form.set(name, value)
  }
  return form
}

interface Credentials {
  readonly clientId: string
  readonly secret: string
  readonly basic: boolean
}

function credentialsOf(authorization: string | undefined, form: ReadonlyMap<string, string>): Credentials {
  const clientId = form.get('client_id')
  const secret = form.get('client_secret')
  if (authorization !== undefined) {
    if (secret !== undefined) throw new OAuthError('invalid_request', 'Use Basic or the form, not both.')
    const credentials = basicCredentials(authorization)
    if (credentials === undefined)
      throw new OAuthError('invalid_client', 'The Authorization header is not Basic.', true)
    return { ...credentials, basic: true }
  }
  if (clientId === undefined || secret === undefined)
    throw new OAuthError('invalid_client', 'The client id and secret are missing.', true)
  return { clientId, secret, basic: false }
}

function basicCredentials(authorization: string): { clientId: string; secret: string } | undefined {
  const encoded = basicPattern.exec(authorization)?.[1]
  if (encoded === undefined) return undefined
  const text = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  if (colon < 0) return undefined
  const clientId = formDecoded(text.slice(0, colon))
  const secret = formDecoded(text.slice(colon + 1))
  return clientId === undefined || secret === undefined ? undefined : { clientId, secret }
}

/** RFC 6749 §2.3.1: both halves are form-encoded before Basic. */
function formDecoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    // A stray "%": such a client did not encode; nothing else can fail here.
    return undefined
  }
}

async function sendOAuthError(reply: FastifyReply, error: OAuthError): Promise<FastifyReply> {
  const status = error.code === 'invalid_client' ? 401 : 400
  if (status === 401) reply.header('www-authenticate', 'Basic realm="trunkline", charset="UTF-8"')
  reply.header('cache-control', 'no-store').header('pragma', 'no-cache')
  return await reply.code(status).send({ error: error.code, error_description: error.message })
}

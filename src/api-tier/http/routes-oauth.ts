// Owns: POST /oauth/token (RFC 6749 §4.4 client credentials, Basic or form) and the key set of its tokens.
// 1. Errors are RFC 6749 §5.2 bodies, not problem+json: stock OAuth clients read these.
// 2. Of a failed attempt the log gets that it failed, where from, and the client's id when there is such a client: never
//    text that a stranger chose. These lines are bounded (line-budget.ts); all attempts are counted.
// 3. Who fails too often from an address is slowed, before a secret is hashed (auth/failed-logins.ts): 429 with Retry-After.
// 4. One way to authenticate per request (RFC 6749 §2.3): a form that names another client than Basic is refused.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Logger } from '../../observability/log.ts'
import type { Clock } from '../../ports/clock.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import type { ApiMetrics } from '../api-metrics.ts'
import type { ClientRegistry } from '../auth/client-registry.ts'
import type { FailedLogins } from '../auth/failed-logins.ts'
import type { TokenIssuer } from '../auth/token-issuer.ts'
import { LineBudget, linesPerSecond } from '../line-budget.ts'
import { errorOf } from './problem.ts'
import { oauthErrorSchema, oauthTokenSchema } from './schemas-oauth.ts'

export interface OAuthDeps {
  readonly issuer: TokenIssuer
  readonly clients: ClientRegistry
  /** Default: who fails to log in is not slowed. */
  readonly failedLogins?: FailedLogins | undefined
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

interface RouteDeps extends OAuthDeps {
  readonly logger: Logger
  readonly clock: Clock
  readonly metrics: ApiMetrics
}

/** The client, or its secret, is not one of ours. */
class RefusedLogin extends OAuthError {}

/** Undefined when it is our fault. */
function refusalOf(thrown: unknown): OAuthError | undefined {
  if (thrown instanceof OAuthError) return thrown
  return errorOf(thrown).http < 500
    ? new OAuthError('invalid_request', 'The body is not a form, or too long.')
    : undefined
}

export function oauthRoutes(app: FastifyInstance, deps: RouteDeps): void {
  const tellFailed = tellingFailures(app, deps)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<string>(
    formType,
    { parseAs: 'string', bodyLimit: formBytesMax },
    async (_: unknown, body: string) => body,
  )
  app.setErrorHandler(async (thrown, request, reply) => {
    if (thrown instanceof TrunklineError && (thrown.http === 503 || thrown.http === 429))
      return await sendNotNow(reply, thrown)
    const refusal = refusalOf(thrown)
    if (refusal !== undefined) {
      // What the handler judged is counted there.
      if (!(refusal instanceof RefusedLogin)) deps.metrics.login('bad_request')
      return await sendOAuthError(reply, refusal)
    }
    deps.metrics.login('failed')
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
        response: { 200: oauthTokenSchema, 400: oauthErrorSchema, 401: oauthErrorSchema, 429: oauthErrorSchema },
      },
    },
    async (request, reply) => {
      const form = formOf(request.body)
      const { clientId, secret, basic } = credentialsOf(request.headers.authorization, form)
      if (form.get('grant_type') === undefined) throw new OAuthError('invalid_request', 'grant_type is missing.')
      if (form.get('grant_type') !== 'client_credentials')
        throw new OAuthError('unsupported_grant_type', 'Only client_credentials is supported.')
      checkSlowed(clientId, request, deps)
      const client = deps.clients.authenticate(clientId, secret)
      if (client === undefined) {
        deps.failedLogins?.failed(request.ip, nameOf(clientId))
        tellFailed(clientId, request)
        throw new RefusedLogin('invalid_client', 'The client is unknown or its secret is wrong.', basic)
      }
      deps.failedLogins?.succeeded(request.ip, nameOf(clientId))
      const { token, lifetimeSeconds } = await deps.issuer.issue(client)
      deps.metrics.login('ok')
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

/** Invariant 3. Errors: TOO_MANY_REQUESTS. */
function checkSlowed(clientId: string, { ip }: FastifyRequest, { failedLogins, metrics }: RouteDeps): void {
  try {
    failedLogins?.check(ip, nameOf(clientId))
  } catch (thrown) {
    metrics.login('slowed')
    throw thrown
  }
}

/** Among failed logins: a client's id is no bearer. */
function nameOf(clientId: string): string {
  return `client:${clientId}`
}

/** Invariant 2. */
function tellingFailures(
  app: FastifyInstance,
  { clients, clock, logger, metrics }: RouteDeps,
): (clientId: string, request: FastifyRequest) => void {
  const lines = new LineBudget(clock, (count) => {
    logger.warn({ tier: 'api', count, limit: linesPerSecond }, 'more clients failed to log in than is told one by one')
  })
  app.addHook('onClose', async () => lines.close())
  return (clientId, request) => {
    const isKnown = clients.knows(clientId)
    metrics.login(isKnown ? 'wrong_secret' : 'unknown_client')
    if (!lines.take()) return
    const who = { tier: 'api', requestId: request.id, remote: request.ip }
    logger.warn(isKnown ? { ...who, clientId } : who, 'a client failed to log in')
  }
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
    // Invariant 4. The same id again is only a name, and some clients send it.
    if (clientId !== undefined && clientId !== credentials.clientId)
      throw new OAuthError('invalid_request', 'Basic and the form name two clients.')
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

/** The gateway stops, or slows. RFC 6749 §5.2 has no word for it: the status says it, the word is the one of §4.1.2.1. */
async function sendNotNow(reply: FastifyReply, { http, retryAfterMs = 0 }: TrunklineError): Promise<FastifyReply> {
  reply.header('retry-after', String(Math.ceil(retryAfterMs / 1_000)))
  return await reply.code(http).send({ error: 'temporarily_unavailable' })
}

async function sendOAuthError(reply: FastifyReply, error: OAuthError): Promise<FastifyReply> {
  const status = error.code === 'invalid_client' ? 401 : 400
  if (status === 401) reply.header('www-authenticate', 'Basic realm="trunkline", charset="UTF-8"')
  reply.header('cache-control', 'no-store').header('pragma', 'no-cache')
  return await reply.code(status).send({ error: error.code, error_description: error.message })
}

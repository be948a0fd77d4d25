// Owns: clients.json: who may log in at the API tier.
//   {"version": 1, "clients": [{"clientId": "…", "secretHash": "sha256:…", "subject": "…", "tenant": "…"}]}
// 1. It holds hashes of generated secrets, never a secret. `subject` is the client id, `tenant` is `default` and
//    `allowHmacMd5` is false when absent.
// 2. No error quotes the file.
import { readFileSync, statSync } from 'node:fs'
import { type Static, Type } from 'typebox'
import { Value } from 'typebox/value'
import { hashClientSecret, type StaticClient } from '../api-tier/auth/client-registry.ts'
import { configError } from '../config/load-config.ts'
import type { TrunklineError } from '../protocol/errors.ts'
import { defaultTenant } from '../protocol/tenant-topics.ts'

const name = Type.String({ minLength: 1, maxLength: 256 })
const fileSchema = Type.Object(
  {
    version: Type.Literal(1),
    clients: Type.Array(
      Type.Object(
        {
          clientId: name,
          secretHash: Type.String({ pattern: '^sha256:[A-Za-z0-9_-]{43}$' }),
          subject: Type.Optional(name),
          tenant: Type.Optional(Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,31}$' })),
          allowHmacMd5: Type.Optional(Type.Boolean()),
        },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: 10_000 },
    ),
  },
  { additionalProperties: false },
)

const fileBytesMax = 8 * 1024 * 1024

/** Errors: BAD_CONFIG naming clientsFile. */
export function readClientsFile(path: string): readonly StaticClient[] {
  let content: unknown
  try {
    if (statSync(path).size > fileBytesMax) throw refusal(`must be at most ${fileBytesMax} bytes`)
    content = JSON.parse(readFileSync(path, 'utf8'))
  } catch (thrown) {
    // The parser's own text quotes the file.
    throw refusal(
      thrown instanceof SyntaxError ? 'is not JSON' : 'cannot be read: correct the path, or its permissions',
    )
  }
  if (!Value.Check(fileSchema, content)) {
    const [first] = Value.Errors(fileSchema, content)
    throw refusal(`has another form at ${placeOf(first?.instancePath ?? '')}`)
  }
  const ids = new Set(content.clients.map(({ clientId }) => clientId))
  if (ids.size < content.clients.length) throw refusal('names a client twice')
  return content.clients.map(({ subject, tenant = defaultTenant, ...client }) => ({
    ...client,
    subject: subject ?? client.clientId,
    tenant,
  }))
}

/** The text of a file with one client. */
export function clientsFileText(clientId: string, secret: string): string {
  const content: Static<typeof fileSchema> = {
    version: 1,
    clients: [{ clientId, secretHash: hashClientSecret(secret) }],
  }
  return `${JSON.stringify(content, null, 2)}\n`
}

/** Without names that are not ours: one may be a secret in the wrong place. */
function placeOf(path: string): string {
  const ours = path
    .split('/')
    .filter((name) => /^(version|clients|[0-9]+|clientId|secretHash|subject|tenant|allowHmacMd5)$/.test(name))
  return `/${ours.join('/')}`
}

function refusal(problem: string): TrunklineError {
  return configError([{ subject: 'clientsFile', problem: `its file ${problem}` }])
}

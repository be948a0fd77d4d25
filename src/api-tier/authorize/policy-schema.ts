// Owns: the form of the policy file, as the schema from which docs/policy.schema.json is made.
// 1. Every leaf says in its description what it must be: problems of a file use those words.
// Leaves out: what goes beyond the form (policy-file.ts), what a policy means (policy.ts).
import { type Static, Type } from 'typebox'

const closed = { additionalProperties: false } as const
const name = { minLength: 1, maxLength: 256 } as const
const itemsMax = 1_000

const selectorSchema = Type.Object(
  {
    client: Type.Optional(Type.String({ ...name, description: 'the client id of the caller' })),
    subject: Type.Optional(Type.String({ ...name, description: 'the subject of the token' })),
    role: Type.Optional(Type.String({ ...name, description: 'a role that the issuer gives; needs issuer' })),
    issuer: Type.Optional(
      Type.String({ ...name, description: 'the issuer of the token, or own: the gateway itself (default)' }),
    ),
    everyone: Type.Optional(Type.Literal(true, { description: 'true: every caller of the tenant; stands alone' })),
  },
  { ...closed, minProperties: 1, description: 'an object that says who: all its members must fit the caller' },
)

const ruleSchema = Type.Object(
  {
    id: Type.Optional(
      Type.String({
        pattern: '^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$',
        description: 'a name of 1 to 64 letters, digits, dots, hyphens and underscores, each once; shown in the audit',
      }),
    ),
    allow: Type.Array(
      Type.Union([Type.Literal('publish'), Type.Literal('read'), Type.Literal('admin')], {
        description: 'publish, read or admin',
      }),
      { minItems: 1, maxItems: 3, description: 'a list of actions' },
    ),
    topics: Type.Array(
      Type.String({
        minLength: 1,
        maxLength: 256,
        pattern: '^[a-zA-Z0-9._*-]+$',
        description: 'the name of a topic; * at the end is any rest, * between dots is one segment',
      }),
      { minItems: 1, maxItems: itemsMax, description: 'a list of names and patterns of topics' },
    ),
    to: Type.Array(selectorSchema, { minItems: 1, maxItems: itemsMax, description: 'a list of who may' }),
    tenant: Type.Optional(
      Type.String({
        pattern: '^([a-z0-9][a-z0-9-]{0,31}|\\*)$',
        description: 'a tenant of 1 to 32 lower-case letters, digits and hyphens, or * for all; default when absent',
      }),
    ),
  },
  { ...closed, description: 'an object with allow, topics and to' },
)

export const policyFileSchema = Type.Object(
  {
    version: Type.Literal(1, { description: '1' }),
    scopesOf: Type.Optional(
      Type.Array(Type.String({ ...name, description: 'an issuer' }), {
        maxItems: itemsMax,
        description: 'a list of issuers whose scopes trunkline:<action>:<pattern> grant',
      }),
    ),
    rules: Type.Array(ruleSchema, { maxItems: 10_000, description: 'a list of rules' }),
  },
  { ...closed, description: 'an object with version and rules' },
)

export type PolicyFile = Static<typeof policyFileSchema>
export type RuleEntry = Static<typeof ruleSchema>

/** The text of docs/policy.schema.json. */
export function policySchemaText(): string {
  const about = { $schema: 'https://json-schema.org/draft/2020-12/schema', title: 'Trunkline policy' }
  return `${JSON.stringify({ ...about, ...policyFileSchema }, null, 2)}\n`
}

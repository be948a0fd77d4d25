// Owns: what a policy is, and what it says about one caller, action and topic. Pure.
// 1. Deny by default: a right is there only because a rule or a scope grants it. There is no rule that denies, so the
//    order of rules means nothing, and taking a rule away never gives anybody more.
// 2. A name proves nothing without its issuer: where a rule names no issuer it means the gateway's own.
// 3. A rule is of one tenant, `default` when it names none, or of all by `*`. Topics are named as that tenant knows them.
// 4. A scope counts only when its issuer is one whose scopes are trusted; words of another form grant nothing.
// 5. Names that begin with `tl-` are granted to nobody.
// Leaves out: the file (policy-file.ts), caches, errors, the audit (authorizer.ts).
import { isReservedTopic } from '../../protocol/tenant-topics.ts'
import type { Caller } from '../auth/bearer.ts'
import { matchesTopic, parseTopicPattern, type TopicPattern } from './topic-pattern.ts'

export const actions = ['publish', 'read', 'admin'] as const
export type Action = (typeof actions)[number]

/** All that is set must be so. */
export interface Selector {
  readonly client?: string | undefined
  readonly subject?: string | undefined
  readonly role?: string | undefined
  /** `iss`, or `own`, which is the default. */
  readonly issuer?: string | undefined
  /** Whoever proves to be anybody, of every issuer that the gateway trusts. */
  readonly everyone?: true | undefined
}

export interface Rule {
  /** Its own, or its place in the file: `#3`. */
  readonly id: string
  readonly allow: ReadonlySet<Action>
  readonly topics: readonly TopicPattern[]
  readonly to: readonly Selector[]
  readonly tenant: string
}

export interface Policy {
  readonly rules: readonly Rule[]
  /** Issuers whose scopes grant; `own` is the gateway's own. */
  readonly scopesOf: ReadonlySet<string>
}

/** In place of an issuer: the gateway itself. */
export const ownIssuer = 'own'
export const everyTenant = '*'

export type Decision =
  /** `by` names a rule's id, or a scope as it was written. */
  { readonly allowed: true; readonly by: string } | { readonly allowed: false; readonly why: DenialReason }

/** Constant texts, for the log and for people. */
export type DenialReason =
  | 'names that begin with tl- are reserved'
  | 'no rule names this caller'
  | 'no rule for this caller names this topic'
  | 'rules for this caller and topic allow other actions only'
  | 'clients that may sign with HMAC-MD5 administer nothing'

/** Nobody configured a policy: everybody who has proved to be anybody may do everything in its own tenant. */
export const openPolicy: Policy = {
  rules: [
    {
      id: 'allow-all',
      allow: new Set(actions),
      topics: [{ text: '*', parts: [], isOpen: true }],
      to: [{ everyone: true }],
      tenant: everyTenant,
    },
  ],
  scopesOf: new Set(),
}

/** @param gatewayIssuer what `own` is. */
export function decide(policy: Policy, caller: Caller, gatewayIssuer: string, action: Action, topic: string): Decision {
  if (isReservedTopic(topic)) return { allowed: false, why: 'names that begin with tl- are reserved' }
  let why: DenialReason = 'no rule names this caller'
  for (const grant of grantsOf(policy, caller, gatewayIssuer)) {
    const namesTopic = grant.topics.some((pattern) => matchesTopic(pattern, topic))
    if (namesTopic && grant.allow.has(action)) return { allowed: true, by: grant.by }
    if (namesTopic) why = 'rules for this caller and topic allow other actions only'
    else if (why === 'no rule names this caller') why = 'no rule for this caller names this topic'
  }
  return { allowed: false, why }
}

interface Grant {
  readonly by: string
  readonly allow: ReadonlySet<Action>
  readonly topics: readonly TopicPattern[]
}

function* grantsOf(policy: Policy, caller: Caller, gatewayIssuer: string): Generator<Grant> {
  const { tenant } = caller.principal
  for (const { id, allow, topics, to, tenant: of } of policy.rules)
    if ((of === tenant || of === everyTenant) && to.some((selector) => selects(selector, caller, gatewayIssuer)))
      yield { by: id, allow, topics }
  const trusted = policy.scopesOf.has(caller.issuer === gatewayIssuer ? ownIssuer : caller.issuer)
  if (!trusted) return
  for (const word of caller.scopes) {
    const scope = parseScope(word)
    if (scope !== undefined) yield { by: word, allow: new Set([scope.action]), topics: [scope.pattern] }
  }
}

function selects(selector: Selector, caller: Caller, gatewayIssuer: string): boolean {
  if (selector.everyone === true) return true
  const { issuer = ownIssuer, client, subject, role } = selector
  return (
    caller.issuer === (issuer === ownIssuer ? gatewayIssuer : issuer) &&
    (client === undefined || caller.principal.clientId === client) &&
    (subject === undefined || caller.principal.subject === subject) &&
    (role === undefined || caller.roles.includes(role))
  )
}

/** `trunkline:<action>:<pattern>`; undefined for any other word. */
export function parseScope(word: string): { readonly action: Action; readonly pattern: TopicPattern } | undefined {
  const [, named, text] = /^trunkline:([a-z]+):([^:]+)$/.exec(word) ?? []
  const action = actions.find((one) => one === named)
  const pattern = text === undefined ? undefined : parseTopicPattern(text)
  return action === undefined || pattern === undefined ? undefined : { action, pattern }
}

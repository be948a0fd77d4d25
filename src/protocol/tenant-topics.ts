// Owns: which topic of the log a caller means by a name, and back.
// 1. The tenant `default` has the log's own names; the topic `orders` of another tenant `acme` is `tl-acme.orders` in the
//    log. A tenant's name has no dot, so both are read back from the log's name alone, without a directory.
// 2. Nobody names a topic that begins with `tl-`, whoever asks: a function of the name alone, so it tells nothing about
//    what exists.
// 3. Keys and cursors belong to the tenant that the log's name says, not to the one that a caller says.
// Leaves out: who may do what (src/api-tier/authorize).
import { parseTopicName, type TopicName } from './ids.ts'

/** Of callers that name none. */
export const defaultTenant = 'default'
/** What names of other tenants' topics begin with. */
export const reservedTopicPrefix = 'tl-'

const tenantPattern = /^[a-z0-9][a-z0-9-]{0,31}$/
const ownedPattern = /^tl-([a-z0-9][a-z0-9-]{0,31})\.(.+)$/

export function isTenantName(text: string): boolean {
  return tenantPattern.test(text)
}

/** Invariant 2. */
export function isReservedTopic(name: string): boolean {
  return name.startsWith(reservedTopicPrefix)
}

/** What the names of all topics of a tenant begin with in the log; nothing for the tenant `default`. */
export function topicPrefixOf(tenant: string): string {
  return tenant === defaultTenant ? '' : `${reservedTopicPrefix}${tenant}.`
}

/** Errors: BAD_TOPIC_NAME, also when the name is too long together with its tenant's prefix. */
export function logTopicOf(tenant: string, name: TopicName): TopicName {
  return tenant === defaultTenant ? name : parseTopicName(topicPrefixOf(tenant) + name)
}

/** Invariant 3. A name that begins with `tl-` and names no tenant belongs to `default`, whose callers cannot name it. */
export function tenantOfLogTopic(logName: string): string {
  return ownedPattern.exec(logName)?.[1] ?? defaultTenant
}

/** The name by which the topic's own tenant knows it. */
export function callerTopicOf(logName: string): string {
  const [, tenant, name] = ownedPattern.exec(logName) ?? []
  // Nothing makes a topic of this form: it would be the log's own name.
  return tenant === undefined || name === undefined || tenant === defaultTenant ? logName : name
}

// Owns: the text of a policy file → a policy, or all that is wrong with it.
// 1. All problems are told at once, each with its line and place; at most `problemsMax`, then how many more.
// 2. No problem quotes the file: names that are not ours are left out of the place.
// 3. What is not understood is a problem, never skipped: a misspelt member must not widen or narrow a right.
// Leaves out: reading the file and watching it (main), the schema (policy-schema.ts).
import type { TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { defaultTenant, reservedTopicPrefix } from '../../protocol/tenant-topics.ts'
import { memberPointer, parsePlacedJson } from './json-places.ts'
import { ownIssuer, type Policy, type Rule, type Selector } from './policy.ts'
import { type PolicyFile, policyFileSchema, type RuleEntry } from './policy-schema.ts'
import { parseTopicPattern, type TopicPattern } from './topic-pattern.ts'

export type PolicyResult = { readonly policy: Policy } | { readonly problems: readonly string[] }

/** Bytes of a policy file. */
export const policyFileBytesMax = 1024 * 1024
const problemsMax = 100
const ourNames = /^(version|scopesOf|rules|id|allow|topics|to|tenant|client|subject|role|issuer|everyone|\d+)$/

export function parsePolicy(text: string): PolicyResult {
  const parsed = parsePlacedJson(text)
  if (!('json' in parsed)) {
    return {
      problems: [parsed.line === undefined ? 'it is not JSON' : `line ${parsed.line}: it is not JSON from here`],
    }
  }
  const { value, lines, repeated } = parsed.json
  const found: string[] = []
  const note = (pointer: string, problem: string): void => {
    const line = lines.get(pointer) ?? lines.get('') ?? 1
    found.push(`line ${line}, ${placeOf(pointer)}: ${problem}`)
  }
  for (const pointer of repeated) note(pointer, 'this member stands there twice')
  checkForm(policyFileSchema, value, '', note)
  const rules = rulesOf(fittingRules(value), note)
  if (found.length > 0) return { problems: bounded(found) }
  if (!isFile(value)) throw new Error('a file without problems fits its schema')
  return { policy: { rules, scopesOf: new Set(value.scopesOf) } }
}

type Facts = Readonly<Record<string, unknown>>
type Note = (pointer: string, problem: string) => void

function isFile(value: unknown): value is PolicyFile {
  return Value.Check(policyFileSchema, value)
}

/** The form, node by node, so that one mistake hides no other. */
function checkForm(schema: TSchema, value: unknown, pointer: string, note: Note): void {
  const facts: Facts = { ...schema }
  const must = `must be ${String(facts['description'])}`
  switch (facts['type']) {
    case 'object':
      if (isObject(value)) checkMembers(facts, value, pointer, note)
      else note(pointer, must)
      return
    case 'array': {
      if (!Array.isArray(value)) {
        note(pointer, must)
        return
      }
      const [min, max] = [Number(facts['minItems'] ?? 0), Number(facts['maxItems'])]
      if (value.length < min || value.length > max) note(pointer, `${must} with ${min} to ${max} entries`)
      for (const [index, item] of value.entries())
        checkForm(facts['items'] as TSchema, item, `${pointer}/${index}`, note)
      return
    }
    default:
      if (!Value.Check(schema, value)) note(pointer, must)
  }
}

function checkMembers(facts: Facts, value: Facts, pointer: string, note: Note): void {
  const properties = facts['properties'] as Readonly<Record<string, TSchema>>
  const required = (facts['required'] ?? []) as readonly string[]
  for (const name of required) if (!Object.hasOwn(value, name)) note(pointer, `${name} is missing`)
  const names = Object.keys(value)
  if (names.length < Number(facts['minProperties'] ?? 0)) note(pointer, `must be ${String(facts['description'])}`)
  for (const name of names) {
    const known = Object.hasOwn(properties, name) ? properties[name] : undefined
    const at = memberPointer(pointer, name)
    if (known === undefined) note(at, `there is no such member; known are ${Object.keys(properties).join(', ')}`)
    else checkForm(known, value[name], at, note)
  }
}

/** Entries of a form that fits; what they say is checked also when something else in the file has another form. */
function fittingRules(value: unknown): readonly (RuleEntry | undefined)[] {
  const rules = isObject(value) ? value['rules'] : undefined
  const entry = policyFileSchema.properties.rules.items
  return Array.isArray(rules) ? rules.map((rule: unknown) => (Value.Check(entry, rule) ? rule : undefined)) : []
}

/** Undefined entries keep the numbers of those behind them. */
function rulesOf(entries: readonly (RuleEntry | undefined)[], note: Note): readonly Rule[] {
  const ids = new Set<string>()
  return entries.flatMap((entry, index) => {
    if (entry === undefined) return []
    const at = `/rules/${index}`
    const { id, allow, topics, to, tenant = defaultTenant } = entry
    if (id !== undefined && ids.has(id)) note(`${at}/id`, 'another rule has this id')
    if (id !== undefined) ids.add(id)
    const patterns = topics.flatMap((text, place) => patternOf(text, `${at}/topics/${place}`, note))
    for (const [place, selector] of to.entries()) checkSelector(selector, `${at}/to/${place}`, note)
    return [{ id: id ?? `#${index + 1}`, allow: new Set(allow), topics: patterns, to, tenant }]
  })
}

function patternOf(text: string, pointer: string, note: Note): readonly TopicPattern[] {
  const pattern = parseTopicPattern(text)
  if (pattern === undefined) {
    note(pointer, 'a * stands at the end, or alone between two dots')
    return []
  }
  if (text.startsWith(reservedTopicPrefix))
    note(
      pointer,
      `names that begin with ${reservedTopicPrefix} are reserved: name the topic as its tenant does, and set tenant`,
    )
  return [pattern]
}

function checkSelector(selector: Selector, pointer: string, note: Note): void {
  const { everyone, role, issuer = ownIssuer } = selector
  if (everyone === true && Object.keys(selector).length > 1)
    note(pointer, 'everyone stands alone: take it out, or the other members')
  if (role !== undefined && issuer === ownIssuer)
    note(pointer, 'a role needs the issuer that gives it; the gateway itself gives none')
}

/** Invariant 2. */
function placeOf(pointer: string): string {
  const ours = pointer.split('/').filter((name) => ourNames.test(name))
  return `/${ours.join('/')}`
}

function bounded(found: readonly string[]): readonly string[] {
  const more = found.length - problemsMax
  return more > 0 ? [...found.slice(0, problemsMax), `and ${more} more`] : found
}

function isObject(value: unknown): value is Facts {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The text of a policy in which one client of the gateway's own may do everything in the tenant `default`. */
export function startingPolicyText(clientId: string): string {
  const policy: PolicyFile = {
    version: 1,
    rules: [{ id: 'first-client', allow: ['publish', 'read', 'admin'], topics: ['*'], to: [{ client: clientId }] }],
  }
  return `${JSON.stringify(policy, null, 2)}\n`
}

// Owns: patterns of topic names, as policies and scopes write them.
// 1. A `*` at the end stands for any rest, also none and also with dots: `orders.*`, `orders*`, `*`.
// 2. A `*` that is a whole segment between dots, not at the end, stands for exactly one segment: `*.audit`, `eu.*.orders`.
// 3. Any other `*` is refused. Everything else stands for itself, in upper and lower case as written.
// 4. Matching walks the name once: no pattern is slow on any name.
// Leaves out: regular expressions; a pattern of somebody else must not be a program.

export interface TopicPattern {
  readonly text: string
  /** In order: a text that must come next, or null for one segment. */
  readonly parts: readonly (string | null)[]
  /** Invariant 1. */
  readonly isOpen: boolean
}

const patternCharactersMax = 256
const shape = /^[a-zA-Z0-9._*-]+$/

/** Undefined when the text is no pattern. */
export function parseTopicPattern(text: string): TopicPattern | undefined {
  if (text.length > patternCharactersMax || !shape.test(text)) return undefined
  const isOpen = text.endsWith('*')
  const parts: (string | null)[] = []
  let literal = ''
  const body = isOpen ? text.slice(0, -1) : text
  for (const [index, segment] of body.split('.').entries()) {
    if (index > 0) literal += '.'
    if (segment !== '*') {
      if (segment.includes('*')) return undefined
      literal += segment
      continue
    }
    if (literal !== '') parts.push(literal)
    parts.push(null)
    literal = ''
  }
  if (literal !== '') parts.push(literal)
  // `**` and `a.**`: a segment of any name cannot be followed by any rest without a dot between.
  if (isOpen && parts.at(-1) === null) return undefined
  return { text, parts, isOpen }
}

export function matchesTopic({ parts, isOpen }: TopicPattern, name: string): boolean {
  let at = 0
  for (const part of parts) {
    if (part !== null) {
      if (!name.startsWith(part, at)) return false
      at += part.length
      continue
    }
    const dot = name.indexOf('.', at)
    const end = dot < 0 ? name.length : dot
    if (end === at) return false
    at = end
  }
  return isOpen || at === name.length
}

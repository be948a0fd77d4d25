// Owns: JSON text with the line of every value, and members that stand there twice.
// 1. A problem never quotes the text: it may hold what does not belong there.
import { evaluate, parse, type ValueNode } from '@humanwhocodes/momoa'

export interface PlacedJson {
  readonly value: unknown
  /** By JSON pointer; the document itself is ''. */
  readonly lines: ReadonlyMap<string, number>
  /** Pointers of members that an earlier one of the same name hides or is hidden by. */
  readonly repeated: readonly string[]
}

export type JsonResult = { readonly json: PlacedJson } | { readonly line: number | undefined }

/** `line` alone: the text is no JSON, from there on. */
export function parsePlacedJson(text: string): JsonResult {
  try {
    const { body } = parse(text, { mode: 'json' })
    const lines = new Map<string, number>()
    const repeated: string[] = []
    place(body, '', lines, repeated)
    return { json: { value: evaluate(body), lines, repeated } }
  } catch (thrown) {
    // Also nested too deeply: then there is no line.
    if (!(thrown instanceof Error && 'line' in thrown) || typeof thrown.line !== 'number') return { line: undefined }
    // A text that ends too early is told by the parser without its place.
    const endsEarly = thrown.message.startsWith('Unexpected end')
    return { line: endsEarly ? text.split('\n').length : thrown.line }
  }
}

function place(node: ValueNode, pointer: string, lines: Map<string, number>, repeated: string[]): void {
  lines.set(pointer, node.loc.start.line)
  if (node.type === 'Array') {
    for (const [index, { value }] of node.elements.entries()) place(value, `${pointer}/${index}`, lines, repeated)
  }
  if (node.type !== 'Object') return
  const seen = new Set<string>()
  for (const { name, value } of node.members) {
    const text = name.type === 'String' ? name.value : name.name
    const at = memberPointer(pointer, text)
    if (seen.has(text)) repeated.push(at)
    seen.add(text)
    place(value, at, lines, repeated)
  }
}

export function memberPointer(pointer: string, name: string): string {
  return `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
}

// Owns: drawing an xstate machine as a page: a mermaid state diagram and the table of its transitions.
// 1. A pure function of the machine: the same machine gives the same text.
// 2. The table is complete; the drawing leaves out transitions that stay where they are.
// 3. Mermaid cannot join states of different composites: such an edge is drawn between the nearest
//    ancestors that are siblings, and the table names its real ends.
import type { AnyStateMachine } from 'xstate'
import type { DrawnMachine } from './machines.ts'

type Node = AnyStateMachine['root']

interface Edge {
  readonly source: Node
  /** The state entered, or undefined when the transition only runs actions. */
  readonly target: Node | undefined
  readonly on: string
  readonly guard: string
  readonly actions: readonly string[]
}

/** The page of docs/machines for one machine. */
export function drawMachinePage(drawn: DrawnMachine): string {
  return `<!-- Generated from ${drawn.source} by \`npm run generate\`: change it there. -->

# ${drawn.title}

\`\`\`mermaid
${drawMachine(drawn.machine)}\`\`\`

${drawTransitionTable(drawn.machine)}`
}

/** A mermaid stateDiagram-v2 of the nested states and the transitions between them. */
export function drawMachine(machine: AnyStateMachine): string {
  const edges = nodesOf(machine.root).flatMap(edgesOf)
  return `stateDiagram-v2\n${bodyOf(machine.root, edges, 1).join('\n')}\n`
}

/** Every transition as one row of a Markdown table, in the order of the machine's definition. */
export function drawTransitionTable(machine: AnyStateMachine): string {
  const rows = nodesOf(machine.root)
    .flatMap(edgesOf)
    .map((edge) => {
      const cells = [
        pathText(edge.source),
        codeText(edge.on),
        edge.guard === '' ? '' : codeText(edge.guard),
        edge.target === undefined ? 'stays' : pathText(edge.target),
        edge.actions.map(codeText).join(', '),
      ]
      return `| ${cells.join(' | ')} |`
    })
  return `| from | on | when | to | does |\n|---|---|---|---|---|\n${rows.join('\n')}\n`
}

/** The states inside one composite, and the edges whose nearest common composite it is. */
function bodyOf(parent: Node, edges: readonly Edge[], depth: number): readonly string[] {
  const indent = '  '.repeat(depth)
  const children = childrenOf(parent)
  const lines: string[] = []
  for (const [index, child] of children.entries()) {
    // A region of a parallel state has no edge to its siblings; a line parts them.
    if (parent.type === 'parallel' && index > 0) lines.push(`${indent}--`)
    if (childrenOf(child).length === 0) lines.push(`${indent}state "${child.key}" as ${idOf(child)}`)
    else {
      lines.push(`${indent}state "${child.key}" as ${idOf(child)} {`, ...bodyOf(child, edges, depth + 1), `${indent}}`)
    }
  }
  if (parent.type === 'compound') {
    for (const initial of parent.initial.target ?? []) {
      const entered = childWithin(parent, initial)
      if (entered !== undefined) lines.push(`${indent}[*] --> ${idOf(entered)}`)
    }
  }
  lines.push(...edgeLines(parent, edges).map((line) => indent + line))
  for (const child of children) if (child.type === 'final') lines.push(`${indent}${idOf(child)} --> [*]`)
  return lines
}

function edgeLines(parent: Node, edges: readonly Edge[]): readonly string[] {
  const labels = new Map<string, string[]>()
  const lines: string[] = []
  for (const edge of edges) {
    if (edge.target === undefined || edge.target === edge.source) continue
    const to = childWithin(parent, edge.target)
    // A composite that leads into itself leads there from any of its states.
    const fromParent = edge.source === parent
    const from = fromParent ? undefined : childWithin(parent, edge.source)
    if (to === undefined || (!fromParent && from === undefined) || from === to) continue
    const fromId = from === undefined ? `any_of_${idOf(parent)}` : idOf(from)
    if (fromParent && lines.length === 0) lines.push(`state "any state" as ${fromId}`)
    const key = `${fromId} --> ${idOf(to)}`
    const label = edge.guard === '' ? edge.on : `${edge.on} [${edge.guard}]`
    const known = labels.get(key) ?? []
    if (!known.includes(label)) labels.set(key, [...known, label])
  }
  for (const [key, texts] of labels) lines.push(`${key} : ${texts.map(labelText).join('<br/>')}`)
  return lines
}

/** The child of `parent` that is `node` or holds it. */
function childWithin(parent: Node, node: Node): Node | undefined {
  let child: Node | undefined = node
  while (child !== undefined && child.parent !== parent) child = child.parent
  return child
}

function edgesOf(node: Node): readonly Edge[] {
  const transitions = [...(node.always ?? []), ...[...node.transitions.values()].flat()]
  return transitions.flatMap((transition): readonly Edge[] => {
    const shared = {
      source: node,
      on: eventText(transition.eventType),
      guard: guardText(transition.guard),
      actions: transition.actions.map(nameOf),
    }
    const targets = transition.target ?? []
    if (targets.length === 0) return [{ ...shared, target: undefined }]
    return targets.map((target) => ({ ...shared, target }))
  })
}

function nodesOf(node: Node): readonly Node[] {
  return [node, ...childrenOf(node).flatMap(nodesOf)]
}

function childrenOf(node: Node): readonly Node[] {
  return Object.values(node.states)
}

function idOf(node: Node): string {
  return ['s', ...node.path].join('_').replace(/[^A-Za-z0-9_]/g, '_')
}

function pathText(node: Node): string {
  return node.path.length === 0 ? 'any state' : codeText(node.path.join('.'))
}

/** xstate's own event names say what happened in its words; the page says it in ours. */
function eventText(eventType: string): string {
  if (eventType === '') return 'always'
  const [head, kind, ...rest] = eventType.split('.')
  if (head !== 'xstate') return eventType
  if (kind === 'after') return `after ${rest[0] ?? ''}${/^\d+$/.test(rest[0] ?? '') ? ' ms' : ''}`
  const what = rest.slice(1).join('.')
  if (rest[0] === 'state') return 'inner states done'
  if (kind === 'done') return `done ${what}`
  if (kind === 'error') return `error ${what}`
  return eventType
}

function guardText(guard: unknown): string {
  return guard === undefined || guard === null ? '' : nameOf(guard)
}

/** Guards and actions are names, objects with a type, or functions. */
function nameOf(value: unknown): string {
  if (typeof value === 'string') return value
  if (typeof value === 'function') {
    // not(…), and(…) and or(…) keep the guards they combine.
    const inner = 'guards' in value && Array.isArray(value.guards) ? ` ${value.guards.map(nameOf).join(' ')}` : ''
    return value.name === '' ? 'inline' : `${value.name}${inner}`
  }
  if (typeof value === 'object' && value !== null && 'type' in value) return nameOf(value.type)
  return 'inline'
}

function codeText(text: string): string {
  return `\`${text.replaceAll('|', '\\|')}\``
}

/** Mermaid reads these as the end of a statement or of a label. */
function labelText(text: string): string {
  return text.replaceAll(/[;:#]/g, ' ')
}

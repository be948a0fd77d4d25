// Owns: how deep JSON may be nested.
// 1. Nothing here recurses, and every value is looked at once: JSON.stringify recurses, and what it is given passed here.
// Leaves out: reading JSON (JSON.parse does not recurse), and what is answered when it is too deep (event-json.ts).

/**
 * Arrays and objects inside one another. Far above what people write, far below what JSON.stringify can hold on its
 * stack (some 4,000), where an answer adds a few levels of its own.
 */
export const jsonLevelsMax = 100

/** Whether arrays and objects are nested more than `levelsMax` deep; a number or a text has no level. */
export function isDeeperThan(value: unknown, levelsMax: number): boolean {
  let level = isContainer(value) ? [value] : []
  for (let depth = 1; level.length > 0; depth += 1) {
    if (depth > levelsMax) return true
    level = childrenOf(level)
  }
  return false
}

function childrenOf(level: readonly object[]): object[] {
  const children: object[] = []
  for (const container of level) {
    for (const child of Object.values(container)) if (isContainer(child)) children.push(child)
  }
  return children
}

function isContainer(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

// Owns: finding the name that a misspelt one was probably meant to be.

/** The candidate with the fewest edits, if there are at most a quarter of the name's letters; else undefined. */
export function nearest<Name extends string>(name: string, candidates: readonly Name[]): Name | undefined {
  const editsMax = Math.max(1, Math.floor(name.length / 4))
  let best: { readonly candidate: Name; readonly edits: number } | undefined
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - name.length) > editsMax) continue
    const edits = editsBetween(name.toLowerCase(), candidate.toLowerCase())
    if (edits <= editsMax && (best === undefined || edits < best.edits)) best = { candidate, edits }
  }
  return best?.candidate
}

/** Levenshtein's distance, row by row. */
function editsBetween(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (const [aIndex, letter] of a.split('').entries()) {
    const next = [aIndex + 1]
    for (const [bIndex, other] of b.split('').entries()) {
      const replaced = (row[bIndex] ?? 0) + (letter === other ? 0 : 1)
      next.push(Math.min(replaced, (row[bIndex + 1] ?? 0) + 1, (next[bIndex] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}

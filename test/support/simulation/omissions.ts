// Owns: the nine omissions that notes of the design name, as mutants of the real code (test/mutants.json): which profile
// meets each, what the judge must call it, and a seed that is known to be red.
// `inflight` is caught as a GAP: the look-up refuses to guess about a hole before what landed, so the hole is never filled
// behind what came later. `inflight-unguarded` takes that second lock off too, and then events stand in another order.
import type { DefectKind } from '../history/check-history.ts'

export interface Omission {
  readonly mutant: string
  readonly profile: string
  readonly kind: DefectKind
  /** Tried in this order, until one is red. */
  readonly seeds: readonly string[]
}

/** Walked after the seed that was red when this was written: any change of the code moves them. */
const moreSeeds = Array.from({ length: 60 }, (_, index) => String(index + 1))

function omission(mutant: string, kind: DefectKind, profile: string, known: string): Omission {
  return { mutant, profile, kind, seeds: [known, ...moreSeeds.filter((seed) => seed !== known)] }
}

export const omissions: readonly Omission[] = [
  omission('nofence', 'DUPLICATE', 'take-overs', '8'),
  omission('nobarrier', 'DUPLICATE', 'take-overs', '9'),
  omission('lazy', 'DUPLICATE', 'take-overs', '9'),
  omission('fork', 'DUPLICATE', 'take-overs', '9'),
  omission('publish', 'DUPLICATE', 'take-overs', '9'),
  omission('anyanswer', 'DUPLICATE', 'late-answers', '26'),
  omission('nosequence', 'DUPLICATE', 'failovers', '10'),
  omission('inflight', 'GAP', 'failovers', '6'),
  omission('inflight-unguarded', 'REORDERED', 'failovers', '7'),
  omission('early', 'LOST', 'failovers', '5'),
]

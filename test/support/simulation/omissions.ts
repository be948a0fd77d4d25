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

function omission(mutant: string, kind: DefectKind, known: string, profile = 'walk'): Omission {
  return { mutant, profile, kind, seeds: [known, ...moreSeeds.filter((seed) => seed !== known)] }
}

export const omissions: readonly Omission[] = [
  omission('nofence', 'DUPLICATE', '7'),
  omission('nobarrier', 'DUPLICATE', '12'),
  omission('lazy', 'DUPLICATE', '25'),
  omission('fork', 'DUPLICATE', '10'),
  omission('anyanswer', 'DUPLICATE', '26', 'late-answers'),
  omission('publish', 'DUPLICATE', '1'),
  omission('nosequence', 'DUPLICATE', '4'),
  omission('inflight', 'GAP', '1'),
  omission('inflight-unguarded', 'REORDERED', '16'),
  omission('early', 'LOST', '3'),
]

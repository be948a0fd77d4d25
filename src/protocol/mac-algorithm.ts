// Owns: the algorithms that sign the calls of a session, by name, and what follows from one.
// 1. A session has exactly one, sealed into its token: neither a request nor an answer can choose another.
// 2. Secrets and keys of one algorithm are derived under labels of their own: no MAC of one is one of the other.
// Leaves out: what a MAC covers (signed-bytes.ts, signed-http.ts), who may have the weak one (api-tier/authorize).
import { TrunklineError } from './errors.ts'

export const macAlgorithm = { sha256: 'hmac-sha256', md5: 'hmac-md5' } as const
export type MacAlgorithm = (typeof macAlgorithm)[keyof typeof macAlgorithm]

/** Of allocate's request; HMAC-SHA256 when it names none. Errors: BAD_REQUEST. */
export function parseMacAlgorithm(text: string | undefined): MacAlgorithm {
  if (text === undefined) return macAlgorithm.sha256
  const found = Object.values(macAlgorithm).find((name) => name === text)
  if (found === undefined) throw new TrunklineError('BAD_REQUEST', { details: { field: 'macAlgorithm' } })
  return found
}

/** Invariant 2. */
export function labelFor(algorithm: MacAlgorithm, label: `tl1 ${string}`): `tl1 ${string}` {
  switch (algorithm) {
    case macAlgorithm.sha256:
      return label
    case macAlgorithm.md5:
      return `${label} md5`
  }
}

/** The hash under the HMAC, and its bytes. Both have blocks of 64. */
export function digestOf(algorithm: MacAlgorithm): { readonly name: 'sha256' | 'md5'; readonly size: number } {
  switch (algorithm) {
    case macAlgorithm.sha256:
      return sha256
    case macAlgorithm.md5:
      return md5
  }
}

const sha256 = { name: 'sha256', size: 32 } as const
const md5 = { name: 'md5', size: 16 } as const

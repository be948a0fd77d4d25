// Owns: the Random port: system randomness in production, one seeded generator in a simulation.

export interface Random {
  /** `count` bytes fit for keys, nonces and ids. A fresh array that the caller owns. */
  bytes(count: number): Uint8Array
  /** 0 ≤ x < 1, for jitter and shuffling only. */
  fraction(): number
}

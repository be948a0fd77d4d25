// Owns: placeholders for what a tier must provide to a machine. An action that nobody provided is a bug, and loud.

export function unprovided(name: string): () => never {
  return () => {
    throw new Error(`machine action not provided: ${name}`)
  }
}

/** For placeholders whose parameters fix a type. */
export function nothing(): never {
  throw new Error('machine action not provided')
}

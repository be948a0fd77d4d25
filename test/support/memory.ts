// Owns: how much memory some work takes while it runs.

/** The most memory seen while `work` ran, above what was there before it. */
export async function memoryOf(work: () => Promise<void>): Promise<number> {
  const now = (): number => {
    const { heapUsed, external, arrayBuffers } = process.memoryUsage()
    return heapUsed + Math.max(external, arrayBuffers)
  }
  const before = now()
  let most = before
  const sampler = setInterval(() => {
    most = Math.max(most, now())
  }, 5)
  try {
    await work()
  } finally {
    clearInterval(sampler)
  }
  return Math.max(most, now()) - before
}

// Owns: how long the long tests are. TRUNKLINE_TEST_SCALE=ci makes them long; the default is for a desk.

/** The second value when TRUNKLINE_TEST_SCALE=ci is set, the first otherwise. Throws on another scale. */
export function scale<T>(defaultValue: T, ciValue: T): T {
  const wanted = process.env['TRUNKLINE_TEST_SCALE'] ?? ''
  if (wanted === '' || wanted === 'default') return defaultValue
  if (wanted === 'ci') return ciValue
  throw new Error(`TRUNKLINE_TEST_SCALE=${wanted} is neither "default" nor "ci"`)
}

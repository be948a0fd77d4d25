// Owns: canaries, and looking for them and for secrets in bytes, in every disguise they may wear.

/** What nobody but a reader may see, by what it is. */
export const canary = {
  payload: 'canarypayload7f3a91c2d8',
  key: 'canarykey5b1e08f7a4',
  headerName: 'canaryheadername9c42aa',
  headerValue: 'canaryheadervalue3d77e1',
  id: 'canaryid0e6b2f95',
  type: 'canarytype84d1c0',
  source: 'canarysource2a9f6e',
} as const

export const canaries: Readonly<Record<string, Uint8Array>> = Object.fromEntries(
  Object.entries(canary).map(([name, value]) => [name, new TextEncoder().encode(value)]),
)

/** The ways a secret may hide: as it is, as hex, and inside base64 at each of its three alignments. */
function disguises(secret: Uint8Array): Buffer[] {
  const plain = Buffer.from(secret)
  const aligned = [0, 1, 2].flatMap((skip) => {
    const inside = plain.subarray((3 - skip) % 3)
    const whole = inside.subarray(0, inside.length - (inside.length % 3))
    return [whole.toString('base64'), whole.toString('base64url')]
  })
  const hex = plain.toString('hex')
  return [plain, Buffer.from(hex), Buffer.from(hex.toUpperCase()), ...aligned.map((text) => Buffer.from(text))]
}

/** Names of the secrets that are in there; whatever it is, it is not shown. */
export function leaked(where: Uint8Array, secrets: Readonly<Record<string, Uint8Array>>): string[] {
  const hay = Buffer.from(where.buffer, where.byteOffset, where.byteLength)
  return Object.keys(secrets).filter((name) =>
    disguises(secrets[name] ?? new Uint8Array()).some((one) => hay.includes(one)),
  )
}

// The accounting of what is staged: sums are exact and within their bounds, whatever many clients stage, ack and close.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import { ownerOf as ownerOfPrincipal } from '../../../../src/stream-tier/owner-sums.ts'
import { StagedBytes } from '../../../../src/stream-tier/write/staged-bytes.ts'

const bounds = { clientBytesMax: 100, tenantBytesMax: 150, appendBufferBytes: 500 }
const ownerOf = (client: number): ReturnType<typeof ownerOfPrincipal> =>
  ownerOfPrincipal({ tenant: `t${client % 3}`, clientId: `c${client}`, subject: 's', expiresAtMs: 0 })

/** What is refused, or undefined. */
function refusal(staged: StagedBytes, client: number, bytes: number): string | undefined {
  try {
    staged.check(ownerOf(client), bytes)
    return undefined
  } catch (thrown) {
    const { name, details, retryAfterMs } = TrunklineError.from(thrown)
    return `${name} ${details?.['limit'] ?? ''} ${retryAfterMs ?? ''}`
  }
}

const steps = fc.array(
  fc.record({
    client: fc.nat(8),
    bytes: fc.integer({ min: 1, max: 120 }),
    what: fc.constantFrom('stage', 'stage', 'stage', 'ack', 'close'),
  }),
  { maxLength: 200 },
)

describe('staged bytes', () => {
  it('agree with a model in which every write is listed, and end at nothing', () => {
    fc.assert(
      fc.property(steps, (walk) => {
        const staged = new StagedBytes(bounds)
        let model: { readonly client: number; readonly bytes: number }[] = []
        const sum = (of: (client: number) => boolean): number =>
          model.reduce((total, write) => total + (of(write.client) ? write.bytes : 0), 0)
        const give = (client: number, count: number): void => {
          for (const write of model.filter((one) => one.client === client).slice(0, count)) {
            staged.remove(ownerOf(client), write.bytes)
            model = model.filter((one) => one !== write)
          }
        }
        for (const { client, bytes, what } of walk) {
          if (what === 'ack') give(client, 1)
          else if (what === 'close') give(client, Number.POSITIVE_INFINITY)
          else {
            // Whoever has nothing staged may stage one write, however large.
            const over = (has: number, max: number): boolean => has > 0 && has + bytes > max
            const expected = over(
              sum((one) => one === client),
              bounds.clientBytesMax,
            )
              ? 'TOO_MANY_REQUESTS client staged bytes 1000'
              : over(
                    sum((one) => one % 3 === client % 3),
                    bounds.tenantBytesMax,
                  )
                ? 'TOO_MANY_REQUESTS tenant staged bytes 1000'
                : sum(() => true) + bytes > bounds.appendBufferBytes / 2
                  ? 'UNAVAILABLE  100'
                  : undefined
            expect(refusal(staged, client, bytes)).toBe(expected)
            if (expected === undefined) {
              staged.add(ownerOf(client), bytes)
              model.push({ client, bytes })
            }
          }
          expect(staged.bytes).toBe(sum(() => true))
        }
        for (let client = 0; client <= 8; client++) give(client, Number.POSITIVE_INFINITY)
        expect([staged.bytes, staged.owners]).toEqual([0, 0])
      }),
    )
  })

  it('take one write that is larger than the bound, or it would be asked for again for ever', () => {
    const staged = new StagedBytes({ clientBytesMax: 10, tenantBytesMax: 20, appendBufferBytes: 1_000 })
    const owner = ownerOf(1)
    staged.check(owner, 50)
    staged.add(owner, 50)
    expect(() => staged.check(owner, 1)).toThrow(expect.objectContaining({ name: 'TOO_MANY_REQUESTS' }))
    staged.remove(owner, 50)
    staged.check(owner, 50)
  })

  it('of a client are not those of its namesake in another tenant', () => {
    const staged = new StagedBytes(bounds)
    const namesake = (tenant: string): ReturnType<typeof ownerOfPrincipal> =>
      ownerOfPrincipal({ tenant, clientId: 'c', subject: 's', expiresAtMs: 0 })
    staged.add(namesake('a'), 100)
    staged.check(namesake('b'), 100)
    expect(() => staged.check(namesake('a'), 1)).toThrow(expect.objectContaining({ name: 'TOO_MANY_REQUESTS' }))
  })

  it('without limits of their own may be half of the append buffer', () => {
    const staged = new StagedBytes({ appendBufferBytes: 500 })
    expect([refusal(staged, 0, 250), refusal(staged, 0, 251)]).toEqual([undefined, 'UNAVAILABLE  100'])
  })

  it('are never given back twice', () => {
    const staged = new StagedBytes(bounds)
    staged.add(ownerOf(0), 10)
    expect(() => staged.remove(ownerOf(0), 11)).toThrow('no more is removed than was added')
  })
})

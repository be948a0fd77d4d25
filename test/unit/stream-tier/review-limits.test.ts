// What a review found: staged bytes are bounded, closed sessions are forgotten, an extend out of turn changes nothing.
import { describe, expect, it } from 'vitest'
import { parseProducerId } from '../../../src/protocol/ids.ts'
import { blockOf, nameOf, SessionsWorld, settle } from './sessions-world.ts'

const session = new Uint8Array()

describe('staged writes', () => {
  it('count against the buffer of the node until they are published or the session ends', async () => {
    const world = new SessionsWorld()
    const writer = world.writer()
    await writer.ask((proof) => writer.session.write({ n: 1, blocks: [blockOf(0, 'a'.repeat(500))], proof, session }))
    expect(world.bufferedBytes).toBeGreaterThan(500)
    await writer.ask((proof) => writer.session.dispose({ proof, session }), 1)
    expect(world.bufferedBytes).toBe(0)
  })

  it('are charged once: published, only the lane counts them, and nothing is left when they have landed', async () => {
    const world = new SessionsWorld()
    const writer = world.writer()
    await writer.ask((proof) => writer.session.write({ n: 1, blocks: [blockOf(0, 'a'.repeat(500))], proof, session }))
    const acked = writer.ask((proof) => writer.session.ack({ n: 1, proof, session }))
    await settle(world)
    world.log.land()
    expect(nameOf(await acked)).toBe('answered')
    expect(world.bufferedBytes).toBe(0)
  })

  it('above what a client may stage are refused, take nothing, come again under their n, and others commit meanwhile', async () => {
    const world = new SessionsWorld()
    const block = blockOf(0, 'a'.repeat(45_000))
    const writers = ['a', 'b', 'c'].map((letter) => world.writer(parseProducerId(letter.repeat(32))))
    const [first, second, third] = writers
    if (first === undefined || second === undefined || third === undefined) throw new Error('there are three')
    const stage = (writer: typeof first, n: number): ReturnType<typeof first.ask> =>
      writer.ask((proof) => writer.session.write({ n, blocks: [block], proof, session }))
    for (const n of [1, 2])
      for (const writer of [first, second]) expect(nameOf(await stage(writer, n))).toBe('answered')
    const refused = await stage(third, 1)
    expect(refused).toMatchObject({
      error: { name: 'TOO_MANY_REQUESTS', details: { limit: 'client staged bytes' }, retryAfterMs: 1_000 },
    })
    const before = world.staged.bytes
    const committed = third.ask((proof) =>
      third.session.write({ n: 1, blocks: [blockOf(1, 'b'.repeat(45_000))], commit: true, proof, session }),
    )
    await settle(world)
    world.log.land()
    expect(nameOf(await committed)).toBe('answered')
    expect(world.staged.bytes).toBe(before)
    // An ack makes room before the log has answered.
    const acked = first.ask((proof) => first.session.ack({ n: 1, proof, session }))
    expect(nameOf(await stage(third, 2))).toBe('answered')
    await settle(world)
    world.log.land()
    expect(nameOf(await acked)).toBe('answered')
    for (const writer of writers) await writer.ask((proof) => writer.session.dispose({ proof, session }), 1)
    expect([world.staged.bytes, world.staged.owners, world.bufferedBytes]).toEqual([0, 0, 0])
  })

  it('that a refusal at the log held leave no block behind, and those staged behind it still count once', async () => {
    const world = new SessionsWorld()
    const writer = world.writer()
    const blocks = [blockOf(0, 'a'.repeat(500))]
    for (const n of [1, 2]) await writer.ask((proof) => writer.session.write({ n, blocks, proof, session }))
    const both = world.staged.bytes
    const acked = writer.ask((proof) => writer.session.ack({ n: 1, proof, session }))
    await settle(world)
    world.log.refuse('UNAVAILABLE')
    expect(nameOf(await acked)).toBe('UNAVAILABLE')
    expect(world.staged.bytes).toBe(both / 2)
    for (const n of [1, 2])
      expect(nameOf(await writer.ask((proof) => writer.session.write({ n, blocks, proof, session })))).toBe('answered')
    expect(world.staged.bytes).toBe(both)
    await writer.ask((proof) => writer.session.dispose({ proof, session }), 1)
    expect([world.staged.bytes, world.bufferedBytes]).toEqual([0, 0])
  })
})

describe('an extend', () => {
  it('of another principal is refused, and one out of turn does not change the expiry', async () => {
    const world = new SessionsWorld()
    const reader = world.reader()
    const before = reader.session.expiresAtMs
    const other = { subject: 'somebody', clientId: 'else', tenant: 't', expiresAtMs: before + 1 }
    expect(() => reader.session.extend({ proof: reader.proof(1), session }, other)).toThrow(
      expect.objectContaining({ name: 'BAD_SESSION_TOKEN' }),
    )
    const own = { ...reader.session.principal, expiresAtMs: before + 5_000 }
    const stale = { ...reader.proof(1), seq: 9 }
    expect(() => reader.session.extend({ proof: stale, session }, own)).toThrow(
      expect.objectContaining({ name: 'SEQUENCE_MISMATCH' }),
    )
    expect(reader.session.expiresAtMs).toBe(before)
  })
})

// What a review found: staged bytes are bounded, closed sessions are forgotten, an extend out of turn changes nothing.
import { describe, expect, it } from 'vitest'
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

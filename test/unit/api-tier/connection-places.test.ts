// Proves that connections are counted by address, client and tenant, that those above a limit are refused and the others go
// on, and that a place comes back once.
import { describe, expect, it } from 'vitest'
import { ConnectionPlaces } from '../../../src/api-tier/quotas/connection-places.ts'
import { addressRanges } from '../../../src/config/address-ranges.ts'

function world(limits: { address?: number; client?: number; tenant?: number }) {
  const refused: string[] = []
  const places = new ConnectionPlaces(
    {
      addressConnectionsMax: limits.address ?? 0,
      clientConnectionsMax: limits.client ?? 0,
      tenantConnectionsMax: limits.tenant ?? 0,
      sharedAddresses: addressRanges(['10.0.0.1']) ?? { check: () => false },
    },
    { refused: (limit) => void refused.push(limit) },
  )
  return { places, refused }
}

const app = { client: 'blue/app', tenant: 'blue' }
const other = { client: 'blue/other', tenant: 'blue' }
const red = { client: 'red/app', tenant: 'red' }

describe('connections of an address', () => {
  it('given as many as it may have, when one more comes, then it is refused, others come, and a closed one makes room', () => {
    const { places, refused } = world({ address: 2 })
    const leave = places.enter('192.0.2.1')
    expect([places.enter('192.0.2.1') !== undefined, places.enter('::ffff:192.0.2.1')]).toEqual([true, undefined])
    expect(places.enter('192.0.2.2')).toBeDefined()
    expect(refused).toEqual(['address connections'])
    leave?.()
    expect(places.enter('192.0.2.1')).toBeDefined()
    expect(places.enter('192.0.2.1')).toBeUndefined()
  })

  it('given many addresses of one IPv6 network, then they are one', () => {
    const { places } = world({ address: 1 })
    expect(places.enter('2001:db8::1')).toBeDefined()
    expect(places.enter('2001:db8::2')).toBeUndefined()
    expect(places.enter('2001:db8:0:1::2')).toBeDefined()
  })

  it('given a shared address, or no limit, then nothing is counted', () => {
    const shared = world({ address: 1 })
    const free = world({})
    for (let index = 0; index < 10; index++) {
      expect(shared.places.enter('10.0.0.1')).toBeDefined()
      expect(free.places.enter('192.0.2.1')).toBeDefined()
    }
  })
})

describe('connections of a client and a tenant', () => {
  it('given as many as a client may have, when it takes one more, then that one is refused and the others are still its own', () => {
    const { places, refused } = world({ client: 2 })
    const [first, second, third] = [places.seat(), places.seat(), places.seat()]
    expect([first.takenBy(app), second.takenBy(app)]).toEqual([undefined, undefined])
    const refusal = third.takenBy(app)
    expect([refusal?.name, refusal?.details, refusal?.retryAfterMs]).toEqual([
      'TOO_MANY_REQUESTS',
      { limit: 'client connections' },
      5_000,
    ])
    expect([first.isRefused, third.isRefused]).toEqual([false, true])
    expect([first.takenBy(app), places.seat().takenBy(other)]).toEqual([undefined, undefined])
    expect(refused).toEqual(['client connections'])
    first.leave()
    first.leave()
    expect([places.seat().takenBy(app), places.seat().takenBy(app)?.name]).toEqual([undefined, 'TOO_MANY_REQUESTS'])
  })

  it('given a tenant of several clients, then they are counted together, and another tenant is not', () => {
    const { places } = world({ client: 2, tenant: 3 })
    for (const asker of [app, app, other]) expect(places.seat().takenBy(asker)).toBeUndefined()
    expect(places.seat().takenBy(other)?.details).toEqual({ limit: 'tenant connections' })
    expect(places.seat().takenBy(red)).toBeUndefined()
  })

  it('given a connection that carries one client after the other, then it is the last one’s; within a full tenant it may change hands', () => {
    const { places } = world({ client: 1, tenant: 1 })
    const seat = places.seat()
    expect([seat.takenBy(app), seat.takenBy(other), seat.takenBy(red)]).toEqual([undefined, undefined, undefined])
    // What it was before is free again.
    expect(places.seat().takenBy(app)).toBeUndefined()
    expect(places.seat().takenBy(red)).toBeDefined()
    // Refused, it stays whose it was.
    expect(seat.takenBy(other)?.details).toEqual({ limit: 'tenant connections' })
    seat.leave()
    expect(places.seat().takenBy(red)).toBeUndefined()
  })

  it('given a connection that has closed, when what ran on it still proves its caller, then nothing is counted', () => {
    const { places } = world({ client: 1 })
    const gone = places.seat()
    gone.leave()
    expect(gone.takenBy(app)).toBeUndefined()
    expect(places.seat().takenBy(app)).toBeUndefined()
  })
})

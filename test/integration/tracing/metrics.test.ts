// What a gateway counts while it works, as an operator reads it: gauges come back to where they began.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { blockOf, Harness, resumeOf } from '../sessions/harness.ts'

let at: Harness
beforeEach(async () => {
  at = await Harness.start()
  await at.createTopic('counted')
})
afterEach(() => at.end())

describe('the metrics of a gateway', () => {
  it('Given writes, reads and a take-over, then each is counted, and nothing is left waiting', async () => {
    const writer = await at.writer('counted')
    await writer.call('write', { n: 1, blocks: [blockOf(0, 'a'), blockOf(1, 'b')], commit: true })
    const next = await at.writer('counted', resumeOf(writer, undefined, [{ n: 1, partitions: [0, 1] }]))
    const reader = await at.reader('counted')
    expect((await reader.call('read', { n: 1 })).count).toBe(2)
    expect(await at.metric('trunkline_blocks_sealed_total', { outcome: 'ok' })).toBe(2)
    expect(await at.metric('trunkline_seal_duration_seconds_count')).toBe(2)
    expect(await at.metric('trunkline_open_duration_seconds_count')).toBe(2)
    expect(await at.metric('trunkline_take_overs_total', { outcome: 'released' })).toBe(1)
    expect(await at.metric('trunkline_take_over_duration_seconds_count', { outcome: 'released' })).toBe(1)
    expect(await at.metric('trunkline_session_states', { state: 'open' })).toBe(2)
    for (const gauge of [
      'trunkline_append_pending_entries',
      'trunkline_append_batches_in_flight',
      'trunkline_allocations_running',
      'trunkline_switch_waiting',
    ])
      expect([gauge, await at.metric(gauge)]).toEqual([gauge, 0])
    await next.call('dispose', {}, 1)
    expect(await at.metric('trunkline_session_states', { state: 'open' })).toBe(1)
  })

  it('Given a read that waits, then an envelope waits for the node until it is answered', async () => {
    const reader = await at.reader('counted')
    const read = reader.call('read', { n: 1, waitMs: 20_000, minBytes: 1 })
    const waiting = (): Promise<number> => at.metric('trunkline_switch_waiting', { kind: 'call' })
    await at.eventually(async () => (await waiting()) === 1, 'a read that waits')
    await at.publish('counted', blockOf(0, 'x'))
    expect((await read).count).toBe(1)
    expect(await waiting()).toBe(0)
  })
})

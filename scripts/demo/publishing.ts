// Owns: publishing all events one by one, many unanswered at once, with moments at which something happens to the gateway.
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Producer } from '../../sdk/typescript/src/index.ts'
import type { Quake } from './quakes.ts'

export interface Moments {
  /** After so many acks everything unanswered is waited for, and this is done before publishing goes on. */
  readonly pauseAt: number
  readonly onPause: () => Promise<void>
  /** Called at the ack with this number, with as many events in flight as there may be; publishing goes on meanwhile. */
  readonly strikeAt: number
  readonly onStrike: () => void
}

export interface Published {
  /** Position of each event, in order. */
  readonly positions: readonly string[]
  /** Time in which events were taken and acked: without the pause, and without the outage. */
  readonly activeMs: number
  /** The longest time without an ack after the strike. */
  readonly outageMs: number
  /** Events that were handed over before the strike and acked after the outage. */
  readonly inFlight: number
}

const unansweredMax = 64

/** Rejects when a publish is refused. */
export async function publishAll(producer: Producer, quakes: readonly Quake[], moments: Moments): Promise<Published> {
  const positions = new Array<string>(quakes.length)
  const ackedAtMs: number[] = []
  const unanswered = new Set<Promise<void>>()
  let next = 0
  let handedOverAtStrike: number | undefined
  let pausedMs = 0
  const startedMs = performance.now()

  const handOver = (): void => {
    const index = next
    const quake = quakes[index]
    if (quake === undefined || unanswered.size >= unansweredMax) return
    next += 1
    const one = producer.publish(quake.event).then(([position]) => {
      unanswered.delete(one)
      positions[index] = String(position)
      ackedAtMs.push(performance.now())
      if (ackedAtMs.length === moments.strikeAt) strike()
    })
    unanswered.add(one)
  }
  const strike = (): void => {
    // As many as may be out are; a turn later they have left, and no answer can have come.
    for (let left = unansweredMax - unanswered.size; left > 0; left -= 1) handOver()
    setImmediate(() => {
      handedOverAtStrike = next
      moments.onStrike()
    })
  }

  while (next < quakes.length) {
    if (next === moments.pauseAt && pausedMs === 0) {
      await Promise.all(unanswered)
      const pauseStartedMs = performance.now()
      await moments.onPause()
      pausedMs = performance.now() - pauseStartedMs
    }
    if (unanswered.size >= unansweredMax) await Promise.race(unanswered)
    handOver()
    // Publishes of one turn of the event loop leave as one write: a turn each keeps several writes in flight.
    await nextTurn()
  }
  await Promise.all(unanswered)
  const totalMs = performance.now() - startedMs
  if (handedOverAtStrike === undefined) throw new Error('too few events for the strike')
  const outage = longestGap(ackedAtMs, moments.strikeAt)
  return {
    positions,
    activeMs: totalMs - pausedMs - outage.lengthMs,
    outageMs: outage.lengthMs,
    // Acks come in order, so that what was acked by then is a count.
    inFlight: Math.max(0, handedOverAtStrike - outage.ackedBefore),
  }
}

function longestGap(
  timesMs: readonly number[],
  from: number,
): { readonly lengthMs: number; readonly ackedBefore: number } {
  let longest = { lengthMs: 0, ackedBefore: timesMs.length }
  for (let index = from; index < timesMs.length; index += 1) {
    const lengthMs = (timesMs[index] ?? 0) - (timesMs[index - 1] ?? 0)
    if (lengthMs > longest.lengthMs) longest = { lengthMs, ackedBefore: index }
  }
  return longest
}

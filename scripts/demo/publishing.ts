// Owns: publishing all events one by one, many unanswered at once, with moments at which something happens to the gateway.
import type { Producer } from '../../sdk/typescript/src/index.ts'
import type { Quake } from './quakes.ts'

export interface Moments {
  /** After so many acks everything unanswered is waited for, and this is done before publishing goes on. */
  readonly pauseAt: number
  readonly onPause: () => Promise<void>
  /** Called in the very turn of the ack with this number; publishing goes on meanwhile. */
  readonly strikeAt: number
  readonly onStrike: (unanswered: number) => void
}

export interface Published {
  /** Position of each event, in order. */
  readonly positions: readonly string[]
  /** Time in which events were taken and acked: without the pause, and without the gap that the strike made. */
  readonly activeMs: number
  /** From the strike to the next ack. */
  readonly gapMs: number
}

const unansweredMax = 64

/** Rejects when a publish is refused. */
export async function publishAll(producer: Producer, quakes: readonly Quake[], moments: Moments): Promise<Published> {
  const positions = new Array<string>(quakes.length)
  const unanswered = new Set<Promise<void>>()
  let acked = 0
  let activeMs = 0
  let gapMs = 0
  let struckMs: number | undefined
  let sinceMs = performance.now()

  const onAck = (): void => {
    acked += 1
    const nowMs = performance.now()
    if (struckMs !== undefined) {
      gapMs = nowMs - struckMs
      struckMs = undefined
      sinceMs = nowMs
    }
    if (acked === moments.strikeAt) {
      activeMs += nowMs - sinceMs
      struckMs = nowMs
      moments.onStrike(unanswered.size - 1)
    }
  }

  for (const [index, quake] of quakes.entries()) {
    if (index === moments.pauseAt) {
      await Promise.all(unanswered)
      activeMs += performance.now() - sinceMs
      await moments.onPause()
      sinceMs = performance.now()
    }
    const one = producer.publish(quake.event).then(([position]) => {
      positions[index] = String(position)
      onAck()
      unanswered.delete(one)
    })
    unanswered.add(one)
    if (unanswered.size >= unansweredMax) await Promise.race(unanswered)
  }
  await Promise.all(unanswered)
  activeMs += performance.now() - sinceMs
  return { positions, activeMs, gapMs }
}

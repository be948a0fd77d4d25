// Owns: fetching at the end of the log, once for the whole node: one long poll per broker over all partitions that
// anybody follows (and a second one for plain topics, whose readers see committed records only).
// 1. A partition is followed from the moment somebody has read to its end until nobody has asked for `tailUnusedMs`.
// 2. What a poll brings wakes those who wait for that partition, and nobody else.
// 3. A broker that does not answer, or a partition without a leader, holds up no other broker's poll.
// 4. Memory: all subscriptions together keep about `bytesMaxTotal`.
// Leaves out: who waits and for how long (waiting-reader.ts).
import { setMaxListeners } from 'node:events'
import { type Clock, sleep, type Timer } from '../../ports/clock.ts'
import type { FetchedAnswer, FetchedPartition } from './api-fetch.ts'
import { fetchRequest } from './api-fetch.ts'
import type { BrokerAddress } from './api-metadata.ts'
import { recordsOf } from './fetched-records.ts'
import { isMetadataStale, kafkaCode } from './kafka-codes.ts'
import type { Lane } from './lane.ts'
import { type Led, leadershipOf } from './leaders.ts'
import type { Metadata } from './metadata.ts'
import type { KafkaMetrics } from './metrics.ts'
import type { KafkaSettings } from './settings.ts'
import { type TailPlace, type TailRead, TailSubscription } from './tail-subscription.ts'
import { TransportError } from './transport-error.ts'

export interface TailParts {
  readonly metadata: Metadata
  /** Lanes of its own: a parked poll blocks its connection. One for sealed topics, one for plain ones. */
  readonly lanes: Readonly<Record<'sealed' | 'plain', Lane>>
  readonly clock: Clock
  readonly settings: KafkaSettings
  readonly metrics: KafkaMetrics
  readonly onProblem: (problem: unknown) => void
}

const bytesMaxTotal = 64 * 1024 * 1024
const bytesMaxEach = 1024 * 1024
const bytesMinEach = 64 * 1024
const requestBytesMax = 8 * 1024 * 1024
const shareBytesMax = 1024 * 1024
/** A request names every partition: with many of them, polls that are answered at once would cost more than they bring. */
const paceUsPerPartition = 20
const paceMsMax = 20

type Format = 'sealed' | 'plain'

interface Followed {
  readonly subscription: TailSubscription
  readonly offset: number
  readonly led: Led
}

export class Tail {
  readonly #parts: TailParts
  readonly #subscriptions = new Map<string, TailSubscription>()
  readonly #polls = new Set<string>()
  readonly #end = new AbortController()
  #homeless: Timer | undefined

  constructor(parts: TailParts) {
    this.#parts = parts
    // One listener per fetch that waits.
    setMaxListeners(0, this.#end.signal)
  }

  /** What is known of a position without asking the broker; undefined when nothing is. */
  read(topicId: string, partition: number, offset: number): TailRead | undefined {
    const subscription = this.#subscriptions.get(keyOf(topicId, partition))
    if (subscription === undefined) return undefined
    subscription.usedMs = this.#parts.clock.monotonicMs()
    return subscription.read(offset)
  }

  /** Follows a partition from where somebody has read up to. */
  follow(place: TailPlace, at: { offset: number; logStart: number; highWatermark: number }): void {
    if (this.#end.signal.aborted) return
    const key = keyOf(place.topicId, place.partition)
    const nowMs = this.#parts.clock.monotonicMs()
    const known = this.#subscriptions.get(key)
    if (known === undefined) {
      this.#subscriptions.set(key, new TailSubscription(place, at, nowMs))
      this.#parts.metrics.tailSubscriptions(this.#subscriptions.size)
    } else if (at.offset > known.position && known.waiters.size === 0) {
      // With somebody waiting, the poll that is under way gets there by itself, and leaves out nothing.
      known.move(at)
    }
    this.#startPolls()
  }

  /** Nobody could be asked about it lately. */
  isFailing(topicId: string, partition: number): boolean {
    return this.#subscriptions.get(keyOf(topicId, partition))?.isFailing === true
  }

  /** Calls once, at the next change of one of the partitions or at close(); the answer takes it back. */
  onChange(
    places: readonly { readonly topicId: string; readonly partition: number }[],
    callback: () => void,
  ): () => void {
    const subscriptions = places.flatMap(
      ({ topicId, partition }) => this.#subscriptions.get(keyOf(topicId, partition)) ?? [],
    )
    for (const { waiters } of subscriptions) waiters.add(callback)
    this.#end.signal.addEventListener('abort', callback)
    return () => {
      for (const { waiters } of subscriptions) waiters.delete(callback)
      this.#end.signal.removeEventListener('abort', callback)
    }
  }

  close(): void {
    this.#end.abort()
    this.#homeless?.cancel()
    this.#subscriptions.clear()
    for (const lane of Object.values(this.#parts.lanes)) lane.close()
  }

  #startPolls(): void {
    if (this.#end.signal.aborted) return
    let homeless = false
    for (const { place } of this.#subscriptions.values()) {
      const led = this.#leadershipOf(place)
      if (led?.kind === 'led') this.#startPoll(led.leader, place.format)
      else homeless = true
    }
    if (homeless) this.#findHomes()
  }

  #startPoll(leader: BrokerAddress, format: Format): void {
    const key = `${leader.nodeId}/${format}`
    if (this.#polls.has(key)) return
    this.#polls.add(key)
    void this.#poll(leader.nodeId, format)
      .catch((problem: unknown) => this.#parts.onProblem(problem))
      .finally(() => {
        this.#polls.delete(key)
        // Something may have come for this broker in its last moment.
        this.#startPolls()
      })
  }

  /** Partitions without a leader, or in doubt: asks until each has one or nobody wants it any more. */
  #findHomes(): void {
    if (this.#homeless !== undefined) return
    const { clock, settings, metadata } = this.#parts
    this.#homeless = clock.after(settings.metadataPauseMs, () => {
      this.#dropUnused()
      const names = new Set<string>()
      for (const subscription of this.#subscriptions.values()) {
        if (this.#leadershipOf(subscription.place)?.kind === 'led') continue
        subscription.isFailing = true
        names.add(subscription.place.topic)
      }
      const asked = names.size === 0 ? Promise.resolve() : metadata.refresh([...names])
      void asked
        // The next turn asks again.
        .catch(() => {})
        .finally(() => {
          this.#homeless = undefined
          this.#dropGone()
          this.#startPolls()
        })
    })
  }

  async #poll(nodeId: number, format: Format): Promise<void> {
    const { clock, metadata, settings } = this.#parts
    const { signal } = this.#end
    while (!signal.aborted) {
      this.#dropUnused()
      this.#dropGone()
      const followed = this.#followedAt(nodeId, format)
      const leader = metadata.broker(nodeId)
      if (followed.length === 0 || leader === undefined) return
      const startedMs = clock.monotonicMs()
      const answer = await this.#ask(leader, format, followed)
      if (answer === undefined) {
        for (const { subscription } of followed) {
          subscription.isFailing = true
          metadata.doubt(subscription.place.topic)
        }
        this.#startPolls()
        await sleep(clock, settings.metadataPauseMs, signal)
        continue
      }
      const isTroubled = this.#take(answer, followed)
      if (isTroubled) {
        this.#startPolls()
        await sleep(clock, settings.metadataPauseMs, signal)
      }
      const paceMs = Math.min(paceMsMax, (followed.length * paceUsPerPartition) / 1_000)
      const leftMs = startedMs + Math.max(paceMs, answer.throttleMs) - clock.monotonicMs()
      if (leftMs >= 1) await sleep(clock, leftMs, signal)
    }
  }

  #followedAt(nodeId: number, format: Format): readonly Followed[] {
    const followed: Followed[] = []
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.place.format !== format) continue
      const led = this.#leadershipOf(subscription.place)
      if (led?.kind !== 'led' || led.leader.nodeId !== nodeId) continue
      followed.push({ subscription, offset: subscription.position, led })
    }
    return followed
  }

  async #ask(leader: BrokerAddress, format: Format, followed: readonly Followed[]): Promise<FetchedAnswer | undefined> {
    const { lanes, settings, metrics } = this.#parts
    const request = fetchRequest({
      waitMs: settings.tailWaitMs,
      bytesMax: requestBytesMax,
      committedOnly: format === 'plain',
      partitions: followed.map(({ subscription: { place }, offset, led }) => ({
        topicId: place.topicId,
        partition: place.partition,
        leaderEpoch: led.leaderEpoch,
        offset,
        bytesMax: shareBytesMax,
      })),
    })
    try {
      const answer = await lanes[format].request(leader, request, settings.tailWaitMs + settings.graceMs)
      if (answer.throttleMs > 0) metrics.throttled('Fetch', answer.throttleMs)
      return answer.error === kafkaCode.none ? answer : undefined
    } catch (error) {
      if (error instanceof TransportError) return undefined
      throw error
    }
  }

  /** True when who leads has to be asked again. */
  #take(answer: FetchedAnswer, followed: readonly Followed[]): boolean {
    const byKey = new Map(followed.map((one) => [keyOf(one.led.topic.topicId, one.subscription.place.partition), one]))
    let isTroubled = false
    for (const one of answer.partitions) {
      const key = keyOf(one.topicId, one.partition)
      const mine = byKey.get(key)
      // Dropped, or moved on while the poll was parked: what came does not fit any more.
      if (mine === undefined || this.#subscriptions.get(key) !== mine.subscription) continue
      if (mine.subscription.position !== mine.offset) continue
      if (this.#takeOne(mine.subscription, one, key)) isTroubled = true
    }
    return isTroubled
  }

  #takeOne(subscription: TailSubscription, one: FetchedPartition, key: string): boolean {
    const { metadata, metrics } = this.#parts
    if (one.error !== kafkaCode.none) {
      subscription.isFailing = true
      if (isMetadataStale(one.error)) metadata.doubt(subscription.place.topic)
      // Retention passed it, or the log lost its end: whoever asks again is told what is there.
      if (one.error === kafkaCode.offsetOutOfRange) this.#drop(key, subscription)
      return true
    }
    subscription.isFailing = false
    const { records, nextOffset, damagedBatches } = recordsOf(one, subscription.position)
    for (let count = damagedBatches; count > 0; count--) metrics.damagedBatch()
    subscription.logStart = one.logStart
    subscription.highWatermark = subscription.place.format === 'plain' ? one.lastStableOffset : one.highWatermark
    if (nextOffset === subscription.position) return false
    metrics.fetched('tail', records.length, one.bytes.length)
    const bytesMax = Math.max(bytesMinEach, Math.min(bytesMaxEach, bytesMaxTotal / this.#subscriptions.size))
    subscription.take(records, nextOffset, bytesMax)
    subscription.wake()
    return false
  }

  #leadershipOf(place: TailPlace): Led | { readonly kind: 'none' } {
    const { metadata } = this.#parts
    const led = leadershipOf(metadata, metadata.known(place.topic), place.partition)
    return led.kind === 'led' && led.topic.topicId === place.topicId ? led : { kind: 'none' }
  }

  #dropUnused(): void {
    const { clock, settings } = this.#parts
    const sinceMs = clock.monotonicMs() - settings.tailUnusedMs
    for (const [key, subscription] of this.#subscriptions) {
      if (subscription.waiters.size === 0 && subscription.usedMs < sinceMs) this.#drop(key, subscription)
    }
  }

  /** Topics that were deleted or made anew: whoever waits asks again and is told. */
  #dropGone(): void {
    const { metadata } = this.#parts
    for (const [key, subscription] of this.#subscriptions) {
      const { topic, topicId } = subscription.place
      const known = metadata.known(topic)
      if (known === undefined ? metadata.isAbsent(topic) : known.topicId !== topicId) this.#drop(key, subscription)
    }
  }

  #drop(key: string, subscription: TailSubscription): void {
    this.#subscriptions.delete(key)
    this.#parts.metrics.tailSubscriptions(this.#subscriptions.size)
    subscription.wake()
  }
}

function keyOf(topicId: string, partition: number): string {
  return `${topicId}/${partition}`
}

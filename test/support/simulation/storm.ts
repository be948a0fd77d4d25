// Owns: the weather of a walk: which faults a seed has, when each comes, and the healing.
import type { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import type { BrokerCode } from '../../../src/adapters/log-core/log-broker.ts'
import type { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { parseTopicName } from '../../../src/protocol/ids.ts'
import { type FaultPlan, noFaults, randomFaults } from '../faulty-switchboard.ts'
import type { SimCluster } from '../sim-log/sim-cluster.ts'
import { calm } from '../sim-log/sim-faults.ts'
import type { SimTopicFacts } from './client-world.ts'
import { shareWithin, within } from './draw.ts'
import type { FaultKind, Profile } from './profile.ts'
import type { SimApi } from './sim-api.ts'
import { calmLink, type LinkFaults } from './sim-link.ts'
import type { SimNode } from './sim-node.ts'
import type { Trace } from './trace.ts'

export interface StormParts {
  readonly clock: SimulatedClock
  readonly random: SeededRandom
  readonly trace: Trace
  readonly profile: Profile
  readonly cluster: SimCluster
  readonly linkFaults: LinkFaults
  readonly topics: readonly SimTopicFacts[]
  readonly nodes: readonly SimNode[]
  readonly apis: readonly SimApi[]
  readonly abandonClient: () => void
  readonly restartReader: () => void
}

const burstMs = { min: 200, max: 3_000 }
const betweenBurstsMs = { min: 200, max: 4_000 }

export class Storm {
  readonly enabled: ReadonlySet<FaultKind>
  readonly #parts: StormParts
  #plan: FaultPlan = noFaults
  #isOver = false
  #refuseShare = 0

  constructor(parts: StormParts) {
    this.#parts = parts
    const { profile, random } = parts
    const kinds = Object.entries(profile.faults) as [FaultKind, number][]
    this.enabled = new Set(kinds.filter(([, share]) => random.chance(share)).map(([kind]) => kind))
  }

  get switchboardPlan(): FaultPlan {
    return (call) => this.#plan(call)
  }

  /** Whether the brokers refuse the batch at hand. */
  refuses(): BrokerCode | undefined {
    const { random } = this.#parts
    if (this.#refuseShare === 0 || !random.chance(this.#refuseShare)) return undefined
    this.#fired('refuse')
    return random.pick(refusals)
  }

  begin(): void {
    const { profile, random } = this.#parts
    this.#setBrokers()
    this.#calmLink()
    const nodeFaultMs = within(random, profile.nodeFaultMs)
    if ([...this.enabled].some((kind) => nodeFaults.has(kind))) {
      this.#again(nodeFaultMs, () => this.#nodeFault())
    }
    if (apiFaultList.some((kind) => this.enabled.has(kind))) this.#again(2_000, () => this.#apiFault())
    if (this.enabled.has('failover')) this.#again(within(random, profile.failoverMs), () => this.#failover())
    if (this.enabled.has('abandon')) this.#again(4_000, () => this.#parts.abandonClient())
    this.#again(3_000, () => this.#parts.restartReader())
    if (this.enabled.has('link'))
      this.#bursts(
        'link',
        () => this.#breakLink(),
        () => this.#calmLink(),
      )
    if (this.enabled.has('cut'))
      this.#bursts(
        'cut',
        () => this.#cut(true),
        () => this.#cut(false),
      )
    if (this.enabled.has('switchboard')) {
      this.#bursts(
        'switchboard',
        () => this.#breakSwitchboard(),
        () => this.#calmSwitchboard(),
      )
    }
  }

  /** Nothing goes wrong any more; what stands still goes on by itself. */
  heal(): void {
    this.#isOver = true
    this.#refuseShare = 0
    this.#calmLink()
    this.#cut(false)
    this.#calmSwitchboard()
    for (const api of this.#parts.apis) api.revive()
    Object.assign(this.#parts.cluster.faults, calm)
    this.#parts.trace.note('healed')
  }

  #again(meanMs: number, work: () => void): void {
    const { clock, random } = this.#parts
    clock.after(2 * meanMs * random.fraction(), () => {
      if (this.#isOver) return
      work()
      this.#again(meanMs, work)
    })
  }

  #bursts(kind: FaultKind, begin: () => void, end: () => void): void {
    const { clock, random, trace } = this.#parts
    clock.after(within(random, betweenBurstsMs), () => {
      if (this.#isOver) return
      this.#fired(kind)
      begin()
      clock.after(within(random, burstMs), () => {
        if (this.#isOver) return
        trace.note(`${kind} ends`)
        end()
        this.#bursts(kind, begin, end)
      })
    })
  }

  #fired(kind: FaultKind): void {
    this.#parts.trace.note(`fault ${kind}`)
    this.#parts.trace.count(`fault ${kind}`)
  }

  #nodeFault(): void {
    const { random, nodes } = this.#parts
    const kind = random.pick(nodeFaultList.filter((one) => this.enabled.has(one)))
    const node = random.pick(nodes)
    this.#fired(kind)
    switch (kind) {
      case 'kill':
        node.kill(0)
        break
      case 'silentKill':
        node.kill(200 + random.below(5_000))
        break
      case 'pause':
        node.pause(50 + random.below(6_000))
        break
      case 'zombie':
        node.zombie(random.below(6_000), 5_000 + random.below(10_000))
        break
      case 'jump': {
        const mostMs = random.chance(0.5) ? 5 * 60_000 : 30 * 60_000
        node.jump(random.below(2 * mostMs) - mostMs)
        break
      }
      case 'drain':
        node.drain()
        break
    }
  }

  #apiFault(): void {
    const { random, apis } = this.#parts
    const kind = random.pick(apiFaultList.filter((one) => this.enabled.has(one)))
    const api = random.pick(apis)
    const deadMs = 100 + random.below(2_000)
    this.#fired(kind)
    switch (kind) {
      case 'apiKill':
        api.kill(deadMs)
        break
      case 'apiHang':
        api.hang(500 + random.below(5_000), deadMs)
        break
      case 'apiDrain':
        api.drain(50 + random.below(2_000), deadMs)
        break
    }
  }

  #failover(): void {
    const { random, cluster, topics } = this.#parts
    const topic = random.pick(topics)
    this.#fired('failover')
    cluster.failover({ topic: parseTopicName(topic.name), partition: random.below(topic.partitions) })
  }

  #setBrokers(): void {
    const { profile, random, cluster } = this.#parts
    const { faults } = cluster
    if (this.enabled.has('air')) {
      faults.air = shareWithin(random, profile.airShare)
      faults.airTwice = 0.3
      faults.airMsMax = within(random, profile.airMsMax)
    }
    if (this.enabled.has('append')) {
      faults.requestLost = 0.1 * random.fraction()
      faults.answerLost = 0.15 * random.fraction()
    }
    if (this.enabled.has('refuse')) this.#refuseShare = 0.03 * random.fraction()
    if (this.enabled.has('coordinator')) {
      faults.coordinatorGone = 0.3 * random.fraction()
      faults.raiseLost = 0.3 * random.fraction()
    }
    if (this.enabled.has('fetch')) faults.fetchLost = 0.1 * random.fraction()
    if (this.enabled.has('slowReplicas')) faults.replicationMsMax = within(random, profile.replicationMsMax)
    faults.delayMsMax = random.chance(0.5) ? 1 : 20
    faults.electionMs = 10 + random.below(500)
  }

  #breakLink(): void {
    const { random, linkFaults, profile } = this.#parts
    linkFaults.delayMsMax = random.chance(0.5) ? 5 : 200
    linkFaults.requestLost = 0.15 * random.fraction()
    linkFaults.replyLost = 0.2 * random.fraction()
    linkFaults.duplicate = 0.3 * random.fraction()
    linkFaults.broken = 0.2 * random.fraction()
    linkFaults.replyLate = 0.2 * random.fraction()
    linkFaults.lateMsMax = within(random, profile.lateMsMax)
  }

  #calmLink(): void {
    const { linkFaults, profile } = this.#parts
    const { cut } = linkFaults
    Object.assign(linkFaults, calmLink, this.#isOver ? {} : profile.link, { cut })
  }

  #cut(cut: boolean): void {
    this.#parts.linkFaults.cut = cut
  }

  #breakSwitchboard(): void {
    const { random } = this.#parts
    this.#plan = randomFaults(random, {
      drop: 0.15 * random.fraction(),
      delay: random.fraction(),
      delayMsMax: random.chance(0.7) ? 50 : 2_000,
      repeat: 0.2 * random.fraction(),
    })
  }

  #calmSwitchboard(): void {
    this.#plan = noFaults
  }
}

const nodeFaultList = ['kill', 'silentKill', 'pause', 'zombie', 'jump', 'drain'] as const
const apiFaultList = ['apiKill', 'apiHang', 'apiDrain'] as const
const refusals: readonly BrokerCode[] = ['INVALID_RECORD', 'TOPIC_AUTHORIZATION_FAILED', 'STORAGE_FULL']
const nodeFaults: ReadonlySet<FaultKind> = new Set(nodeFaultList)

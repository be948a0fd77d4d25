// Owns: what a walk is made of: how large the world is and which faults it may have. A seed draws from its profile.
// 1. Swarm: a seed has each fault of its profile only by chance, so that faults are met alone and together.

import type { LinkFaults } from './sim-link.ts'

export type FaultKind =
  /** A node's process ends; the switchboard knows at once. */
  | 'kill'
  /** As kill, and the switchboard learns of it seconds later. */
  | 'silentKill'
  /** A node's process stands still for a while. */
  | 'pause'
  /** It stands still, is given up by the switchboard, goes on later. */
  | 'zombie'
  /** A node is asked to stop, and another starts. */
  | 'drain'
  /** A node's wall clock is set, forwards or back, a little or by more than a writer may stand still. */
  | 'jump'
  /** A process of the API tier ends, and another starts. */
  | 'apiKill'
  /** Its host is gone from the network for a while, and then it. */
  | 'apiHang'
  /** It is asked to stop, and another starts. */
  | 'apiDrain'
  /** A client's process ends in the middle. */
  | 'abandon'
  /** Bursts of lost, late, doubled calls between clients and gateway. */
  | 'link'
  /** Nobody reaches the gateway. */
  | 'cut'
  /** Bursts of lost, late, doubled calls through the switchboard. */
  | 'switchboard'
  /** A partition gets another leader, which has only what was replicated. */
  | 'failover'
  /** Append requests that arrive late, or twice, after their connection broke. */
  | 'air'
  /** Append requests and answers that get lost. */
  | 'append'
  /** The brokers refuse a batch for good: nothing of it lands. */
  | 'refuse'
  /** The coordinator is away, or its answers get lost. */
  | 'coordinator'
  /** Fetches fail. */
  | 'fetch'
  /** Replication takes long. */
  | 'slowReplicas'

export interface Range {
  readonly min: number
  readonly max: number
}

export interface Profile {
  readonly name: string
  readonly nodes: Range
  readonly apiNodes: Range
  readonly topics: Range
  readonly partitions: Range
  readonly producers: Range
  /** Clients that stage and ack by hand. */
  readonly rawWriters: Range
  readonly readers: Range
  /** Simulated time with faults. */
  readonly stormMs: Range
  /** Between two publishes of a producer, on average. */
  readonly thinkMs: Range
  /** Publishes of a producer that are not answered. */
  readonly pipeline: Range
  /** Events of one publish. */
  readonly eventsPerPublish: Range
  readonly payloadBytesMax: number
  /** Between two node faults, on average. */
  readonly nodeFaultMs: Range
  readonly failoverMs: Range
  /** Chance that a seed has the fault at all. */
  readonly faults: Partial<Readonly<Record<FaultKind, number>>>
  /** How often appends get into the air, and for how long. */
  readonly airShare: Range
  readonly airMsMax: Range
  readonly replicationMsMax: Range
  /** Client: how long an allocate is waited for, how long any other call. */
  readonly allocatePatienceMs: Range
  readonly callTimeoutMs: Range
  /** Late calls: how much later they arrive. */
  readonly lateMsMax: Range
  readonly appendDeadlineMs: Range
  /** How the link is between its bursts, until the healing. Default calm. */
  readonly link?: Partial<LinkFaults>
  /** All topics are plain, and a stranger writes into them as well. Default false. */
  readonly plain?: boolean
}

export const walkProfile: Profile = {
  name: 'walk',
  nodes: { min: 2, max: 4 },
  apiNodes: { min: 1, max: 3 },
  topics: { min: 1, max: 3 },
  partitions: { min: 2, max: 4 },
  producers: { min: 2, max: 4 },
  rawWriters: { min: 0, max: 2 },
  readers: { min: 1, max: 3 },
  stormMs: { min: 10_000, max: 30_000 },
  thinkMs: { min: 20, max: 300 },
  pipeline: { min: 1, max: 12 },
  eventsPerPublish: { min: 1, max: 4 },
  payloadBytesMax: 600,
  nodeFaultMs: { min: 1_000, max: 6_000 },
  failoverMs: { min: 200, max: 3_000 },
  faults: {
    kill: 0.5,
    silentKill: 0.4,
    pause: 0.5,
    zombie: 0.4,
    drain: 0.3,
    jump: 0.2,
    abandon: 0.4,
    link: 0.6,
    cut: 0.2,
    switchboard: 0.5,
    failover: 0.6,
    air: 0.6,
    append: 0.5,
    refuse: 0.3,
    coordinator: 0.3,
    fetch: 0.3,
    slowReplicas: 0.4,
    apiKill: 0.4,
    apiHang: 0.3,
    apiDrain: 0.3,
  },
  airShare: { min: 0.02, max: 0.2 },
  airMsMax: { min: 500, max: 10_000 },
  replicationMsMax: { min: 3, max: 200 },
  allocatePatienceMs: { min: 300, max: 12_000 },
  callTimeoutMs: { min: 300, max: 15_000 },
  lateMsMax: { min: 500, max: 10_000 },
  appendDeadlineMs: { min: 3_000, max: 30_000 },
}

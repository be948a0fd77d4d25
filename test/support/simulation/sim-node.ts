// Owns: one place of the stream tier: a node that runs there, ends in any way, and is followed by the next incarnation.
import type { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import type { InProcessHub } from '../../../src/adapters/in-process/in-process-switchboard.ts'
import { FencedLog } from '../../../src/adapters/log-core/fenced-log.ts'
import type { BrokerCode } from '../../../src/adapters/log-core/log-broker.ts'
import type { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import type { GatewayKeys } from '../../../src/crypto/gateway-keys.ts'
import type { LogFields, Logger } from '../../../src/observability/log.ts'
import type { KeyProvider } from '../../../src/ports/key-provider.ts'
import { type Incarnation, makeIncarnation } from '../../../src/protocol/ids.ts'
import { defaultLimits } from '../../../src/protocol/limits.ts'
import type { StreamMetrics } from '../../../src/stream-tier/stream-metrics.ts'
import { StreamNode } from '../../../src/stream-tier/stream-node.ts'
import { type FaultPlan, FaultySwitchboard } from '../faulty-switchboard.ts'
import type { SimCluster } from '../sim-log/sim-cluster.ts'
import { textOfThrown } from './draw.ts'
import { Gate, GatedClock } from './gate.ts'
import { GatedBroker } from './sim-broker.ts'
import { GatedSwitchboard } from './sim-switchboard.ts'
import type { Trace } from './trace.ts'

export interface NodeWorld {
  readonly clock: SimulatedClock
  readonly random: SeededRandom
  readonly trace: Trace
  readonly hub: InProcessHub
  readonly cluster: SimCluster
  readonly keys: KeyProvider
  readonly gatewayKeys: GatewayKeys
  /** Asked for each call: faults come and go. */
  readonly switchboardPlan: FaultPlan
  readonly appendDeadlineMs: number
  /** Asked for each batch: whether, and with what code, the brokers refuse it. */
  readonly refuses: () => BrokerCode | undefined
  readonly onDefect: (text: string) => void
}

interface Running {
  readonly gate: Gate
  readonly clock: GatedClock
  readonly key: Incarnation
  readonly node: StreamNode
}

/** Between the end of one incarnation and the start of the next. */
const restartMs = 300

export class SimNode {
  readonly name: string
  readonly #world: NodeWorld
  #epoch = 0
  #running: Running | undefined

  constructor(name: string, world: NodeWorld) {
    this.name = name
    this.#world = world
  }

  /** Settles when it serves for the first time. */
  start(): Promise<void> {
    return this.#boot()
  }

  /** The process is gone. The switchboard learns of it after `noticedMs`. */
  kill(noticedMs: number): void {
    const running = this.#end('kill')
    if (running === undefined) return
    const { clock, hub } = this.#world
    running.gate.kill()
    if (noticedMs === 0) hub.kill(running.key)
    else clock.after(noticedMs, () => hub.kill(running.key))
    this.#follow()
  }

  /** The process stands still for `forMs`, and then goes on as if nothing had been. */
  pause(forMs: number): void {
    const running = this.#running
    if (running === undefined || !running.gate.isRunning) return
    const { clock, trace } = this.#world
    trace.note(`${running.key} pauses for ${forMs}`)
    running.gate.pause()
    clock.after(forMs, () => {
      trace.note(`${running.key} goes on`)
      running.gate.resume()
    })
  }

  /** Stands still for `forMs`, and is given up: when it goes on, another one serves, and nobody calls it. */
  zombie(forMs: number, goesOnForMs: number): void {
    const running = this.#end('zombie')
    if (running === undefined) return
    const { clock, hub, trace } = this.#world
    running.gate.pause()
    hub.kill(running.key)
    clock.after(forMs, () => {
      trace.note(`zombie ${running.key} goes on`)
      running.gate.resume()
      clock.after(goesOnForMs, () => running.gate.kill())
    })
    this.#follow()
  }

  /** The process's wall clock is set. */
  jump(byMs: number): void {
    this.#world.trace.note(`${this.#running?.key} clock jumps by ${byMs}`)
    this.#running?.clock.jumpWall(byMs)
  }

  /** Asked to stop; another one starts when it has. */
  drain(): void {
    const running = this.#running
    if (running === undefined) return
    this.#world.trace.note(`${running.key} drains`)
    void running.node.drain()
  }

  /** Ends for good. */
  stop(): void {
    const running = this.#end('stop')
    running?.gate.kill()
  }

  #end(how: string): Running | undefined {
    const running = this.#running
    this.#running = undefined
    if (running !== undefined) this.#world.trace.note(`${running.key} ${how}`)
    return running
  }

  #follow(): void {
    this.#world.clock.after(restartMs, () => void this.#boot())
  }

  async #boot(): Promise<void> {
    const { clock, random, trace, hub, cluster, keys, gatewayKeys } = this.#world
    this.#epoch += 1
    const key = makeIncarnation(this.name, `e${this.#epoch}`)
    const gate = new Gate(clock)
    const nodeClock = new GatedClock(clock, gate)
    const nodeRandom = random.fork(key)
    const broker = new GatedBroker(cluster.broker(key), gate, trace, key, this.#world.refuses)
    const log = new FencedLog({
      broker,
      clock: nodeClock,
      random: nodeRandom.fork('log'),
      settings: { appendDeadlineMs: this.#world.appendDeadlineMs },
    })
    const link = new FaultySwitchboard(hub.connect(), clock, (call) => this.#world.switchboardPlan(call))
    const node = new StreamNode({
      incarnation: key,
      log,
      switchboard: new GatedSwitchboard(link, gate),
      keys,
      gatewayKeys,
      clock: nodeClock,
      random: nodeRandom,
      limits: defaultLimits,
      bounds: {
        sessionsMax: 1_000,
        allocationsMax: 64,
        readCacheBytes: 4 * 1024 * 1024,
        appendBufferBytes: 16 * 1024 * 1024,
        // Any write fits, two large ones do not.
        clientStagedBytesMax: 3_200,
        drainTimeoutMs: 5_000,
      },
      topics: { autoCreate: false, partitions: 1 },
      metrics: this.#metrics(),
      logger: this.#logger(key),
      version: 'simulated',
    })
    const running = { gate, clock: nodeClock, key, node }
    this.#running = running
    trace.note(`${key} boots`)
    void node.ended.then((end) => {
      trace.note(`${key} ended: ${end}`)
      trace.count(`node ends: ${end}`)
      if (this.#running !== running) return
      this.#running = undefined
      this.#follow()
    })
    // When the log is away, `ended` says so and the next one follows.
    await node
      .boot()
      .catch((thrown: unknown) => trace.note(`${key} did not boot: ${textOfThrown(thrown).split('\n', 1)[0]}`))
  }

  #metrics(): StreamMetrics {
    const { trace, onDefect } = this.#world
    return {
      takenOver: (how) => trace.count(`take-overs ${how}`),
      unknownEvent: (machine, event) => onDefect(`${machine} machine: unknown event ${event}`),
      sessionOpened: (mode) => trace.count(`sessions ${mode}`),
      sessionClosed: (mode, reason) => trace.count(`session ends: ${mode} ${reason}`),
      batch: (outcome, entries) => {
        trace.count(`batches ${outcome}`)
        if (entries > 1) trace.count('batches joined')
      },
      buffered: () => undefined,
      call: () => undefined,
      published: () => undefined,
      delivered: () => undefined,
      opened: () => undefined,
      lookedUp: () => undefined,
      fetched: () => undefined,
      tailWaiters: () => undefined,
      fenced: (outcome) => trace.count(`fences ${outcome}`),
      drained: (outcome) => trace.count(`drains ${outcome}`),
      sealed: () => undefined,
      openTook: () => undefined,
      appending: () => undefined,
      pending: () => undefined,
      allocating: () => undefined,
      sessionStates: () => undefined,
    }
  }

  #logger(key: Incarnation): Logger {
    const { trace, onDefect } = this.#world
    const note = (level: string, fields: LogFields, message: string): void =>
      trace.note(`${key} ${level} ${message} ${fields.err instanceof Error ? fields.err.message : ''}`)
    const logger: Logger = {
      debug: () => undefined,
      info: (fields, message) => note('info', fields, message),
      warn: (fields, message) => note('warn', fields, message),
      error: (fields, message) => {
        note('error', fields, message)
        onDefect(`${key}: ${message}: ${textOfThrown(fields.err ?? fields)}`)
      },
      with: () => logger,
    }
    return logger
  }
}

// Owns: the worst thing that a stream process can do: stand still with appends in flight and queued, be taken over, and
// go on as if nothing had happened.
import type { ClusterProcess } from '../cluster-process.ts'
import { type ChaosCluster, metricOf } from './chaos-cluster.ts'
import type { ClusterLoad } from './cluster-load.ts'

const pendingAppends = 'trunkline_append_pending_entries'
/** More than one batch to a partition: some are at the log, some wait behind them. */
const pendingMin = 12

/** Stops the process once so many appends wait for the log. What it has sent reaches the log; what it holds does not. */
export async function freezeWithAppends(
  world: ChaosCluster,
  load: ClusterLoad,
  stream: ClusterProcess,
): Promise<number> {
  await world.withKafkaStopped(async () => {
    await load.until('appends wait', async () => (await metricOf(stream, pendingAppends)) >= pendingMin, 30_000)
    stream.pause()
  })
  load.faultBegins()
  return performance.now()
}

/** Goes on after `frozenMs`. */
export async function thaw(stream: ClusterProcess, frozenAtMs: number, frozenMs: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, frozenAtMs + frozenMs - performance.now())))
  stream.resume()
}

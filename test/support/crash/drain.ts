// Owns: reading a whole topic with a fresh client: what it really holds.
import { isTrunklineError } from '../../../sdk/typescript/src/index.ts'
import type { Batch } from '../../../sdk/typescript/src/reader.ts'
import { faultOf, type Ledger } from './ledger.ts'
import { type ClientAccess, connectObserved, newCounts, patientRetry } from './observed-client.ts'
import { placeOf, type ReaderTrace, type SavedCursor } from './reader.ts'
import type { Stored } from './verdict.ts'

/** Everything from the beginning to the end, and what is wrong with events by themselves. Nothing is written meanwhile. */
export async function drainTopic(
  access: ClientAccess,
  topic: string,
  ledger: Ledger,
): Promise<{ readonly stored: readonly Stored[]; readonly faults: readonly string[] }> {
  const { client } = connectObserved(access, newCounts())
  try {
    const reader = client.reader(topic, { from: 'earliest', waitMs: 50, autoAck: true, retry: patientRetry })
    const stored: Stored[] = []
    const faults: string[] = []
    const pull = (): Promise<Batch | undefined> => reader.pull().catch(nothingWithoutTopic)
    for (let batch = await pull(); batch !== undefined; batch = await pull()) {
      for (const event of batch.events) {
        const id = event.id ?? ''
        const attempt = ledger.attempts.get(id)
        // What was never attempted is the verdict's to report.
        const fault = attempt === undefined ? undefined : faultOf(event, attempt)
        if (fault !== undefined) faults.push(fault)
        const { position } = event
        stored.push({ id, partition: position.partition, place: placeOf(position), position: String(position) })
      }
    }
    return { stored, faults }
  } finally {
    await client.close()
  }
}

/** A topic that is not there holds nothing. */
function nothingWithoutTopic(thrown: unknown): undefined {
  if (!isTrunklineError(thrown, 'UNKNOWN_TOPIC')) throw thrown
}

/** What comes first from a saved cursor. */
export async function traceFrom(
  access: ClientAccess,
  topic: string,
  saved: SavedCursor,
  name: string,
): Promise<ReaderTrace> {
  const { client } = connectObserved(access, newCounts())
  try {
    const reader = client.reader(topic, {
      from: { cursor: saved.cursor },
      waitMs: 20,
      batch: { maxEvents: 50 },
      retry: patientRetry,
    })
    const batch = await reader.pull()
    const places = (batch?.events ?? []).map(({ position }) => [position.partition, placeOf(position)] as const)
    return {
      name,
      steps: [
        { kind: 'opened', at: saved.acked },
        { kind: 'delivered', places },
      ],
      faults: [],
      complete: false,
    }
  } finally {
    await client.close()
  }
}

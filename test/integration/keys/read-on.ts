// Owns: what a reader of a topic gets when keys are gone: events, and errors in their places.
import { TrunklineError } from '../../../src/protocol/errors.ts'
import type { RawSession } from '../../support/raw-client.ts'
import { eventsOf, type Harness, text } from '../sessions/harness.ts'
/** Reads and acks until the end; what is lost for good is noted by its error, and read past by the error's cursor. */
export async function readOn(at: Harness, topic: string): Promise<readonly string[]> {
  const seen: string[] = []
  let reader: RawSession = await at.reader(topic)
  for (let n = 1; ; n += 1) {
    try {
      const batch = await reader.call('read', { n, ...(n > 1 ? { ackOf: n - 1 } : {}) })
      if (batch.count === 0) return seen
      seen.push(...eventsOf(batch).map(({ payload }) => text(payload)))
    } catch (thrown) {
      if (!(thrown instanceof TrunklineError) || thrown.cursor === undefined) throw thrown
      seen.push(thrown.name)
      reader = await at.reader(topic, { cursor: thrown.cursor })
      n = 0
    }
  }
}

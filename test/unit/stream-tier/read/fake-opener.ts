// Owns: an opener for tests: the first byte of a value is the count of events, or says what is wrong with it.

import { TrunklineError } from '../../../../src/protocol/errors.ts'
import type { OpenedData, Opener } from '../../../../src/stream-tier/read/opened-blocks.ts'

export class FakeOpener implements Opener {
  opened = 0
  /** Set: every open waits for it. */
  gate: Promise<void> | undefined

  open(place: { readonly partition: number }, sealed: Uint8Array): OpenedData | Promise<OpenedData> {
    this.opened += 1
    return this.gate === undefined ? read(place.partition, sealed) : this.gate.then(() => read(place.partition, sealed))
  }
}

function read(partition: number, sealed: Uint8Array): OpenedData {
  const count = sealed[0] ?? 0
  if (count === 0xff) throw new TrunklineError('BLOCK_DAMAGED')
  if (count === 0xfe) throw new TrunklineError('KEY_UNAVAILABLE')
  if (count === 0xfd) throw new TrunklineError('KEY_SHREDDED')
  return { partition, packing: 1, count, encoding: 0, rawSize: sealed.length, data: sealed }
}

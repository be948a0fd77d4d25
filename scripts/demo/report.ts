// Owns: the demo's figures as a table, and which of them are wrong.
import type { Verdict } from './reading.ts'

export interface Figures {
  readonly published: number
  readonly publishMs: number
  readonly readMs: number
  readonly bytesOnDisk: number
  readonly inFlight: number
  readonly first: Verdict
  /** Events that were read and acked before the cursor was saved. */
  readonly beforeCursor: number
  readonly second: Verdict
}

export function describeFigures(figures: Figures): string {
  const { published, publishMs, readMs, bytesOnDisk, first, second, beforeCursor } = figures
  const rows: readonly (readonly [string, string, string])[] = [
    ['', 'from the start', 'from the cursor'],
    ['events in', grouped(published), grouped(published - beforeCursor)],
    ['events out', grouped(first.out), grouped(second.out)],
    ['lost', grouped(first.lost), grouped(second.lost)],
    ['duplicates', grouped(first.duplicates), grouped(second.duplicates)],
    ['out of order (per key)', grouped(first.outOfOrder), grouped(second.outOfOrder)],
    ['changed', grouped(first.changed), grouped(second.changed)],
  ]
  const table = rows.map(([name, one, two]) => `  ${name.padEnd(24)}${one.padStart(16)}${two.padStart(18)}\n`).join('')
  return `${table}
  bytes on disk           ${grouped(bytesOnDisk).padStart(16)}
  events/s in             ${grouped((published / publishMs) * 1000).padStart(16)}   one by one, without the outage
  events/s out            ${grouped((first.out / readMs) * 1000).padStart(16)}
`
}

/** What should not be; empty when every number is right. */
export function wrongFigures(figures: Figures): readonly string[] {
  const { published, inFlight, first, second, beforeCursor, bytesOnDisk } = figures
  const wrong: string[] = []
  const must = (holds: boolean, text: string): void => {
    if (!holds) wrong.push(text)
  }
  must(inFlight > 0, 'no write was in flight at the kill')
  must(beforeCursor > 0 && beforeCursor < published, 'the cursor was not saved in the middle')
  must(bytesOnDisk > 0, 'nothing is on the disk')
  for (const [reader, verdict, expected] of [
    ['the reader from the start', first, published],
    ['the reader from the cursor', second, published - beforeCursor],
  ] as const) {
    must(verdict.out === expected, `${reader} got ${verdict.out} events instead of ${expected}`)
    must(verdict.lost === 0, `${reader}: ${verdict.lost} lost`)
    must(verdict.duplicates === 0, `${reader}: ${verdict.duplicates} duplicates`)
    must(verdict.outOfOrder === 0, `${reader}: ${verdict.outOfOrder} out of order`)
    must(verdict.changed === 0, `${reader}: ${verdict.changed} changed`)
  }
  return wrong
}

export function grouped(count: number): string {
  return Math.round(count).toLocaleString('en-US')
}

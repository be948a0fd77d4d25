// Owns: medians, percentiles and the form of the printed tables.

export function median(values: readonly number[]): number {
  return percentile(values, 50)
}

export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN
}

/** Runs `work` with `workers` of it side by side until `durationMs` have passed; answers its sum per second. */
export async function rate(
  workers: number,
  durationMs: number,
  work: (worker: number) => Promise<number>,
): Promise<number> {
  const startedAt = performance.now()
  let sum = 0
  const loop = async (worker: number): Promise<void> => {
    while (performance.now() - startedAt < durationMs) {
      const done = await work(worker)
      sum += done // Not `sum += await …`: that adds to what sum was before the wait.
    }
  }
  await Promise.all(Array.from({ length: workers }, (_, worker) => loop(worker)))
  return (sum * 1_000) / (performance.now() - startedAt)
}

export async function medianOf(runs: number, measure: () => Promise<number>): Promise<number> {
  const values: number[] = []
  for (let run = 0; run < runs; run++) values.push(await measure())
  return median(values)
}

export function printTable(title: string, head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((name, column) => Math.max(name.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |`
  process.stdout.write(`\n${title}\n\n${line(head)}\n|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|\n`)
  for (const row of rows) process.stdout.write(`${line(row)}\n`)
}

export const count = (value: number): string => Math.round(value).toLocaleString('en-US')
export const fixed = (value: number, digits = 2): string => value.toFixed(digits)
export const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1)

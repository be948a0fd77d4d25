import { spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../../../src/adapters/clock/system-clock.ts'
import { writeOut } from '../../../../src/main/cli/output.ts'

describe('writing out', () => {
  it('given a file, has written all of it when it resolves', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'trunkline-output-'))
    const path = join(folder, 'out')
    const fd = openSync(path, 'w')
    try {
      expect(await writeOut(Buffer.alloc(3_000_000, 1), systemClock, fd)).toBe('written')
      expect(await writeOut(Buffer.from('end'), systemClock, fd)).toBe('written')
      expect(readFileSync(path)).toHaveLength(3_000_003)
    } finally {
      closeSync(fd)
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('given a pipe that nobody reads any more, is closed', async () => {
    const fifoFolder = mkdtempSync(join(tmpdir(), 'trunkline-output-'))
    const fifo = join(fifoFolder, 'pipe')
    try {
      await ended(spawn('sh', ['-c', 'mkfifo "$0"', fifo]))
      const reader = spawn('head', ['-c', '1', fifo], { stdio: ['ignore', 'ignore', 'inherit'] })
      const fd = openSync(fifo, 'w')
      await writeOut(Buffer.from('x'), systemClock, fd)
      await ended(reader)
      expect(await writeOut(Buffer.from('y'), systemClock, fd)).toBe('closed')
      closeSync(fd)
    } finally {
      rmSync(fifoFolder, { recursive: true, force: true })
    }
  })

  it('given a place that cannot be written, says why', async () => {
    const fd = openSync('/dev/null', 'r')
    try {
      await expect(writeOut(Buffer.from('x'), systemClock, fd)).rejects.toThrow('stdout cannot be written (EBADF)')
    } finally {
      closeSync(fd)
    }
  })
})

function ended(child: ReturnType<typeof spawn>): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', () => resolve())
  })
}

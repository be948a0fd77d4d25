// Owns: a look at LMDB's file before LMDB opens it: a file that it refuses ends the process instead of throwing.
//   each of the first two pages: 24 bytes page head │ magic u32 │ version u32 │ … │ page size u32 at 48; little-endian
// Leaves out: everything behind these pages (check.ts).
import { accessSync, closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'

export const dataFileName = 'data.mdb'
const lockFileName = 'lock.mdb'

const magic = 0xbeefc0de
const dataVersion = 2
const magicAt = 24
const versionAt = 28
const pageSizeAt = 48
const headSize = 52

export type DataFileState = 'missing' | 'sound' | 'no-permission' | 'not-a-log'

/** `missing` also for the empty file of a process that was killed while it made it. */
export function dataFileState(dir: string, access: 'read' | 'write'): DataFileState {
  try {
    // Readers enter themselves in the lock file, so that it is written in any case.
    accessSync(dir, constants.R_OK | constants.W_OK | constants.X_OK)
    accessIfThere(join(dir, lockFileName), constants.R_OK | constants.W_OK)
    accessIfThere(join(dir, dataFileName), access === 'read' ? constants.R_OK : constants.R_OK | constants.W_OK)
  } catch {
    return 'no-permission'
  }
  let file: number
  try {
    file = openSync(join(dir, dataFileName), 'r')
  } catch {
    return 'missing'
  }
  try {
    return headsOf(file)
  } finally {
    closeSync(file)
  }
}

function headsOf(file: number): DataFileState {
  const { size } = fstatSync(file)
  if (size === 0) return 'missing'
  const head = Buffer.alloc(headSize)
  let pageSize = 0
  for (const page of [0, 1]) {
    if (readSync(file, head, 0, headSize, page * pageSize) < headSize) return 'not-a-log'
    if (head.readUInt32LE(magicAt) !== magic || head.readUInt32LE(versionAt) !== dataVersion) return 'not-a-log'
    pageSize = head.readUInt32LE(pageSizeAt)
    if (pageSize < 256 || pageSize > 65_536 || size < 2 * pageSize) return 'not-a-log'
  }
  return 'sound'
}

function accessIfThere(path: string, mode: number): void {
  try {
    accessSync(path, mode)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return
    throw error
  }
}

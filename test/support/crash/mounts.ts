// Owns: small file systems of a test's own: an ext4 image behind a loop device, a tmpfs. Needs root.
// 1. Nothing stays mounted: every mount is undone by `unmount`, and after the end of this process at the latest (janitor.ts).
// 2. The image's journal is committed only when something asks for it (commit=300): what was not fsynced is not in the
//    image, so that a copy of the image is what a power cut leaves.
import { execFileSync } from 'node:child_process'
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { made, undone } from './janitor.ts'
import { workFolder } from './work-folder.ts'

export interface Mount {
  /** Where it is mounted. */
  readonly path: string
  /** Idempotent. Nobody uses it any more. */
  unmount(): void
}

/** A new ext4 in a sparse file. */
export function makeImage(file: string, bytes: number): void {
  writeFileSync(file, '')
  truncateSync(file, bytes)
  run('mkfs.ext4', ['-q', '-F', file])
}

/** An image that holds a dirty journal is recovered by this, as after a power cut. */
export function mountImage(file: string, path: string): Mount {
  return mountAt(['-t', 'ext4', '-o', 'loop,commit=300', file], path)
}

export function mountMemory(path: string, bytes: number): Mount {
  return mountAt(['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs'], path)
}

/** What the device behind a mounted image holds now; what only the system's memory holds is not in it. */
export function copyImage(file: string, to: string): void {
  run('cp', ['--sparse=always', file, to])
}

/** True, or why this machine cannot do it: for `requirement`. */
export function canMountImages(): true | string {
  if (process.platform !== 'linux') return 'not Linux'
  if (process.getuid?.() !== 0) return 'not root'
  const { dir, remove } = workFolder('probe')
  try {
    const file = join(dir, 'image')
    makeImage(file, 16 * 1024 * 1024)
    mountImage(file, join(dir, 'mounted')).unmount()
    return true
  } finally {
    remove()
  }
}

function mountAt(args: readonly string[], path: string): Mount {
  mkdirSync(path, { recursive: true })
  run('mount', [...args, path])
  made('mount', path)
  let isMounted = true
  return {
    path,
    unmount: () => {
      if (!isMounted) return
      isMounted = false
      run('umount', [path])
      undone('mount', path)
    },
  }
}

function run(program: string, args: readonly string[]): void {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: 60_000 })
}

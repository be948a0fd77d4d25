// Owns: small file systems of a test's own: an ext4 image behind a loop device, a tmpfs. Needs root.
// 1. Nothing stays mounted: every mount is undone by `unmount`, and by the end of this process at the latest.
// 2. The image's journal is committed only when something asks for it (commit=300): what was not fsynced is not in the
//    image, so that a copy of the image is what a power cut leaves.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Mount {
  /** Where it is mounted. */
  readonly path: string
  /** Idempotent. Nobody uses it any more. */
  unmount(): void
}

const mounted = new Set<string>()
const workFolders = new Set<string>()
process.once('exit', () => {
  for (const path of mounted) detach(path)
  for (const dir of workFolders) rmSync(dir, { recursive: true, force: true })
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => process.exit(1))
}

/** A folder for images and mount points; removed with everything at the end of this process at the latest. */
export function workFolder(name: string): { readonly dir: string; remove(): void } {
  const dir = mkdtempSync(join(tmpdir(), `trunkline-${name}-`))
  workFolders.add(dir)
  return {
    dir,
    remove: () => {
      for (const path of mounted) {
        if (path.startsWith(`${dir}/`)) detach(path)
      }
      rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
      workFolders.delete(dir)
    },
  }
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

export function canMountMemory(): true | string {
  if (process.platform !== 'linux') return 'not Linux'
  if (process.getuid?.() !== 0) return 'not root'
  const { dir, remove } = workFolder('probe')
  try {
    mountMemory(join(dir, 'mounted'), 1024 * 1024).unmount()
    return true
  } finally {
    remove()
  }
}

function mountAt(args: readonly string[], path: string): Mount {
  mkdirSync(path, { recursive: true })
  run('mount', [...args, path])
  mounted.add(path)
  return {
    path,
    unmount: () => {
      if (!mounted.has(path)) return
      run('umount', [path])
      mounted.delete(path)
    },
  }
}

/** Whatever holds it: it is gone for everybody, and the loop device is freed with the last user. */
function detach(path: string): void {
  try {
    run('umount', ['-l', path])
  } catch (thrown) {
    process.stderr.write(`${path} stays mounted: ${String(thrown)}\n`)
  }
  mounted.delete(path)
}

function run(program: string, args: readonly string[]): void {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: 60_000 })
}

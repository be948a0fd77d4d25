// Owns: that a private stack ends with the process that started it, however that one ends, SIGKILL included.
// 1. A small shell waits at a pipe from us: when the pipe closes, it ends what carries the stack's mark and removes the
//    folder. It is in a process group of its own, so that no signal from the terminal ends it first.
import { spawn } from 'node:child_process'
import { markName } from './processes.ts'

export interface Guard {
  /** Ends what is left, and resolves when that is done. */
  release(): Promise<void>
}

// Asked again and again: a process may have been forked while we looked.
const script = `
while read -r _; do :; done
round=0
while [ "$round" -lt 100 ]; do
  # Its exit status says nothing: a process that went away meanwhile is an error to grep.
  found=$(grep -lsaF "$1=$2/" /proc/[0-9]*/environ)
  [ -n "$found" ] || break
  for file in $found; do pid=\${file#/proc/}; kill -KILL "\${pid%/environ}" 2>/dev/null; done
  sleep 0.05
  round=$((round + 1))
done
[ "$3" = remove ] && rm -rf -- "$2"
exit 0
`

export function startGuard(dir: string, folder: 'remove' | 'keep'): Guard {
  const child = spawn('/bin/sh', ['-c', script, 'trunkline-stack-guard', markName, dir, folder], {
    detached: true,
    cwd: '/',
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', () => resolve())
  })
  ended.catch(() => undefined)
  child.unref()
  // The pipe is a socket for Node; it must not keep this process alive either.
  if ('unref' in child.stdin && typeof child.stdin.unref === 'function') child.stdin.unref()
  child.stdin.on('error', () => undefined)
  return {
    release: async () => {
      child.ref()
      child.stdin.end()
      await ended
    },
  }
}

// Owns: that nothing a test made outlives the test's process, however that one ends: a shell of its own session waits for
// the end of a pipe from us, which the system closes even after SIGKILL, and then kills, unmounts and removes what is left.
import { spawn } from 'node:child_process'

export type Leftover = 'pid' | 'mount' | 'dir'

// One line is `+ kind what` or `- kind what`; paths are our own and hold no spaces.
const script = `
left=
while read -r op kind what; do
  if [ "$op" = + ]; then left="$left $kind:$what"
  else
    kept=
    for one in $left; do [ "$one" = "$kind:$what" ] || kept="$kept $one"; done
    left=$kept
  fi
done
for kind in pid mount dir; do
  for one in $left; do
    case $one in
      $kind:*) case $kind in
        pid) kill -9 "\${one#*:}" ;;
        mount) umount -l "\${one#*:}" ;;
        dir) rm -rf "\${one#*:}" ;;
      esac ;;
    esac
  done
done`

let shell: ReturnType<typeof start> | undefined

/** It is there from now on. */
export function made(kind: Leftover, what: string | number): void {
  shell ??= start()
  shell.write(`+ ${kind} ${what}\n`)
}

/** It was undone in the orderly way. */
export function undone(kind: Leftover, what: string | number): void {
  shell?.write(`- ${kind} ${what}\n`)
}

function start(): { write(line: string): void } {
  const child = spawn('sh', ['-c', script], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
  child.unref()
  const { stdin } = child
  if ('unref' in stdin && typeof stdin.unref === 'function') stdin.unref()
  // Without its shell a test still undoes what it made.
  child.on('error', () => undefined)
  stdin.on('error', () => undefined)
  return { write: (line) => stdin.write(line) }
}

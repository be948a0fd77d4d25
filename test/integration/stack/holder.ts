// Owns: a process that starts a private stack and holds it until it is killed, for private-stack.test.ts.
import { startStack } from '../../../scripts/stack/stack.ts'

const stack = await startStack({ kafka: 0, rabbit: 1 })
process.stdout.write(`${JSON.stringify({ dir: stack.dir, pid: stack.rabbit[0]?.pid })}\n`)
setInterval(() => undefined, 60_000)

// Owns: a process that appends to an embedded log until it is killed, and tells each landed append by then:
// `<partition> <number> <offset>` a line, written before the next append begins. Arguments: folder, first number.
import { writeSync } from 'node:fs'
import { openReal, openWriter, put, topic } from './temp-dir.ts'

const [dir, first] = process.argv.slice(2)
if (dir === undefined || first === undefined) throw new Error('folder and first number are missing')
const partitions = 3

const log = await openReal(dir)
if ((await log.topic(topic)) === undefined) await log.createTopic({ name: topic, partitions, format: 'sealed' })
const writer = await openWriter(log)
writeSync(1, 'open\n')

async function appendForEver(partition: number): Promise<void> {
  for (let n = Number(first); ; n++) {
    const outcome = await put(writer, String(n), (n * 7919) % 20_000, { topic, partition })
    if (outcome.kind !== 'landed') throw new Error(`append ${outcome.kind}`)
    writeSync(1, `${partition} ${n} ${outcome.baseOffset}\n`)
  }
}

await Promise.all(Array.from({ length: partitions }, (_, partition) => appendForEver(partition)))

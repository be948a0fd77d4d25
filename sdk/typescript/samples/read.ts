// Reads a topic from the start, or from the cursor stored in read.cursor, until its end.
// Run beside a gateway: node --import tsx samples/read.ts (URL and login as `trunkline dev` prints them).
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from '../src/index.ts'

const cursorFile = 'read.cursor'

await using client = connect(process.env['TRUNKLINE_URL'] ?? 'http://127.0.0.1:7470', {
  clientId: process.env['TRUNKLINE_CLIENT_ID'] ?? 'dev',
  clientSecret: process.env['TRUNKLINE_CLIENT_SECRET'] ?? '',
})
const from = existsSync(cursorFile) ? { cursor: readFileSync(cursorFile, 'utf8') } : ('earliest' as const)
await using reader = client.reader('readings', { from, waitMs: 1_000 })

for (let batch = await reader.pull(); batch !== undefined; batch = await reader.pull()) {
  for (const event of batch.events) console.log(`${String(event.position)} ${event.keyText() ?? '-'} ${event.text()}`)
  // Stored beside the effect, the cursor makes reading exactly once.
  writeFileSync(cursorFile, batch.cursor)
  await batch.ack()
}

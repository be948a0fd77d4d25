// Publishes three readings and prints where each landed.
// Run beside a gateway: node --import tsx samples/publish.ts (URL and login as `trunkline dev` prints them).
import { connect } from '../src/index.ts'

await using client = connect(process.env['TRUNKLINE_URL'] ?? 'http://127.0.0.1:7470', {
  clientId: process.env['TRUNKLINE_CLIENT_ID'] ?? 'dev',
  clientSecret: process.env['TRUNKLINE_CLIENT_SECRET'] ?? '',
})
await using producer = client.producer('readings')

const positions = await producer.publish([
  { key: 'sensor-1', payload: JSON.stringify({ celsius: 20.5 }) },
  { key: 'sensor-2', payload: JSON.stringify({ celsius: 18.25 }) },
  { key: 'sensor-1', payload: JSON.stringify({ celsius: 20.75 }) },
])
for (const position of positions) console.log(`landed at ${String(position)}`)

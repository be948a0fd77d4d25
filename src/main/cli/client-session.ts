// Owns: an SDK client for one command: connected, tried once so that a wrong address or secret is told at once and not
// after minutes of retries, and closed.
import { connect, type TrunklineClient } from '../../../sdk/typescript/src/index.ts'
import { type Connection, explained } from './connection.ts'

/** Runs `work` with a client that has reached the gateway; closes it. Errors are explained for a person. */
export async function withClient<T>(
  connection: Connection,
  topic: string | undefined,
  work: (client: TrunklineClient) => Promise<T>,
): Promise<T> {
  const { url, clientId, clientSecret, tokenUrl, login, tls } = connection
  const where = login.issuer === undefined ? { tokenUrl } : {}
  try {
    const client = connect(url, { clientId, clientSecret, ...login, ...where }, tls === undefined ? {} : { tls })
    try {
      await client.describe(topic)
      return await work(client)
    } finally {
      await client.close()
    }
  } catch (thrown) {
    throw explained(thrown, connection)
  }
}

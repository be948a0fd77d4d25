// docs/connect.md: the programs that it shows are the ones that run here, against a real provider and a gateway process
// that knows it from its environment.
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { certificateFiles, makeCertificates } from '../../../scripts/stack/certificates.ts'
import { issuerTokenFetcher } from '../../../sdk/typescript/src/node/oauth.ts'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { childEnv } from '../../support/child-env.ts'
import { type GatewayProcess, removeFolder, startGatewayProcess } from '../../support/gateway-process.ts'
import { askTopics } from '../../support/oidc/oidc-world.ts'
import { startTestProvider, type TestProvider } from '../../support/oidc/test-provider.ts'
import { pythonVenv } from '../../support/python-venv.ts'
import { requirement } from '../../support/requirement.ts'

const page = readFileSync(new URL('../../../docs/connect.md', import.meta.url), 'utf8')
const here = fileURLToPath(new URL('.', import.meta.url))
const venv = pythonVenv(['authlib==1.9.10', 'requests==2.34.2'])
const authlib = requirement('authlib for Python', () => venv.prepare())
const run = promisify(execFile)

let dir: string
let provider: TestProvider
let gateway: GatewayProcess
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'trunkline-connect-'))
  const folder = join(dir, 'certificates')
  makeCertificates(folder)
  const files = certificateFiles(folder)
  provider = await startTestProvider(files)
  const env = { TRUNKLINE_OIDC_ISSUER: provider.issuer, TRUNKLINE_OIDC_CA_FILE: files.ca, TRUNKLINE_LOG_LEVEL: 'debug' }
  gateway = await startGatewayProcess({ dir: join(dir, 'gateway'), env })
})
afterAll(async () => {
  await gateway?.stop()
  await provider?.close()
  removeFolder(dir)
})

async function follow(command: string, name: string, language: string): Promise<string[]> {
  const program = readFileSync(join(here, name), 'utf8')
  expect(page, `docs/connect.md shows another ${name}: copy it there`).toContain(
    `\`\`\`${language}\n${program}\`\`\`\n`,
  )
  const { clientId, clientSecret } = provider.clients.shop
  const authority = join(dir, 'certificates', 'ca.pem')
  const env = childEnv({
    ISSUER: provider.issuer,
    CLIENT_ID: clientId,
    CLIENT_SECRET: clientSecret,
    GATEWAY: gateway.urls.http,
    RESOURCE: 'https://gateway.test/',
    NODE_EXTRA_CA_CERTS: authority,
    REQUESTS_CA_BUNDLE: authority,
  })
  const { stdout } = await run(command, [join(here, name)], { env, cwd: here })
  return stdout.trim().split('\n')
}

describe('docs/connect.md', () => {
  it('Given openid-client, When its program runs, Then it publishes and reads', async () => {
    const lines = await follow(process.execPath, 'login.mjs', 'js')
    expect(lines[0]).toMatch(/^published: \{ positions: \[ '\d+:\d+:0' \] \}$/)
    expect(lines.slice(1).join('\n')).toMatch(/^read: \d+:\d+:0 from openid-client$/m)
  })

  authlib.it('Given authlib, When its program runs, Then it publishes and reads', async () => {
    const lines = await follow(venv.python, 'login.py', 'python')
    expect(lines[0]).toMatch(/^published: \{'positions': \['\d+:\d+:0'\]\}$/)
    expect(lines.slice(1).join('\n')).toMatch(/^read: \d+:\d+:0 from authlib$/m)
  })

  it('Given a token for somebody else, Then the log says which claim is wrong, and no log has a token', async () => {
    const { issuer, clients } = provider
    const secret = { ...clients.shop, resource: 'https://elsewhere.test/', caFile: join(dir, 'certificates', 'ca.pem') }
    const { token } = await issuerTokenFetcher(issuer, secret, systemClock)()
    expect(await askTopics({ httpUrl: gateway.urls.http }, token)).toMatchObject({ status: 401 })
    // A line of another process comes a moment later.
    await expect.poll(() => gateway.output(), { timeout: 10_000 }).toContain('a token was refused')
    const log = gateway.output()
    expect(log).toMatch(/a token was refused.*"reason":"aud"|"reason":"aud".*a token was refused/)
    expect(log).not.toContain('eyJ')
    expect(log).not.toContain(clients.shop.clientSecret)
  })
})

// An API process and its policy file: no start with a wrong one, and SIGHUP reads it again without an end.
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Cluster, makeCluster, startApi } from '../../support/cluster-process.ts'
import { removeFolder } from '../../support/gateway-process.ts'
import { runCli } from '../../support/run-cli.ts'

let dir: string
let cluster: Cluster
let policyFile: string

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'trunkline-hang-up-'))
  // Nobody listens there: the process waits for its brokers, and reads its files all the same.
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('a TCP listener has a port')
  const at = `127.0.0.1:${address.port}`
  cluster = await makeCluster(dir, { kafkaAddresses: [at], rabbitUrls: [`amqp://user:secret@${at}`] })
  policyFile = cluster.env['TRUNKLINE_POLICY_FILE'] ?? ''
})
afterAll(() => removeFolder(dir))

describe('the policy file of an API process', () => {
  it('given neither a policy nor the word that everybody may, then it does not start, and says what to set', async () => {
    const env = { ...cluster.env, TRUNKLINE_POLICY_FILE: '' }
    const end = await runCli(['api'], { cwd: dir, env })
    expect(end).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('policyFile, allowAllCallers: set exactly one'),
    })
  })

  it('given a wrong file, then it does not start, and tells all that is wrong', async () => {
    const bad = join(dir, 'bad.json')
    writeFileSync(bad, '{"version":1,\n"rules":[{"allow":["write"]},\n{"CANARY":1}]}', { mode: 0o600 })
    const end = await runCli(['api'], { cwd: dir, env: { ...cluster.env, TRUNKLINE_POLICY_FILE: bad } })
    expect(end.code).toBe(2)
    for (const place of ['line 2, /rules/0/allow/0', 'line 2, /rules/0: topics', 'line 3, /rules/1: allow'])
      expect(end.stderr).toContain(place)
    expect(end.stderr).not.toContain('CANARY')
  })

  it('given SIGHUP, then a changed file is read again, a broken one is told, and the process goes on', async () => {
    const api = await startApi(cluster, { until: 'listening', env: { TRUNKLINE_POLICY_POLL_MS: '3600000' } })
    const until = async (message: string): Promise<void> => {
      while (!api.lines().some((line) => line['message'] === message)) {
        if (!api.isRunning) throw new Error(`it ended:\n${api.output()}`)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
    try {
      const before = readFileSync(policyFile, 'utf8')
      writeFileSync(policyFile, '{"version":1,"rules":[]}')
      api.signal('SIGHUP')
      await until('the policy was replaced')
      writeFileSync(policyFile, 'nothing')
      api.signal('SIGHUP')
      await until('the policy file is not right: the policy before holds')
      writeFileSync(policyFile, before)
      expect(api.isRunning).toBe(true)
    } finally {
      expect(await api.stop()).toMatchObject({ code: 0 })
    }
  })
})

// `trunkline keys …` against the files of a gateway that runs: what is printed, what is refused, what becomes of the events.
import { mkdtempSync, readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type GatewayProcess, removeFolder, startGatewayProcess } from '../../support/gateway-process.ts'
import { type CliEnd, runCli } from '../../support/run-cli.ts'

let dir: string
let gateway: GatewayProcess
beforeAll(async () => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'trunkline-keys-cli-')))
  gateway = await startGatewayProcess({ dir, env: { TRUNKLINE_KEY_RELOAD_MS: '100' } })
})
afterAll(async () => {
  await gateway.stop()
  removeFolder(dir)
})

const run = (args: string, stdin = ''): Promise<CliEnd> => runCli(args.split(' '), { cwd: dir, stdin })

async function done(args: string, stdin = ''): Promise<string> {
  const { code, stdout, stderr } = await run(args, stdin)
  expect([code, stderr.match(/^(trunkline:|[A-Z_]+:).*$/m)?.[0]]).toEqual([0, undefined])
  return stdout.trim()
}

async function refused(args: string): Promise<readonly [number | null, string]> {
  const { code, stdout, stderr } = await run(args)
  expect(stdout).toBe('')
  return [code, stderr]
}

/** Until the gateway has the keyring as it is. */
async function inUse(): Promise<void> {
  const revision = /revision (\d+)/.exec(await done('keys verify'))?.[1]
  for (;;) {
    const metrics = await (await fetch(`${gateway.urls.admin}/metrics`)).text()
    if (metrics.includes(`trunkline_key_file_revision{file="keyring"} ${revision}\n`)) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const secretsOf = (name: string): readonly string[] =>
  [...readFileSync(join(gateway.dataDir, name), 'utf8').matchAll(/"(?:key|secret|d)": ?"([^"]+)"/g)].map(
    ([, value = '']) => value,
  )

describe('keys list and verify', () => {
  it('show ids, states and times of each kind of file, and no secret', async () => {
    const printed: string[] = []
    for (const name of ['keyring.json', 'gateway-keys.json', 'signing-key.json']) {
      const file = join(gateway.dataDir, name)
      for (const command of ['list', 'list --json', 'verify'])
        printed.push(await done(`keys ${command} --file ${file}`))
      const secrets = secretsOf(name)
      expect(secrets.length).toBeGreaterThan(0)
      for (const secret of secrets) expect(printed.join('\n')).not.toContain(secret)
    }
    expect(printed[0]).toMatch(/^kek-[0-9a-f]{16}\tcurrent\t\S+Z\tshared$/)
    expect(printed[2]).toMatch(/^keyring\tring [0-9a-f]{32}\trevision 1\tkeys 1\tfingerprint [0-9a-f]{16}$/)
  })

  it('say the same of a copy, and something else of a changed one; refuse what is no key file', async () => {
    const copy = join(dir, 'copy.json')
    writeFileSync(copy, readFileSync(join(gateway.dataDir, 'keyring.json')), { mode: 0o600 })
    expect(await done(`keys verify --file ${copy}`)).toBe(await done('keys verify'))
    await done(`keys rotate --file ${copy}`)
    expect(await done(`keys verify --file ${copy}`)).not.toBe(await done('keys verify'))
    writeFileSync(copy, '{}')
    expect((await refused(`keys verify --file ${copy}`))[0]).toBe(7)
    expect((await refused('keys verify --file nowhere.json'))[0]).toBe(7)
  })
})

describe('keys rotate', () => {
  it('given two at once, then both are in the file, which stays 0600, and one is current', async () => {
    const [first, second] = await Promise.all([done('keys rotate'), done('keys rotate')])
    const lines = (await done('keys list')).split('\n')
    expect(lines.map((line) => line.split('\t')[0])).toEqual(expect.arrayContaining([first, second]))
    expect(lines.filter((line) => line.includes('\tcurrent\t'))).toHaveLength(1)
    expect(statSync(join(gateway.dataDir, 'keyring.json')).mode & 0o777).toBe(0o600)
  })

  it('given --stage, then the current one stays until --activate, and what comes next is told', async () => {
    for (const which of ['', ' --gateway']) {
      const current = async (): Promise<string | undefined> =>
        (await done(`keys list${which}`))
          .split('\n')
          .find((line) => line.includes('\tcurrent\t'))
          ?.split('\t')[0]
      const before = await current()
      const { stdout, stderr } = await run(`keys rotate --stage${which}`)
      expect(stderr).toContain(`--activate ${stdout.trim()}`)
      expect(await current()).toBe(before)
      expect(await done(`keys rotate --activate ${stdout.trim()}${which}`)).toBe(stdout.trim())
      expect(await current()).toBe(stdout.trim())
    }
  })

  it('given a lock that a killed command left, then it says what to do and changes nothing', async () => {
    const path = join(gateway.dataDir, 'keyring.json')
    const text = readFileSync(path, 'utf8')
    writeFileSync(`${path}.lock`, '')
    const [code, message] = await refused('keys rotate')
    expect([code, message]).toEqual([6, expect.stringContaining('keyring.json.lock')])
    expect(readFileSync(path, 'utf8')).toBe(text)
    removeFolder(`${path}.lock`)
  })
})

describe('keys create, revoke, restore and shred', () => {
  it('given a topic with a KEK of its own, then only its events are lost, and a reader can leave them out', async () => {
    await done('topic create secret')
    const kekId = await done('keys create --topic secret')
    await inUse()
    await done('publish secret', '{"n":1}\n')
    await done('publish open', '{"n":2}\n')
    expect(await done('keys list')).toMatch(new RegExp(`^${kekId}\tcurrent\t\\S+\ttopic secret [0-9a-f]{32}$`, 'm'))
    expect((await refused('keys shred --topic secret'))[1]).toContain('--yes')
    expect(await done('keys shred --topic secret --yes')).toBe(kekId)
    await inUse()
    const { code, stderr } = await run('read secret --from earliest')
    expect([code, stderr]).toEqual([7, expect.stringContaining('KEY_SHREDDED')])
    expect(await done('read secret --from earliest --on-damaged skip')).toBe('')
    expect(await done('read open --from earliest')).toContain('"n":2')
    expect((await refused('keys shred --topic secret --yes'))[1]).toContain('already')
  })

  it('given a shared KEK, then it goes only step by step, and never while it is current', async () => {
    const old = await done('keys rotate')
    const steps = ['revoke', 'shred --yes --lose-all-topics']
    for (const step of steps) expect((await refused(`keys ${step} ${old}`))[1]).toContain('rotate first')
    await done('keys rotate')
    expect((await refused(`keys shred --yes --lose-all-topics ${old}`))[1]).toContain('revoke it')
    await done(`keys revoke ${old}`)
    await done(`keys restore ${old}`)
    await done(`keys revoke ${old}`)
    const [code, message] = await refused(`keys shred --yes ${old}`)
    expect([code, message]).toEqual([6, expect.stringContaining('any topic')])
    expect(await done(`keys shred --yes --lose-all-topics ${old}`)).toBe(old)
    expect((await refused(`keys restore ${old}`))[1]).toContain('nothing brings it back')
    expect(await done('keys list')).toContain(`${old}\tdestroyed`)
  })

  it('given what is not there, then it says so', async () => {
    expect((await refused('keys revoke kek-0000000000000000'))[0]).toBe(6)
    expect((await refused('keys shred --yes'))[0]).toBe(2)
    expect((await refused('keys create --topic nowhere'))[0]).toBe(5)
    expect((await refused('keys rotate --stage --activate kek-0'))[0]).toBe(2)
  })
})

describe('keys rewrap and retire', () => {
  it('given an old KEK, when it is re-wrapped, retired and shredded, then its events are read, and verify counts what there is', async () => {
    await done('publish moved --format lines', 'one\ntwo\n')
    const lines = (await done('keys list')).split('\n').map((line) => line.split('\t'))
    const old = lines.find(([, state, , scope]) => state === 'current' && scope === 'shared')?.[0] ?? ''
    await done('keys rotate')
    expect((await refused(`keys retire ${old}`))[1]).toContain('keys rewrap first')
    await inUse()
    expect(await run('keys rewrap')).toMatchObject({
      code: 0,
      stdout: '',
      stderr: expect.stringMatching(/[1-9]\d* keys? re-wrapped/),
    })
    expect((await run('keys rewrap')).stderr).toContain('0 keys re-wrapped, 0 of earlier runs moved on')
    expect(await done('keys verify')).toMatch(/^keyring\t.*\nrewrapped-keys\trevision \d+\tkeys [1-9]\d*$/)
    await done(`keys retire ${old}`)
    expect(await done('keys list')).toContain(`${old}\tretired\t`)
    expect(await done(`keys shred ${old} --yes`)).toBe(old)
    expect(await done('keys list')).toContain(`${old}\treplaced\t`)
    await inUse()
    expect(await done('read moved --output payload')).toBe('one\ntwo')
    expect(await done(`check ${gateway.dataDir}`)).toBe('')
  }, 300_000)

  it('given a topic that was rotated and is shredded, then there is nothing left to re-wrap, and it ends well', async () => {
    await done('topic create doomed')
    const first = await done('keys create --topic doomed')
    await inUse()
    await done('publish doomed --format lines', 'gone\n')
    await done('keys rotate --topic doomed')
    await inUse()
    await done('keys shred --topic doomed --yes')
    const end = await run('keys rewrap')
    expect([end.code, end.stderr]).toEqual([0, expect.stringContaining(`1 key left: ${first}: KEY_SHREDDED`)])
  }, 300_000)

  it('given options that do not fit, then it says so, and nothing is read', async () => {
    expect((await refused('keys rewrap --kafka --data-dir x'))[0]).toBe(2)
    expect((await refused('keys rewrap --config x'))[0]).toBe(2)
    expect((await refused('keys rewrap --kafka'))[1]).toContain('kafkaBrokers')
  })

  it('given another key provider, then it is not supported', async () => {
    const env = { TRUNKLINE_KEY_PROVIDER: 'aws-kms', TRUNKLINE_AWS_KMS_KEY: 'k', TRUNKLINE_AWS_KMS_REGION: 'r' }
    const end = await runCli(['keys', 'rewrap', '--kafka'], {
      cwd: dir,
      env: { ...env, TRUNKLINE_KAFKA_BROKERS: 'k:1' },
    })
    expect([end.code, end.stderr]).toEqual([2, expect.stringContaining('UNSUPPORTED')])
  })
})

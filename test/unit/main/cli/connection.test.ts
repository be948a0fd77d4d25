import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { explained, resolveConnection } from '../../../../src/main/cli/connection.ts'
import { writeDevFile } from '../../../../src/main/cli/dev-file.ts'
import { CommandFailure, describeThrown } from '../../../../src/main/cli/failure.ts'
import { TrunklineError } from '../../../../src/protocol/errors.ts'

let folder: string
let secretFile: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'trunkline-connection-'))
  secretFile = join(folder, 'secret')
  writeFileSync(secretFile, 'given-secret\n', { mode: 0o600 })
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

function devFile(pid: number = process.pid): void {
  writeDevFile(folder, {
    httpUrl: 'http://127.0.0.1:17470',
    thriftUrl: 'thrift://127.0.0.1:17471',
    adminUrl: 'http://127.0.0.1:17479',
    clientId: 'dev',
    clientSecret: 'dev-secret',
    pid,
    dataDir: folder,
    startedAt: '',
  })
}

const given = (): { clientId: string; clientSecretFile: string } => ({ clientId: 'app', clientSecretFile: secretFile })

describe('the gateway of a command', () => {
  it('given dev.json alone, is that one, over Thrift', async () => {
    devFile()
    expect(await resolveConnection({}, folder)).toMatchObject({
      url: 'thrift://127.0.0.1:17471',
      httpUrl: 'http://127.0.0.1:17470',
      tokenUrl: 'http://127.0.0.1:17470/oauth/token',
      clientId: 'dev',
      clientSecret: 'dev-secret',
    })
  })

  it('given a URL, never gets the secret of dev.json', async () => {
    devFile()
    await expect(resolveConnection({ url: 'http://elsewhere:7470' }, folder)).rejects.toThrow('--url needs --client-id')
    expect(await resolveConnection({ url: 'http://elsewhere:7470', ...given() }, folder)).toMatchObject({
      url: 'http://elsewhere:7470',
      clientId: 'app',
      clientSecret: 'given-secret',
      devFile: undefined,
    })
  })

  it('given credentials alone, logs in with them at the gateway of dev.json', async () => {
    devFile()
    expect(await resolveConnection(given(), folder)).toMatchObject({
      url: 'thrift://127.0.0.1:17471',
      clientId: 'app',
      clientSecret: 'given-secret',
    })
  })

  it.each([
    ['http://host', { url: 'http://host:7470', httpUrl: 'http://host:7470', tokenUrl: 'http://host:7470/oauth/token' }],
    ['http://host:80/', { url: 'http://host', tokenUrl: 'http://host/oauth/token' }],
    ['https://host/', { url: 'https://host', tokenUrl: 'https://host/oauth/token' }],
    ['thrift://host:7471', { url: 'thrift://host:7471', httpUrl: undefined, tokenUrl: 'http://host:7470/oauth/token' }],
    ['thrifts://host', { url: 'thrifts://host', httpUrl: undefined, tokenUrl: 'https://host:7470/oauth/token' }],
  ])('given %s, finds what belongs to it', async (url, expected) => {
    expect(await resolveConnection({ url, ...given() }, folder)).toMatchObject(expected)
  })

  it.each([
    [{}, /no gateway is known: start `node \S+trunkline\.js dev` here/],
    [{ clientId: 'app' }, 'go together'],
    [{ url: 'host:7470' }, '--url needs'],
    [{ url: 'ftp://host', clientId: 'a', clientSecretFile: 'SECRET' }, 'neither http:, https:, thrift: nor thrifts:'],
    [{ url: 'nothing', clientId: 'a', clientSecretFile: 'SECRET' }, 'is not a URL'],
    [{ url: 'http://user:pass@host', clientId: 'a', clientSecretFile: 'SECRET' }, 'carries credentials'],
  ])('given %j, says what is missing', async (options, text) => {
    const withFile = 'clientSecretFile' in options ? { ...options, clientSecretFile: secretFile } : options
    await expect(resolveConnection(withFile, folder)).rejects.toThrow(text)
  })

  it('given a provider, passes on what a login there needs, and never with the secret of dev.json', async () => {
    const options = { issuer: 'https://login.example', scope: 'a b', resource: 'https://r', issuerCaFile: '/ca.pem' }
    const { login } = await resolveConnection({ url: 'http://host', ...given(), ...options }, folder)
    expect(login).toEqual({ issuer: 'https://login.example', scope: 'a b', resource: 'https://r', caFile: '/ca.pem' })
    devFile()
    expect((await resolveConnection({ ...given(), ...options }, folder)).login).toEqual(login)
    await expect(resolveConnection(options, folder)).rejects.toThrow('--issuer needs --client-id')
    const both = resolveConnection({ ...given(), issuer: 'https://a', tokenUrl: 'https://b' }, folder)
    await expect(both).rejects.toThrow('exclude each other')
  })

  it('given files of TLS, reads them; a key that others can read, or one without its certificate, is refused', async () => {
    const file = (name: string, mode: number): string => {
      const path = join(folder, name)
      writeFileSync(path, `-----BEGIN ${name}-----`, { mode })
      return path
    }
    const url = 'https://host'
    const [caFile, clientCertFile] = [file('ca', 0o644), file('cert', 0o644)]
    const [clientKeyFile, open] = [file('key', 0o600), file('open', 0o644)]
    expect(await resolveConnection({ url, ...given(), caFile, clientCertFile, clientKeyFile }, folder)).toMatchObject({
      tls: { ca: '-----BEGIN ca-----', cert: '-----BEGIN cert-----', key: '-----BEGIN key-----' },
    })
    await expect(resolveConnection({ url, ...given(), clientCertFile }, folder)).rejects.toThrow('go together')
    await expect(
      resolveConnection({ url, ...given(), clientCertFile, clientKeyFile: open }, folder),
    ).rejects.toMatchObject({ name: 'BAD_CONFIG', details: { clientKeyFile: expect.stringContaining('0600') } })
  })

  it('given a secret that others can read, refuses it', async () => {
    const open = join(folder, 'open')
    writeFileSync(open, 'x', { mode: 0o644 })
    await expect(
      resolveConnection({ url: 'http://host', clientId: 'a', clientSecretFile: open }, folder),
    ).rejects.toThrow(TrunklineError)
  })
})

describe('a gateway that is not reached', () => {
  const unavailable = new TrunklineError('UNAVAILABLE', {
    cause: Object.assign(new Error('x'), { code: 'ECONNREFUSED' }),
  })

  it('given a dev.json of a process that has ended, says that nothing runs', async () => {
    devFile(2 ** 30)
    const told = explained(unavailable, await resolveConnection({}, folder))
    expect(told).toBeInstanceOf(CommandFailure)
    expect(told).toMatchObject({ exitCode: 3, message: expect.stringContaining('is left over from process') })
  })

  it('given any other, says where and why', async () => {
    devFile()
    const told = explained(unavailable, await resolveConnection({}, folder))
    expect(told).toMatchObject({
      name: 'UNAVAILABLE',
      details: { url: 'thrift://127.0.0.1:17471', why: 'ECONNREFUSED' },
    })
  })
})

describe('what is printed of an error', () => {
  it('is the advice with the details, on one line, without control characters', () => {
    const error = new TrunklineError('UNKNOWN_TOPIC', { details: { topic: 'a\u001b[2J\nb' } })
    expect(describeThrown(error, false)).toBe(
      'UNKNOWN_TOPIC: Check the name of the topic, or create the topic first. (topic: a [2J b)',
    )
  })

  it('never has the text or the stack of a stranger, unless asked for', () => {
    const stranger = new Error('internal text')
    expect(describeThrown(stranger, false)).not.toContain('internal text')
    expect(describeThrown(stranger, true)).toContain('internal text')
    expect(describeThrown(new TrunklineError('INTERNAL', { cause: stranger }), true)).toContain(
      'caused by Error: internal text',
    )
  })

  it('lists the problems of a configuration on a line each', () => {
    const error = new TrunklineError('BAD_CONFIG', { details: { httpPort: 'must be a port', dataDir: 'is missing' } })
    expect(describeThrown(error, false).split('\n')).toHaveLength(3)
  })
})

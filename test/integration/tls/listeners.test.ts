// Proves TLS on the three listeners of a real gateway: who gets in, who is told what, and certificates that are replaced
// while it serves.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import type { KeyPairFiles } from '../../../scripts/stack/certificates.ts'
import { connect, type TlsOptions, type TrunklineClient } from '../../../sdk/typescript/src/index.ts'
import { type Gateway, type GatewayOptions, startGateway } from '../../../src/main/gateway.ts'
import { createLogger, nullLogger } from '../../../src/observability/log.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { makeCluster, startApi } from '../../support/cluster-process.ts'
import { runCli } from '../../support/run-cli.ts'
import { greet, makeTlsWorld, opensslRequirement, pem, type TlsWorld } from '../../support/tls-world.ts'

opensslRequirement.describe('TLS on the listeners', () => {
  let world: TlsWorld
  const cleanups: (() => Promise<void> | void)[] = []
  beforeAll(() => {
    world = makeTlsWorld()
  })
  afterAll(() => world.remove())
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
    world.serve(world.ours.server)
  })

  const start = (options: Partial<GatewayOptions> = {}): Promise<Gateway> => startWith({ ...world.served, ...options })

  const startWith = async (options: Partial<GatewayOptions>): Promise<Gateway> => {
    const dataDir = mkdtempSync(join(tmpdir(), 'trunkline-'))
    const ports = { httpPort: 0, thriftPort: 0, adminPort: 0 }
    const gateway = await startGateway({ dataDir, ...ports, logger: nullLogger, ...options })
    cleanups.push(async () => {
      await gateway.close()
      rmSync(dataDir, { recursive: true })
    })
    return gateway
  }

  const client = (url: string, { httpUrl, ...gateway }: Gateway, tls: TlsOptions): TrunklineClient => {
    const { clientId, clientSecret } = gateway
    const made = connect(url, { clientId, clientSecret, tokenUrl: `${httpUrl}/oauth/token` }, { tls })
    cleanups.push(() => made.close({ timeoutMs: 1_000 }).catch(() => undefined))
    return made
  }

  const publishes = async (url: string, gateway: Gateway, tls: TlsOptions): Promise<void> => {
    const one = client(url, gateway, tls)
    const [position] = await one.producer('t').publish({ payload: 'x' })
    const batch = await one.reader('t', { waitMs: 5_000 }).pull()
    expect([String(position), (batch?.events.length ?? 0) > 0]).toEqual([expect.any(String), true])
  }

  /** What a publish ends with. The retries of a producer would take minutes: a refusal is told by the first. */
  const refusal = async (url: string, gateway: Gateway, tls: TlsOptions): Promise<TrunklineError> => {
    const thrown: unknown = await client(url, gateway, tls)
      .producer('t')
      .publish({ payload: 'x' })
      .catch((error: unknown) => error)
    if (thrown instanceof TrunklineError) return thrown
    throw new Error('it was published')
  }

  const get = (url: string, tls: object): Promise<{ status: number; body: string }> =>
    new Promise((resolve, reject) => {
      const sent = request(url, { agent: false, ...tls }, (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (chunk: string) => {
          body += chunk
        })
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
      })
      sent.on('error', reject)
      sent.end()
    })

  const metric = async ({ adminUrl }: Gateway, line: RegExp): Promise<number> => {
    const { body } = await get(`${adminUrl}/metrics`, { rejectUnauthorized: false })
    return Number(line.exec(body)?.[1] ?? Number.NaN)
  }

  it('Given a certificate, then all three speak TLS 1.3, and the SDK publishes and reads over both fronts', async () => {
    const gateway = await start()
    const { httpUrl, thriftUrl, adminUrl } = gateway
    expect([httpUrl, thriftUrl, adminUrl].map((url) => url.split(':')[0])).toEqual(['https', 'thrifts', 'https'])
    const ca = pem(world.ours.ca)
    for (const url of [httpUrl, thriftUrl, adminUrl]) {
      expect(await greet(url, { ca, rejectUnauthorized: true })).toMatchObject({ protocol: 'TLSv1.3' })
    }
    for (const url of [httpUrl, thriftUrl]) {
      await publishes(url, gateway, { caFile: world.ours.ca })
      await publishes(url.replace('127.0.0.1', 'localhost'), gateway, { ca })
    }
    const offered = { ALPNProtocols: ['h2', 'http/1.1'] }
    expect(await greet(httpUrl, offered)).toMatchObject({ alpn: 'http/1.1' })
    expect((await get(`${adminUrl}/health/ready`, { ca })).status).toBe(200)
    const expiry = await metric(
      gateway,
      /trunkline_tls_certificate_expiry_timestamp_seconds\{listener="thrift"\} (\d+)/,
    )
    expect(new Date(expiry * 1_000).toISOString()).toBe('2049-12-31T23:59:59.000Z')
  })

  it('Given TLS 1.2, then it is refused, unless that version is allowed', async () => {
    const old = { maxVersion: 'TLSv1.2' } as const
    const strict = await start()
    for (const url of [strict.httpUrl, strict.thriftUrl, strict.adminUrl])
      await expect(greet(url, old)).rejects.toMatchObject({ code: expect.stringMatching(/PROTOCOL_VERSION/) })
    expect(
      await metric(strict, /trunkline_tls_handshake_failures_total\{listener="thrift",reason="version"\} (\d+)/),
    ).toBe(1)
    const allowed = await start({ tlsMinVersion: '1.2' })
    expect(await greet(allowed.thriftUrl, old)).toMatchObject({ protocol: 'TLSv1.2' })
    const weak = { ...old, ciphers: 'ECDHE-ECDSA-AES128-SHA' }
    await expect(greet(allowed.thriftUrl, weak)).rejects.toMatchObject({ code: expect.stringMatching(/HANDSHAKE/) })
  })

  it('Given a client that does not trust it, or asked for another name, then it says so at once', async () => {
    const gateway = await start({ host: '127.0.0.2' })
    const untrusted = 'its certificate is not of a trusted authority'
    const misnamed = 'its certificate is for another name'
    for (const url of [gateway.httpUrl, gateway.thriftUrl]) {
      for (const [tls, why] of [
        [{ caFile: world.theirs.ca }, untrusted],
        [{}, untrusted],
        // The certificate names 127.0.0.1 and localhost.
        [{ caFile: world.ours.ca }, misnamed],
      ] as const) {
        const error = await refusal(url, gateway, tls)
        expect([error.name, error.details['why']]).toEqual(['TLS_REFUSED', `token URL: ${why}`])
      }
      await publishes(url, gateway, { caFile: world.ours.ca, serverName: 'localhost' })
    }
    // Without a token to fetch it is the transport that finds out.
    for (const url of [gateway.httpUrl, gateway.thriftUrl]) {
      const bare = connect(url, { token: 't' }, { tls: { caFile: world.theirs.ca } })
      cleanups.push(() => bare.close({ timeoutMs: 1_000 }).catch(() => undefined))
      await expect(bare.producer('t').publish({ payload: 'x' })).rejects.toMatchObject({
        name: 'TLS_REFUSED',
        details: { why: untrusted, endpoints: expect.stringContaining(untrusted) },
      })
    }
  })

  it('Given a server whose certificate has expired, then clients say so', async () => {
    const { certificate, key } = world.ours.expiredServer
    const server = createServer({ cert: pem(certificate), key: pem(key) })
    server.on('tlsClientError', () => undefined)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    cleanups.push(() => new Promise((resolve) => server.close(() => resolve())))
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : 0
    for (const url of [`https://127.0.0.1:${port}`, `thrifts://127.0.0.1:${port}`]) {
      const bare = connect(url, { token: 't' }, { tls: { caFile: world.ours.ca } })
      cleanups.push(() => bare.close({ timeoutMs: 1_000 }).catch(() => undefined))
      await expect(bare.producer('t').publish({ payload: 'x' })).rejects.toMatchObject({
        name: 'TLS_REFUSED',
        details: { why: 'its certificate has expired' },
      })
    }
  })

  it('Given several endpoints of which one has a wrong certificate, then the other serves', async () => {
    const gateway = await start()
    const other = await start({ tlsCertFile: world.theirs.server.certificate, tlsKeyFile: world.theirs.server.key })
    for (let round = 0; round < 4; round++) {
      await publishes(`${gateway.thriftUrl},${other.thriftUrl}`, gateway, { caFile: world.ours.ca })
    }
  })

  it('Given that clients must show a certificate, then only one of the right authority gets in, the admin port apart', async () => {
    const asked = { tlsClientAuth: 'require', tlsClientCaFile: world.ours.ca } as const
    const gateway = await start({ ...asked, adminTlsClientAuth: 'none' })
    const caFile = world.ours.ca
    const shown = ({ certificate, key }: { certificate: string; key: string }): TlsOptions => ({
      caFile,
      certFile: certificate,
      keyFile: key,
    })
    for (const url of [gateway.httpUrl, gateway.thriftUrl]) {
      await publishes(url, gateway, shown(world.ours.client))
      for (const bad of [undefined, world.ours.expiredClient, world.theirs.client]) {
        const options = bad === undefined ? {} : { cert: pem(bad.certificate), key: pem(bad.key) }
        await expect(greet(url, options)).rejects.toThrow()
      }
      const bare = connect(url, { token: 't' }, { tls: { caFile } })
      cleanups.push(() => bare.close({ timeoutMs: 1_000 }).catch(() => undefined))
      await expect(bare.producer('t').publish({ payload: 'x' })).rejects.toMatchObject({
        name: 'TLS_REFUSED',
        details: { why: 'it wants a certificate of this client' },
      })
    }
    expect((await get(`${gateway.adminUrl}/healthz`, { ca: pem(caFile) })).status).toBe(200)
    expect(
      await metric(gateway, /trunkline_tls_handshake_failures_total\{listener="http",reason="certificate"\} (\d+)/),
    ).toBeGreaterThanOrEqual(2)
  })

  it('Given that clients are only asked for one, then none is fine, and a bad one is not', async () => {
    const gateway = await start({ tlsClientAuth: 'request', tlsClientCaFile: world.ours.ca })
    for (const url of [gateway.httpUrl, gateway.thriftUrl, gateway.adminUrl]) {
      await greet(url)
      const { certificate, key } = world.ours.client
      await greet(url, { cert: pem(certificate), key: pem(key) })
    }
    const bad = { cert: pem(world.theirs.client.certificate), key: pem(world.theirs.client.key) }
    await expect(get(`${gateway.httpUrl}/openapi.json`, { rejectUnauthorized: false, ...bad })).rejects.toThrow()
    await publishes(gateway.thriftUrl, gateway, { caFile: world.ours.ca })
    const thriftBad = connect(
      gateway.thriftUrl,
      { token: 't' },
      { tls: { caFile: world.ours.ca, certFile: world.theirs.client.certificate, keyFile: world.theirs.client.key } },
    )
    cleanups.push(() => thriftBad.close({ timeoutMs: 100 }).catch(() => undefined))
    await expect(
      thriftBad.producer('t', { retry: { attemptsMax: 2 } }).publish({ payload: 'x' }),
    ).rejects.toMatchObject({
      details: { endpoints: expect.stringContaining('may refuse the certificate of this client') },
    })
  })

  it('Given a certificate of another authority under load, when it replaces the first, then no call fails and new connections see it', async () => {
    const gateway = await start({ tlsReloadMs: 1_000 })
    const issuerOf = async (url: string): Promise<string> => (await greet(url)).certificate.fingerprint256
    const before = await issuerOf(gateway.thriftUrl)
    let over = false
    let published = 0
    const troubles: string[] = []
    const loads = [gateway.thriftUrl, gateway.httpUrl].map(async (url) => {
      const { clientId, clientSecret, httpUrl } = gateway
      const options = {
        tls: { caFile: world.bothCas },
        troubleAfterFailures: 1,
        onTrouble: ({ kind }: { kind: string }) => troubles.push(kind),
      }
      const one = connect(url, { clientId, clientSecret, tokenUrl: `${httpUrl}/oauth/token` }, options)
      const producer = one.producer('t')
      while (!over) {
        await producer.publish({ payload: 'x' })
        published += 1
        // Connections of their own, as well.
        await get(`${httpUrl}/openapi.json`, { ca: pem(world.bothCas) })
      }
      await one.close()
    })
    world.serve(world.theirs.server)
    for (const url of [gateway.thriftUrl, gateway.httpUrl, gateway.adminUrl])
      while ((await issuerOf(url)) === before) await new Promise((resolve) => setImmediate(resolve))
    const atReload = published
    while (published < atReload + 20) await new Promise((resolve) => setImmediate(resolve))
    over = true
    await Promise.all(loads)
    expect(troubles).toEqual([])
    expect(await metric(gateway, /trunkline_tls_reloads_total\{outcome="ok"\} (\d+)/)).toBe(1)
    await expect(greet(gateway.thriftUrl, { ca: pem(world.ours.ca), rejectUnauthorized: true })).rejects.toThrow()
    await greet(gateway.thriftUrl, { ca: pem(world.theirs.ca), rejectUnauthorized: true })
  })

  it('Given other authorities for clients, when they replace the first, then who was let in by those gets in no more, ticket or not', async () => {
    const tlsClientCaFile = join(world.dir, 'clients.pem')
    writeFileSync(tlsClientCaFile, pem(world.ours.ca))
    const { httpUrl } = await start({ tlsReloadMs: 1_000, tlsClientAuth: 'require', tlsClientCaFile })
    const shown = ({ certificate, key }: KeyPairFiles) => ({ cert: pem(certificate), key: pem(key) })
    const [ours, theirs] = [shown(world.ours.client), shown(world.theirs.client)]
    const asks = (who: object): Promise<number> =>
      get(`${httpUrl}/openapi.json`, { rejectUnauthorized: false, ...who }).then(({ status }) => status)
    const { session } = await greet(httpUrl, ours)
    // The ticket alone: it is as good as the certificate that it was given for.
    expect(await asks({ session })).toBe(200)
    await expect(asks(theirs)).rejects.toThrow()
    writeFileSync(tlsClientCaFile, pem(world.theirs.ca))
    while ((await asks(theirs).catch(() => 0)) !== 200) await new Promise((resolve) => setImmediate(resolve))
    await expect(asks(ours)).rejects.toThrow()
    await expect(asks({ session })).rejects.toThrow()
    await expect(asks({ ...ours, session })).rejects.toThrow()
  })

  it('Given a replaced pair that is no good, then the one from before serves, and the log and a metric tell', async () => {
    const lines: string[] = []
    const logger = createLogger({
      level: 'error',
      format: 'json',
      nowMs: () => 0,
      sink: { write: (line: string) => lines.push(line) },
    })
    const gateway = await start({ tlsReloadMs: 1_000, logger })
    const before = (await greet(gateway.thriftUrl)).certificate.fingerprint256
    const failed = (): Promise<number> => metric(gateway, /trunkline_tls_reloads_total\{outcome="failed"\} (\d+)/)
    const spoiled: readonly (readonly [() => void, string])[] = [
      [() => world.spoil('tlsKeyFile', pem(world.theirs.server.key)), 'holds the key of another certificate'],
      [() => world.spoil('tlsCertFile', 'nothing of the kind'), 'is not PEM'],
      [() => world.serve(world.ours.expiredServer), 'holds one that has expired'],
    ]
    for (const [spoil, problem] of spoiled) {
      const count = (await failed()) || 0
      spoil()
      while (((await failed()) || 0) < count + 2) await new Promise((resolve) => setImmediate(resolve))
      expect((await greet(gateway.thriftUrl)).certificate.fingerprint256).toBe(before)
      expect(lines.filter((line) => line.includes(problem))).toHaveLength(1)
    }
    world.serve(world.theirs.server)
    while ((await greet(gateway.thriftUrl)).certificate.fingerprint256 === before)
      await new Promise((resolve) => setImmediate(resolve))
  })

  it('Given a certificate that is no good at the start, then it does not start, and says which file', async () => {
    const expired = { tlsCertFile: world.ours.expiredServer.certificate, tlsKeyFile: world.ours.expiredServer.key }
    await expect(start(expired)).rejects.toMatchObject({
      name: 'BAD_CONFIG',
      details: { tlsCertFile: expect.stringContaining('has expired') },
    })
    await expect(start({ tlsKeyFile: world.theirs.server.key })).rejects.toMatchObject({
      details: { tlsKeyFile: expect.stringContaining('of another certificate') },
    })
    await expect(start({ tlsCertFile: world.ours.server.key })).rejects.toMatchObject({
      details: { tlsCertFile: expect.stringContaining('holds no certificate') },
    })
  })

  it('Given a peer that speaks plainly, then it hears why in its own protocol', async () => {
    const gateway = await start()
    const say = (url: string, bytes: Uint8Array): Promise<Buffer> =>
      new Promise((resolve) => {
        const heard: Buffer[] = []
        const socket = connectTcp({ host: '127.0.0.1', port: Number(new URL(url).port) })
        socket.on('data', (chunk) => heard.push(chunk))
        socket.on('error', () => undefined)
        socket.on('close', () => resolve(Buffer.concat(heard)))
        socket.write(bytes)
      })
    const http = Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    for (const url of [gateway.httpUrl, gateway.adminUrl]) {
      const answer = (await say(url, http)).toString()
      expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/)
      expect(answer).toContain('This port speaks HTTPS: use https://')
    }
    expect((await say(gateway.thriftUrl, http)).toString()).toContain('HTTP/1.1 400')
    const call = Buffer.from([0, 0, 0, 4, 0x80, 0x01, 0, 1])
    const words = await say(gateway.thriftUrl, call)
    expect(words.readUInt32BE(0)).toBe(words.length - 4)
    expect(words.toString()).toContain('This port speaks Thrift over TLS: use thrifts://')
    expect(await say(gateway.thriftUrl, Buffer.from([0xff, 0xff]))).toHaveLength(0)
    const plain = gateway.thriftUrl.replace('thrifts:', 'thrift:')
    const bare = connect(plain, { token: 't' })
    cleanups.push(() => bare.close({ timeoutMs: 100 }).catch(() => undefined))
    await expect(bare.producer('t', { retry: { attemptsMax: 2 } }).publish({ payload: 'x' })).rejects.toMatchObject({
      // `why` may be of the pool that lets the endpoint rest; what each did stands beside it.
      details: { endpoints: expect.stringContaining('the port speaks another protocol than thrift://') },
    })
  })

  it('Given TLS to a plain gateway, then it is TLS_REFUSED and names the version', async () => {
    const plain = await startWith({})
    const bare = connect(plain.thriftUrl.replace('thrift:', 'thrifts:'), { token: 't' })
    cleanups.push(() => bare.close({ timeoutMs: 100 }).catch(() => undefined))
    await expect(bare.producer('t').publish({ payload: 'x' })).rejects.toMatchObject({
      name: 'TLS_REFUSED',
      details: { why: 'it speaks no TLS, or another version of it' },
    })
  })

  it('Given SIGHUP to an API process, then it looks at its files at once, and goes on', async () => {
    const dir = join(world.dir, 'api')
    // No broker is there: it is alive, and its admin port answers.
    const nowhere = { kafkaAddresses: [], rabbitUrls: ['amqp://u:p@127.0.0.1:1'] }
    const api = await startApi(
      await makeCluster(dir, nowhere, {
        TRUNKLINE_TLS_CERT_FILE: world.served.tlsCertFile,
        TRUNKLINE_TLS_KEY_FILE: world.served.tlsKeyFile,
        TRUNKLINE_TLS_RELOAD_MS: '3600000',
      }),
      { until: 'announced' },
    )
    cleanups.push(() => api.kill().then(() => undefined))
    const before = (await greet(api.url('admin'))).certificate.fingerprint256
    world.serve(world.theirs.server)
    expect((await greet(api.url('admin'))).certificate.fingerprint256).toBe(before)
    api.signal('SIGHUP')
    while ((await greet(api.url('admin'))).certificate.fingerprint256 === before)
      await new Promise((resolve) => setImmediate(resolve))
    expect(api.isRunning).toBe(true)
  })

  it('Given the command line, then --ca-file lets it in, and without it exits with 4 and the reason', async () => {
    const gateway = await start()
    const cwd = mkdtempSync(join(tmpdir(), 'trunkline-cli-'))
    cleanups.push(() => rmSync(cwd, { recursive: true }))
    const env = {
      TRUNKLINE_CLIENT_ID: gateway.clientId,
      TRUNKLINE_CLIENT_SECRET_FILE: join(cwd, 'secret'),
      TRUNKLINE_TOKEN_URL: `${gateway.httpUrl}/oauth/token`,
    }
    writeFileSync(env.TRUNKLINE_CLIENT_SECRET_FILE, gateway.clientSecret, { mode: 0o600 })
    const trusting = { ...env, TRUNKLINE_CA_FILE: world.ours.ca }
    const run = (args: readonly string[], given: Record<string, string>) =>
      runCli(args, { cwd, env: given, stdin: '{"a":1}\n' })
    const { httpUrl, thriftUrl } = gateway
    expect((await run(['topic', 'create', 'cli', '--url', httpUrl], trusting)).code).toBe(0)
    expect((await run(['publish', 'cli', '--url', thriftUrl], trusting)).code).toBe(0)
    const read = await run(['read', 'cli', '--url', httpUrl, '--ca-file', world.ours.ca], env)
    expect([read.code, read.stdout]).toEqual([0, expect.stringContaining('{"a":1}')])
    for (const args of [
      ['topic', 'list', '--url', httpUrl],
      ['publish', 'cli', '--url', thriftUrl],
    ]) {
      const refused = await run(args, env)
      expect([refused.code, refused.stderr]).toEqual([4, expect.stringContaining('not of a trusted authority')])
    }
  })
})

// Owns: the Kafka log that logs in with OAuth tokens: real signed ones of a real issuer over HTTPS, checked by Kafka's own
// validator against the issuer's keys.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { certificateFiles, makeCertificates } from '../../../scripts/stack/certificates.ts'
import type { Stack } from '../../../scripts/stack/stack.ts'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import type { KafkaLog } from '../../../src/adapters/kafka/open.ts'
import { loadConfig } from '../../../src/config/load-config.ts'
import { streamRole } from '../../../src/config/roles.ts'
import { freshKafkaAccess } from '../../../src/main/brokers.ts'
import { sleep } from '../../../src/ports/clock.ts'
import { parseTopicName } from '../../../src/protocol/ids.ts'
import { newIncarnation, openLog, readAll, recordOf } from '../../support/kafka/kafka-node.ts'
import { privateStack, stackRequirement, stackStartMs } from '../../support/stack.ts'

const audience = 'kafka'
const issuer = 'urn:test-issuer'
const [clientId, secret, scope] = ['stream nodes', 's:c&ret', 'kafka.write']

stackRequirement.describe('Kafka log with OAuth tokens', () => {
  let stack: Stack
  let dir: string
  let server: Server
  let key: CryptoKey
  let tokenUrl: string
  /** Life of the tokens that the issuer makes, in seconds; what it was asked. */
  let lifeS = 300
  let asked: { readonly authorization: string; readonly form: string }[] = []
  let signWith: CryptoKey | undefined
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'trunkline-oauth-'))
    const pair = await generateKeyPair('RS256')
    key = pair.privateKey
    const jwks = join(dir, 'jwks.json')
    writeFileSync(
      jwks,
      JSON.stringify({ keys: [{ ...(await exportJWK(pair.publicKey)), kid: '1', use: 'sig', alg: 'RS256' }] }),
    )
    makeCertificates(join(dir, 'issuer'))
    const { certificate, key: tlsKey } = certificateFiles(join(dir, 'issuer')).server
    server = createServer({ cert: readFileSync(certificate), key: readFileSync(tlsKey) }, (request, response) => {
      let form = ''
      request.setEncoding('utf8').on('data', (chunk: string) => {
        form += chunk
      })
      request.on('end', () => {
        const { authorization = '' } = request.headers
        asked.push({ authorization, form })
        const login = `${encodeURIComponent(clientId).replaceAll('%20', '+')}:${encodeURIComponent(secret)}`
        const good = authorization === `Basic ${Buffer.from(login).toString('base64')}`
        if (!good) {
          response.writeHead(401).end('{"error":"invalid_client"}')
          return
        }
        void new SignJWT({ scope })
          .setProtectedHeader({ alg: 'RS256', kid: '1' })
          .setSubject('trunkline')
          .setIssuer(issuer)
          .setAudience(audience)
          .setIssuedAt()
          .setExpirationTime(`${lifeS} s`)
          .sign(signWith ?? key)
          .then((access_token) => response.end(JSON.stringify({ access_token, expires_in: lifeS })))
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    tokenUrl = `https://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/token`
    const url = pathToFileURL(jwks).href
    const handler = 'org.apache.kafka.common.security.oauthbearer'
    stack = await privateStack({
      kafka: 1,
      rabbit: 0,
      secured: true,
      kafkaJvm: [`-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=${url}`],
      kafkaSettings: {
        'listener.name.secured.sasl.enabled.mechanisms': 'OAUTHBEARER',
        'listener.name.secured.oauthbearer.sasl.jaas.config': `${handler}.OAuthBearerLoginModule required;`,
        'listener.name.secured.oauthbearer.sasl.server.callback.handler.class': `${handler}.OAuthBearerValidatorCallbackHandler`,
        // The validator that 4.1.1 takes by default lets a token of any key in.
        'sasl.oauthbearer.jwt.validator.class': `${handler}.BrokerJwtValidator`,
        'sasl.oauthbearer.jwks.endpoint.url': url,
        'sasl.oauthbearer.expected.audience': audience,
        'sasl.oauthbearer.expected.issuer': issuer,
        // A connection lives as long as its token, and no longer.
        'connections.max.reauth.ms': '3600000',
      },
    })
  }, stackStartMs)
  beforeEach(() => {
    asked = []
    lifeS = 300
    signWith = undefined
  })
  afterAll(async () => {
    server.close()
    await stack?.stop()
    rmSync(dir, { recursive: true, force: true })
  })

  const open = (changed: Readonly<Record<string, unknown>> = {}): Promise<KafkaLog> => {
    const secretFile = join(dir, 'secret')
    writeFileSync(secretFile, typeof changed['secret'] === 'string' ? changed['secret'] : secret, { mode: 0o600 })
    const { config } = loadConfig(streamRole, {
      environment: {},
      options: {
        ...{ nodeId: 'n', keyringFile: 'k', gatewayKeyFile: 'g', rabbitShards: ['a=amqps://mq'] },
        ...{ kafkaBrokers: [stack.kafka[0]?.securedAddress], kafkaTls: true, kafkaCaFile: stack.plan.certificates?.ca },
        ...{ kafkaSaslMechanism: 'oauthbearer', kafkaOauthTokenUrl: tokenUrl, kafkaOauthClientId: clientId },
        ...{ kafkaOauthClientSecretFile: secretFile, kafkaOauthScope: scope },
        kafkaOauthCaFile: changed['ca'] ?? certificateFiles(join(dir, 'issuer')).ca,
      },
    })
    const access = freshKafkaAccess(config, systemClock, () => undefined)
    return openLog(config.kafkaBrokers, { access })
  }

  it('Given a client that the issuer knows, then the log opens, appends and reads, all with one token', async () => {
    const log = await open()
    const topic = parseTopicName('oauth')
    await log.createTopic({ name: topic, partitions: 1, format: 'sealed' })
    const writer = await log.open(newIncarnation())
    expect(await writer.append({ topic, partition: 0 }, [recordOf('a')])).toMatchObject({ kind: 'landed' })
    expect(await readAll(log, { topic, partition: 0 })).toHaveLength(1)
    await log.close()
    expect(asked.map(({ form }) => form)).toEqual(['grant_type=client_credentials&scope=kafka.write'])
  })

  it('Given a wrong secret, a token of another key, or an issuer that is not trusted, then it is BROKER_REFUSED', async () => {
    const refused = (reason: string) => ({ name: 'BROKER_REFUSED', details: { reason } })
    await expect(open({ secret: 'wrong' })).rejects.toMatchObject(refused('token refused'))
    await expect(open({ ca: stack.plan.certificates?.ca })).rejects.toMatchObject(
      refused('certificate of the token issuer refused'),
    )
    signWith = (await generateKeyPair('RS256')).privateKey
    await expect(open()).rejects.toMatchObject(refused('login refused'))
  })

  it('Given tokens that end while it writes, then they are renewed before, and no append fails', async () => {
    lifeS = 20
    const log = await open()
    const topic = parseTopicName('renewed-oauth')
    await log.createTopic({ name: topic, partitions: 1, format: 'sealed' })
    const writer = await log.open(newIncarnation())
    let appended = 0
    while (asked.length < 3) {
      expect(await writer.append({ topic, partition: 0 }, [recordOf('a')])).toMatchObject({ kind: 'landed' })
      appended += 1
      await sleep(systemClock, 100)
    }
    expect(await readAll(log, { topic, partition: 0 })).toHaveLength(appended)
    await log.close()
  })
})

import { readFileSync } from 'node:fs'
import { connect } from 'amqplib'
import { Kafka, logLevel, type SASLOptions } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type KafkaVersion, kafkaVersions, type SaslUser } from '../../../scripts/stack/plan.ts'
import type { Stack } from '../../../scripts/stack/stack.ts'
import { privateStack, stackRequirementWith, stackStartMs } from '../../support/stack.ts'

/** A new object each time: kafkajs keeps its authenticator, with the credentials of then, in the one it is given. */
function loginOf({ mechanism, username, password }: SaslUser): SASLOptions {
  return { mechanism, username, password } as SASLOptions
}

describe.each(kafkaVersions)('a secured stack with Kafka %s', (kafkaVersion: KafkaVersion) => {
  stackRequirementWith(kafkaVersion).describe('listens', () => {
    let stack: Stack
    beforeAll(async () => {
      stack = await privateStack({ secured: true, kafkaVersion })
    }, stackStartMs)
    afterAll(() => stack?.stop())

    const read = (file: string | undefined): string => readFileSync(file ?? '', 'utf8')

    async function ask(
      user: SaslUser,
      ca: string[] | undefined = [read(stack.plan.certificates?.ca)],
    ): Promise<number> {
      const kafka = new Kafka({
        brokers: stack.kafka.map(({ securedAddress }) => securedAddress ?? ''),
        sasl: loginOf(user),
        ssl: ca.length === 0 ? true : { ca },
        logLevel: logLevel.NOTHING,
        connectionTimeout: 5000,
        retry: { retries: 0 },
      })
      const admin = kafka.admin()
      try {
        await admin.connect()
        return (await admin.describeCluster()).brokers.length
      } finally {
        await admin.disconnect()
      }
    }

    it('Given each SASL user, when it logs in to Kafka, then it is served', async () => {
      const { users } = stack.plan
      expect(users.map(({ mechanism }) => mechanism)).toEqual(['scram-sha-512', 'scram-sha-256', 'plain'])
      for (const user of users) expect([user.mechanism, await ask(user)]).toEqual([user.mechanism, 1])
    })

    it('Given a wrong password or the user of another mechanism, when it logs in to Kafka, then it is refused', async () => {
      for (const user of stack.plan.users) {
        await expect(ask({ ...user, password: 'wrong' })).rejects.toThrow(/[Aa]uthentication|credentials/)
      }
      const [scram512] = stack.plan.users
      if (scram512 === undefined) throw new Error('no user')
      await expect(ask({ ...scram512, mechanism: 'scram-sha-256' })).rejects.toThrow(/[Aa]uthentication|credentials/)
    })

    it('Given no CA, when a client connects to Kafka, then it does not trust the server', async () => {
      const [user] = stack.plan.users
      if (user === undefined) throw new Error('no user')
      await expect(ask(user, [])).rejects.toThrow(/certificate/)
    })

    it('Given the CA, when a client connects to RabbitMQ over TLS, then it is served; without, it does not trust', async () => {
      const url = stack.rabbit[0]?.tlsUrl ?? ''
      const connection = await connect(url, { ca: [read(stack.plan.certificates?.ca)], noDelay: true })
      const channel = await connection.createChannel()
      // There only with the event exchange's plugin.
      await channel.checkExchange('amq.rabbitmq.event')
      await connection.close()
      await expect(connect(url, { noDelay: true })).rejects.toThrow(/certificate/)
    })

    it('Given a client certificate, when it is shown to RabbitMQ, then only one that holds is served', async () => {
      const { certificates } = stack.plan
      const url = stack.rabbit[0]?.tlsUrl ?? ''
      const shown = (pair: { certificate: string; key: string } | undefined) => ({
        ca: [read(certificates?.ca)],
        cert: read(pair?.certificate),
        key: read(pair?.key),
      })
      const connection = await connect(url, shown(certificates?.client))
      await connection.close()
      await expect(connect(url, shown(certificates?.expiredClient))).rejects.toThrow(
        /certificate expired|closed|ECONNRESET/,
      )
    })
  })
})

stackRequirementWith('4.1.1').describe('a secured stack whose server certificate has expired', () => {
  let stack: Stack
  beforeAll(async () => {
    stack = await privateStack({ secured: true, serverCertificate: 'expired' })
  }, stackStartMs)
  afterAll(() => stack?.stop())

  it('Given the CA, when a client connects, then it refuses the server', async () => {
    const ca = [readFileSync(stack.plan.certificates?.ca ?? '', 'utf8')]
    await expect(connect(stack.rabbit[0]?.tlsUrl ?? '', { ca })).rejects.toThrow('certificate has expired')
    const [user] = stack.plan.users
    if (user === undefined) throw new Error('no user')
    const kafka = new Kafka({
      brokers: [stack.kafka[0]?.securedAddress ?? ''],
      sasl: loginOf(user),
      ssl: { ca },
      logLevel: logLevel.NOTHING,
      retry: { retries: 0 },
    })
    await expect(kafka.admin().connect()).rejects.toThrow('certificate has expired')
  })
})

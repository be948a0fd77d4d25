// Proves: when the disk under the data folder is full, publishing answers STORAGE_FULL and nothing of it is stored, what
// was acked stays and is read, the process lives, and publishing goes on by itself once there is space again.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { SeededRandom } from '../../src/adapters/random/seeded-random.ts'
import { checkFolder } from '../support/crash/check-folder.ts'
import { drainTopic } from '../support/crash/drain.ts'
import { bundleGateway, type GatewayBundle } from '../support/crash/gateway-bundle.ts'
import { freePorts, type GatewayAccess, GatewayLives } from '../support/crash/gateway-lives.ts'
import { type Attempt, Ledger, payloadOf } from '../support/crash/ledger.ts'
import { canMountImages, type Mount, makeImage, mountImage, mountMemory } from '../support/crash/mounts.ts'
import { newCounts } from '../support/crash/observed-client.ts'
import { chooseSeed } from '../support/crash/run-seed.ts'
import { describeViolations, judgeTopic } from '../support/crash/verdict.ts'
import { workFolder } from '../support/crash/work-folder.ts'
import { publishFirst, Writer } from '../support/crash/writer.ts'
import { accessToken } from '../support/gateway-process.ts'
import { requirement } from '../support/requirement.ts'

const mebibyte = 1024 * 1024
const diskBytes = 40 * mebibyte
/** What keeps the disk from having more space, and is removed to free it. */
const ballastBytes = 12 * mebibyte
const eventsPerCall = 300
const callsMax = 400
/** Of the topic that is deleted to make room. */
const bulkCalls = 40
const progressMs = 60_000
const testMsMax = 180_000

type Answer =
  | { readonly kind: 'published' }
  | {
      readonly kind: 'problem'
      readonly status: number
      readonly name: string
      readonly retryable: boolean
      readonly retryAfter: string | null
    }

class Publisher {
  readonly #access: GatewayAccess
  readonly #token: string
  readonly #ledger: Ledger
  #seq = 0

  constructor(access: GatewayAccess, token: string, ledger: Ledger) {
    this.#access = access
    this.#token = token
    this.#ledger = ledger
  }

  /** One call of the JSON API; what is refused is noted as such, and must never be stored. */
  async publish(topic: string, refused: Set<string>): Promise<Answer> {
    const attempts: Attempt[] = Array.from({ length: eventsPerCall }, () => {
      this.#seq += 1
      return this.#ledger.attempt(`http-${topic}`, this.#seq, undefined)
    })
    const events = attempts.map(({ id }) => ({ id, payload: { base64: payloadOf(id).toString('base64') } }))
    const answer = await fetch(`${this.#access.httpUrl}/v1/topics/${topic}/events`, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ events }),
    })
    const content = (await answer.json()) as { positions?: string[]; name?: string; retryable?: boolean }
    if (answer.status === 200) {
      for (const [i, attempt] of attempts.entries()) this.#ledger.settle(attempt, 'acked', content.positions?.[i])
      return { kind: 'published' }
    }
    for (const attempt of attempts) {
      this.#ledger.settle(attempt, 'unknown')
      refused.add(attempt.id)
    }
    const { name = '', retryable = false } = content
    return { kind: 'problem', status: answer.status, name, retryable, retryAfter: answer.headers.get('retry-after') }
  }

  async fill(topic: string, refused: Set<string>): Promise<Answer> {
    for (let call = 0; call < callsMax; call++) {
      const answer = await this.publish(topic, refused)
      if (answer.kind === 'problem') return answer
    }
    throw new Error(`the disk is not full after ${callsMax} calls`)
  }
}

interface Disk {
  readonly name: string
  readonly mount: (dir: string) => Mount
}

const disks: readonly Disk[] = [
  { name: 'tmpfs', mount: (dir) => mountMemory(join(dir, 'disk'), diskBytes) },
  {
    name: 'ext4',
    mount: (dir) => {
      const image = join(dir, 'image')
      makeImage(image, diskBytes)
      return mountImage(image, join(dir, 'disk'))
    },
  },
]

const root = requirement('root with mounts', canMountImages)

root.describe('a full disk', () => {
  let bundle: GatewayBundle
  beforeAll(async () => {
    bundle = await bundleGateway()
  })
  afterAll(() => bundle.remove())

  for (const disk of disks) {
    it(
      `stops publishing, keeps and serves everything, and goes on when there is space again (${disk.name})`,
      async () => {
        const random = new SeededRandom(chooseSeed(`storage full, ${disk.name}`))
        const work = workFolder('full')
        const mount = disk.mount(work.dir)
        const ballast = join(mount.path, 'ballast')
        writeFileSync(ballast, Buffer.alloc(ballastBytes, 1))
        const home = join(work.dir, 'home')
        mkdirSync(home)
        const dataDir = join(mount.path, 'data')
        const lives = new GatewayLives({ entry: bundle.entry, dir: home, dataDir, ports: await freePorts(random) })
        let writer: Writer | undefined
        try {
          // Given a gateway whose disk is filled up by publishing
          const life = await lives.startReady()
          const access = lives.access()
          const token = await accessToken({ urls: urlsOf(access), credentials: access })
          const ledger = new Ledger()
          const refused = new Set<string>()
          await publishFirst(access, 'main', ledger)
          const http = new Publisher(access, token, ledger)
          expect(await http.fill('main', refused)).toEqual(full)

          // When more is published: typed answers, from the JSON API, and patience in the SDK
          writer = new Writer({
            name: 'sdk',
            topic: 'main',
            access,
            counts: newCounts(),
            ledger,
            random: random.fork('writer'),
          })
          writer.start()
          for (let call = 0; call < 5; call++) {
            const answer = await http.publish('main', refused)
            if (answer.kind === 'problem') expect(answer).toEqual(full)
          }
          // Then everything acked is read, and nothing of what was refused
          const meanwhile = await drainTopic(access, 'main', ledger)
          expect(meanwhile.faults).toEqual([])
          expect(describeViolations(judgeTopic(ledger.attempts, meanwhile.stored))).toBe('')
          expect(meanwhile.stored.filter(({ id }) => refused.has(id))).toEqual([])

          const refusedInAll = refused.size / eventsPerCall
          process.stdout.write(`full at ${meanwhile.stored.length} events; ${refusedInAll} calls refused\n`)

          // And when space is freed, the same process goes on: what waited lands, and what is new
          const before = ledger.acked
          rmSync(ballast)
          await ledger.until('publishing goes on', () => ledger.acked >= before + 200, progressMs)
          await writer.stop()
          await ledger.until('every publish is answered', () => ledger.pending === 0, progressMs)
          expect(await http.publish('main', refused)).toEqual({ kind: 'published' })
          const { stored, faults } = await drainTopic(access, 'main', ledger)
          expect(faults).toEqual([])
          expect(describeViolations(judgeTopic(ledger.attempts, stored))).toBe('')
          expect(stored.filter(({ id }) => refused.has(id))).toEqual([])
          expect(writer.refusals).toEqual([])
          expect(life.hasEnded).toBe(false)
          expect(life.output()).not.toMatch(/unhandled/i)
          await writer.close()
          await life.kill('SIGTERM')
          expect(await life.exited).toEqual({ code: 0, signal: null })
          expect(await checkFolder(dataDir)).toBe('')
        } finally {
          await writer?.abandon()
          await lives.end()
          mount.unmount()
          work.remove()
        }
      },
      testMsMax,
    )
  }

  it(
    'starts again and serves what it has while the disk is full, and a deleted topic makes room',
    async () => {
      const work = workFolder('full')
      const mount = mountMemory(join(work.dir, 'disk'), diskBytes - ballastBytes)
      const home = join(work.dir, 'home')
      mkdirSync(home)
      const ports = await freePorts(new SeededRandom(chooseSeed('storage full, restart')))
      const lives = new GatewayLives({ entry: bundle.entry, dir: home, dataDir: join(mount.path, 'data'), ports })
      try {
        await lives.startReady()
        const access = lives.access()
        const token = await accessToken({ urls: urlsOf(access), credentials: access })
        const ledgers = { bulk: new Ledger(), main: new Ledger() }
        const refused = new Set<string>()
        const bulk = new Publisher(access, token, ledgers.bulk)
        const main = new Publisher(access, token, ledgers.main)
        for (let call = 0; call < bulkCalls; call++) await bulk.publish('bulk', refused)
        expect(await main.fill('main', refused)).toEqual(full)

        await lives.current?.kill()
        await lives.startReady()
        const served = await drainTopic(access, 'main', ledgers.main)
        expect(describeViolations(judgeTopic(ledgers.main.attempts, served.stored))).toBe('')

        const deleted = await fetch(`${access.httpUrl}/v1/topics/bulk`, {
          method: 'DELETE',
          headers: { authorization: `Bearer ${token}` },
        })
        expect(deleted.status).toBe(204)
        expect(await main.publish('main', refused)).toEqual({ kind: 'published' })
        const { stored } = await drainTopic(access, 'main', ledgers.main)
        expect(describeViolations(judgeTopic(ledgers.main.attempts, stored))).toBe('')
        expect(stored.filter(({ id }) => refused.has(id))).toEqual([])
      } finally {
        await lives.end()
        mount.unmount()
        work.remove()
      }
    },
    testMsMax,
  )
})

const full: Answer = { kind: 'problem', status: 503, name: 'STORAGE_FULL', retryable: true, retryAfter: '5' }

function urlsOf({ httpUrl, thriftUrl, adminUrl }: GatewayAccess): {
  http: string
  thrift: string
  admin: string
  token: string
} {
  return { http: httpUrl, thrift: thriftUrl, admin: adminUrl, token: `${httpUrl}/oauth/token` }
}

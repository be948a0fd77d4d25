// Owns: the programs that a stack is made of: where they are, which are missing, how Debian installs them.
// 1. Nothing is installed unless that was asked for.
// 2. An installed package does not start a service: policy-rc.d forbids it for that time, where there is none yet.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { areJarsCached } from './jars.ts'
import type { KafkaVersion } from './plan.ts'

export interface Need {
  readonly kafka: boolean
  readonly kafkaVersion: KafkaVersion
  readonly rabbit: boolean
  readonly secured: boolean
}

interface Missing {
  readonly what: string
  readonly debianPackage: string
}

const javaMajorMin = 17
const rabbitFolder = '/usr/lib/rabbitmq/lib'
const policyFile = '/usr/sbin/policy-rc.d'

export function javaProgram(): string {
  const home = process.env['JAVA_HOME']
  return home !== undefined && existsSync(join(home, 'bin', 'java')) ? join(home, 'bin', 'java') : 'java'
}

/** The scripts of the RabbitMQ package itself: Debian's /usr/sbin/rabbitmq-server changes user and home. */
export function rabbitSbin(): string | undefined {
  if (!existsSync(rabbitFolder)) return undefined
  const newest = readdirSync(rabbitFolder)
    .filter((name) => name.startsWith('rabbitmq_server-'))
    .sort()
    .at(-1)
  return newest === undefined ? undefined : join(rabbitFolder, newest, 'sbin')
}

export function missingTools(need: Need): readonly Missing[] {
  const missing: Missing[] = []
  if (need.kafka && javaMajor() < javaMajorMin) {
    missing.push({ what: `java ${javaMajorMin} or newer`, debianPackage: 'default-jre-headless' })
  }
  if (need.kafka && !areJarsCached(need.kafkaVersion) && !runs('mvn', ['--version'])) {
    missing.push({ what: `mvn, to fetch Kafka ${need.kafkaVersion}`, debianPackage: 'maven' })
  }
  if (need.rabbit && (rabbitSbin() === undefined || !runs('epmd', ['-help']))) {
    missing.push({ what: 'RabbitMQ (/usr/lib/rabbitmq)', debianPackage: 'rabbitmq-server' })
  }
  if (need.secured && !runs('openssl', ['version'])) missing.push({ what: 'openssl', debianPackage: 'openssl' })
  return missing
}

export function describeMissing(missing: readonly Missing[]): string {
  const packages = missing.map(({ debianPackage }) => debianPackage).join(' ')
  return `missing here: ${missing.map(({ what }) => what).join('; ')} (Debian: apt-get install ${packages}, or as root: npm run stack -- install)`
}

/** As root on Debian; throws where that cannot be. */
export function installMissing(missing: readonly Missing[]): void {
  if (missing.length === 0) return
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    throw new Error(`only root on Debian can install; ${describeMissing(missing)}`)
  }
  const isPolicyOurs = !existsSync(policyFile)
  if (isPolicyOurs) writeFileSync(policyFile, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    aptGet(['update', '-qq'])
    const packages = missing.map(({ debianPackage }) => debianPackage)
    aptGet(['install', '-y', '-qq', '--no-install-recommends', ...packages])
  } finally {
    if (isPolicyOurs) rmSync(policyFile, { force: true })
  }
}

function aptGet(args: readonly string[]): void {
  const { status, stderr } = spawnSync('apt-get', args, {
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
  if (status !== 0) throw new Error(`apt-get ${args.join(' ')} failed:\n${stderr.slice(-2000)}`)
}

function javaMajor(): number {
  const { stderr } = spawnSync(javaProgram(), ['-version'], { encoding: 'utf8' })
  return Number(/version "(\d+)/.exec(stderr ?? '')?.[1] ?? 0)
}

/** The program is there; what it answers does not matter. */
function runs(program: string, args: readonly string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).error === undefined
}

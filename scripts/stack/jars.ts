// Owns: Kafka's jars, fetched once per version with Maven into a cache of the user.
// 1. A folder of that name is complete: it is filled under another name and renamed. Two that fetch at once do no harm.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import type { KafkaVersion } from './plan.ts'

const fetchMs = 10 * 60_000
const outputBytesMax = 4096

export function areJarsCached(version: KafkaVersion): boolean {
  return existsSync(jarFolder(version))
}

/** The class path; fetches the jars when they are not there. */
export async function kafkaClassPath(version: KafkaVersion): Promise<string> {
  if (!areJarsCached(version)) await fetchJars(version)
  return join(jarFolder(version), '*')
}

function jarFolder(version: KafkaVersion): string {
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'trunkline', `kafka-${version}`)
}

async function fetchJars(version: KafkaVersion): Promise<void> {
  const target = jarFolder(version)
  mkdirSync(dirname(target), { recursive: true })
  const folder = mkdtempSync(`${target}.tmp-`)
  try {
    writeFileSync(join(folder, 'pom.xml'), pom(version))
    await runMaven(folder)
    const jars = join(folder, 'jars')
    if (!readdirSync(jars).includes(`kafka_2.13-${version}.jar`)) throw new Error(`mvn fetched no Kafka ${version}`)
    try {
      renameSync(jars, target)
    } catch (error) {
      // Another one was faster; what it fetched is the same.
      if (!areJarsCached(version)) throw error
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function runMaven(folder: string): Promise<void> {
  const args = ['-q', '-B', 'dependency:copy-dependencies', `-DoutputDirectory=${join(folder, 'jars')}`]
  return new Promise((resolve, reject) => {
    let output = ''
    const child = spawn('mvn', args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], timeout: fetchMs })
    const note = (chunk: string): void => {
      output = (output + chunk).slice(-outputBytesMax)
    }
    child.stdout.setEncoding('utf8').on('data', note)
    child.stderr.setEncoding('utf8').on('data', note)
    child.once('error', (error) => reject(new Error(`mvn could not be started: ${error.message}`)))
    child.once('close', (code) => {
      if (code === 0) resolve()
      else reject(new Error(`mvn could not fetch Kafka's jars:\n${output}`))
    })
  })
}

function pom(version: KafkaVersion): string {
  const dependencies = [
    ['org.apache.kafka', 'kafka_2.13', version],
    ['org.apache.kafka', 'kafka-tools', version],
    ['org.slf4j', 'slf4j-simple', '1.7.36'],
  ]
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>trunkline</groupId><artifactId>stack</artifactId><version>1</version>
<dependencies>
${dependencies.map(([group, artifact, number]) => `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${number}</version></dependency>`).join('\n')}
</dependencies></project>
`
}

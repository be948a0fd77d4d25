import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { areJarsCached, kafkaClassPath } from '../../../scripts/stack/jars.ts'

describe("the cache of Kafka's jars", () => {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'trunkline-jars-test-'))
    mkdirSync(join(folder, 'bin'))
    vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'))
    vi.stubEnv('PATH', `${join(folder, 'bin')}${delimiter}${process.env['PATH'] ?? ''}`)
  })
  afterEach(() => {
    vi.unstubAllEnvs()
    rmSync(folder, { recursive: true, force: true })
  })

  /** A Maven that does what `script` says with the output folder in $out, and counts its runs. */
  function standIn(script: string): void {
    const file = join(folder, 'bin', 'mvn')
    writeFileSync(
      file,
      `#!/bin/sh\nfor a in "$@"; do case "$a" in -DoutputDirectory=*) out=\${a#*=};; esac; done\necho run >> ${folder}/runs\n${script}\n`,
    )
    chmodSync(file, 0o755)
  }

  it('Given an empty cache, when two fetch at once, then both have all jars and nothing else is left', async () => {
    standIn('mkdir "$out"; touch "$out/other.jar"; sleep 0.2; touch "$out/kafka_2.13-4.1.1.jar"')
    expect(areJarsCached('4.1.1')).toBe(false)
    const [one, other] = await Promise.all([kafkaClassPath('4.1.1'), kafkaClassPath('4.1.1')])
    expect(one).toBe(other)
    expect(readdirSync(join(folder, 'cache', 'trunkline'))).toEqual(['kafka-4.1.1'])
    expect(readdirSync(join(folder, 'cache', 'trunkline', 'kafka-4.1.1')).sort()).toEqual([
      'kafka_2.13-4.1.1.jar',
      'other.jar',
    ])
    standIn('exit 1')
    await expect(kafkaClassPath('4.1.1')).resolves.toBe(one)
  })

  it.each([
    ['fails', 'mkdir "$out"; touch "$out/kafka_2.13-4.1.1.jar"; echo no such repository; exit 1', 'no such repository'],
    ['fetches something else', 'mkdir "$out"; touch "$out/other.jar"', 'fetched no Kafka 4.1.1'],
  ])('Given an empty cache, when Maven %s, then that is said and nothing is kept', async (_, script, words) => {
    standIn(script)
    await expect(kafkaClassPath('4.1.1')).rejects.toThrow(words)
    expect(readdirSync(join(folder, 'cache', 'trunkline'))).toEqual([])
    expect(areJarsCached('4.1.1')).toBe(false)
  })
})

// An old client with stock Thrift and Python's hmac: its sessions are signed with HMAC-MD5, and no other way round is open.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { requirement } from '../../support/requirement.ts'
import { AccessWorld, clientSecret } from '../access/harness.ts'
import { runPython, seenIn } from './python-program.ts'
import { generatePython, prepareStockThrift } from './toolchain.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const stock = requirement('Apache Thrift for Python', prepareStockThrift)

describe('docs/connect.md', () => {
  it('Given the document, When it shows the keys of an old client, Then they are those that are tested', () => {
    const program = readFileSync(new URL('md5_client.py', import.meta.url), 'utf8')
    const shown = /```python\n(class Md5Keys[\s\S]*?)```/.exec(readFileSync(join(root, 'docs/connect.md'), 'utf8'))?.[1]
    expect(shown === undefined ? undefined : program.includes(`\n${shown}\n`)).toBe(true)
  })
})

stock.describe('a client that signs with HMAC-MD5', () => {
  let dir: string
  let world: AccessWorld

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'trunkline-md5-'))
    generatePython(join(root, 'idl/trunkline.thrift'), join(dir, 'generated'))
    const rules = [{ allow: ['publish', 'read'], topics: ['*'], to: [{ client: 'old' }, { client: 'other' }] }]
    const clients = [{ clientId: 'old', allowHmacMd5: true }, { clientId: 'other' }]
    world = await AccessWorld.start(clients, rules, { allowHmacMd5: true })
  })
  afterAll(async () => {
    await world?.close()
    rmSync(dir, { recursive: true, force: true })
  })

  it('Given stock Thrift and Python, When it writes, reads and tries the other algorithm, Then only its own is right', async () => {
    const file = join(dir, 'world.json')
    const { httpUrl, thriftUrl } = world.gateway
    writeFileSync(file, JSON.stringify({ httpUrl, thriftUrl, old: 'old', other: 'other', secret: clientSecret }))
    const lines = await runPython('md5_client.py', { args: [file], generated: join(dir, 'generated') })
    expect(seenIn(lines)).toMatchObject([
      { act: 'written', macBytes: 16, error: 'NOTHING_TO_ACK', isShort: true },
      { act: 'read', texts: ['from afar'], macBytes: 16 },
      { act: 'HMAC-SHA256 in a session of HMAC-MD5', error: { name: 'BAD_PROOF' } },
      { act: 'HMAC-MD5 in a session of HMAC-SHA256', error: { name: 'BAD_PROOF' } },
      { act: 'HMAC-SHA256 for the old client too', error: null },
      {
        act: 'not allowed',
        error: {
          name: 'WEAK_MAC_REFUSED',
          code: 1105,
          retryable: false,
          details: { macAlgorithm: 'hmac-md5', why: 'not allowed to this client' },
        },
      },
    ])
  })
})

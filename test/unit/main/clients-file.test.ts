// clients.json: what it may say, and that a refusal never quotes it.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ClientRegistry, hashClientSecret } from '../../../src/api-tier/auth/client-registry.ts'
import { clientsFileText, readClientsFile } from '../../../src/main/clients-file.ts'

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'trunkline-clients-'))
  path = join(folder, 'clients.json')
})
afterEach(() => rmSync(folder, { recursive: true }))

const secretHash = hashClientSecret('a secret of some length')

describe('clients.json', () => {
  it('given what init writes, then its client logs in with its secret only', () => {
    writeFileSync(path, clientsFileText('orders', 'the secret'))
    const registry = new ClientRegistry(readClientsFile(path))
    expect(registry.authenticate('orders', 'the secret')).toMatchObject({ subject: 'orders', tenant: 'default' })
    expect(registry.authenticate('orders', 'another')).toBeUndefined()
  })

  it('given several clients, then each has its own name, tenant and switch', () => {
    const clients = [
      { clientId: 'a', secretHash },
      { clientId: 'b', secretHash, subject: 'service-b', tenant: 'blue', allowHmacMd5: true },
    ]
    writeFileSync(path, JSON.stringify({ version: 1, clients }))
    expect(readClientsFile(path)).toEqual([
      { clientId: 'a', secretHash, subject: 'a', tenant: 'default' },
      { clientId: 'b', secretHash, subject: 'service-b', tenant: 'blue', allowHmacMd5: true },
    ])
  })

  it.each<[string, string, string]>([
    ['not JSON', '{"version":1,CANARY', 'is not JSON'],
    ['a secret instead of a hash', '{"version":1,"clients":[{"clientId":"a","secretHash":"CANARY"}]}', '/clients/0'],
    ['an unknown field', `{"version":1,"clients":[{"clientId":"a","secretHash":"${secretHash}","CANARY":1}]}`, 'form'],
    [
      'a switch that is no boolean',
      `{"version":1,"clients":[{"clientId":"a","secretHash":"${secretHash}","allowHmacMd5":"CANARY"}]}`,
      '/clients/0/allowHmacMd5',
    ],
    ['no client', '{"version":1,"clients":[]}', '/clients'],
    ['another version', '{"version":2,"clients":[]}', '/version'],
    [
      'a client twice',
      `{"version":1,"clients":[{"clientId":"a","secretHash":"${secretHash}"},{"clientId":"a","secretHash":"${secretHash}"}]}`,
      'twice',
    ],
  ])('given %s, then it is refused without being quoted', (_, text, problem) => {
    writeFileSync(path, text)
    expect(() => readClientsFile(path)).toThrow(
      expect.objectContaining({ name: 'BAD_CONFIG', details: { clientsFile: expect.stringContaining(problem) } }),
    )
    expect(() => readClientsFile(path)).toThrow(
      expect.objectContaining({ details: { clientsFile: expect.not.stringContaining('CANARY') } }),
    )
  })

  it('given no file, then that is told', () => {
    expect(() => readClientsFile(path)).toThrow(
      expect.objectContaining({ details: { clientsFile: expect.stringContaining('cannot be read') } }),
    )
  })
})

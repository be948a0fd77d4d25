// Owns: a TLS server whose key sets are wrong in one way each: moved, endless, silent, dripping, refusing, no JSON.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { CertificateFiles, KeyPairFiles } from '../../../scripts/stack/certificates.ts'

export interface BadKeys {
  readonly url: string
  /** Paths that were asked for, in order. */
  readonly asked: readonly string[]
  close(): Promise<void>
}

const dripMs = 500

export async function startBadKeys(files: CertificateFiles, pair: KeyPairFiles = files.server): Promise<BadKeys> {
  const asked: string[] = []
  const tls = { cert: readFileSync(pair.certificate), key: readFileSync(pair.key) }
  const server = createServer(tls, (request, response) => {
    const path = request.url ?? ''
    asked.push(path)
    switch (path) {
      case '/moved':
        response.writeHead(302, { location: '/there' }).end()
        return
      case '/there':
        response.end('{"keys":[]}')
        return
      case '/endless': {
        response.writeHead(200, { 'content-type': 'application/json' })
        const more = (): void => {
          while (!response.destroyed && response.write('x'.repeat(64 * 1024)));
        }
        response.on('drain', more)
        more()
        return
      }
      case '/silent':
        return
      case '/dripping': {
        response.writeHead(200, { 'content-type': 'application/json' })
        const drip = setInterval(() => response.write(' '), dripMs)
        response.on('close', () => clearInterval(drip))
        return
      }
      case '/refusing':
        response.writeHead(503).end('{"keys":[]}')
        return
      default:
        response.end('<html>')
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `https://localhost:${(server.address() as AddressInfo).port}`,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

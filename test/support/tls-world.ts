// Owns: certificates for tests of TLS: authorities of their own that have never heard of each other, and the files that a
// gateway is given, which a test may replace.
import { copyFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConnectionOptions, connect, type PeerCertificate, type TLSSocket } from 'node:tls'
import {
  type CertificateFiles,
  certificateFiles,
  type KeyPairFiles,
  makeCertificates,
} from '../../scripts/stack/certificates.ts'
import { missingTools } from '../../scripts/stack/tools.ts'
import { requirement } from './requirement.ts'

export const opensslRequirement = requirement('openssl on this machine', () => {
  const need = { kafka: false, kafkaVersion: '4.1.1', rabbit: false, secured: true } as const
  return missingTools(need).length === 0 || 'Debian: apt-get install openssl'
})

export interface TlsWorld {
  readonly dir: string
  readonly ours: CertificateFiles
  /** Of another authority. */
  readonly theirs: CertificateFiles
  /** A file that trusts both. */
  readonly bothCas: string
  /** What a gateway is told; at first our server's. */
  readonly served: { readonly tlsCertFile: string; readonly tlsKeyFile: string }
  /** Replaces what is served, as renewals do. */
  serve(pair: KeyPairFiles): void
  /** Replaces one of the two files by a text. */
  spoil(name: 'tlsCertFile' | 'tlsKeyFile', text: string): void
  remove(): void
}

export function makeTlsWorld(): TlsWorld {
  const dir = mkdtempSync(join(tmpdir(), 'trunkline-tls-'))
  for (const name of ['ours', 'theirs']) makeCertificates(join(dir, name))
  const [ours, theirs] = [certificateFiles(join(dir, 'ours')), certificateFiles(join(dir, 'theirs'))]
  const bothCas = join(dir, 'both-cas.pem')
  writeFileSync(bothCas, readFileSync(ours.ca, 'utf8') + readFileSync(theirs.ca, 'utf8'))
  const served = { tlsCertFile: join(dir, 'served.pem'), tlsKeyFile: join(dir, 'served.key') }
  const world: TlsWorld = {
    dir,
    ours,
    theirs,
    bothCas,
    served,
    serve: (pair) => {
      for (const [from, to] of [
        [pair.certificate, served.tlsCertFile],
        [pair.key, served.tlsKeyFile],
      ] as const) {
        copyFileSync(from, `${to}.new`)
        renameSync(`${to}.new`, to)
      }
    },
    spoil: (name, text) => writeFileSync(served[name], text, { mode: 0o600 }),
    remove: () => rmSync(dir, { recursive: true, force: true }),
  }
  world.serve(ours.server)
  return world
}

export function pem(file: string): string {
  return readFileSync(file, 'utf8')
}

export interface Greeting {
  /** Of the server. */
  readonly certificate: PeerCertificate
  readonly protocol: string | null
  readonly alpn: string | false | null
  /** To resume; of TLS 1.3 only. */
  readonly session: Buffer | undefined
}

/** One handshake with whatever listens at `url`, over when the server has had its say about us. Rejects with its code. */
export function greet(url: string, options: ConnectionOptions = {}): Promise<Greeting> {
  const { hostname, port } = new URL(url.replace(/^thrifts?/, 'https'))
  return new Promise((resolve, reject) => {
    const socket: TLSSocket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false, ...options })
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('closed')))
    socket.once('secureConnect', () => {
      const greeting: Omit<Greeting, 'session'> = {
        certificate: socket.getPeerCertificate(),
        protocol: socket.getProtocol(),
        alpn: socket.alpnProtocol,
      }
      // In TLS 1.3 the server judges our certificate only now: a ticket is its yes, and older versions have had theirs.
      const done = (session?: Buffer): void => {
        resolve({ ...greeting, session })
        socket.destroy()
      }
      if (socket.getProtocol() === 'TLSv1.3') socket.once('session', done)
      else done()
    })
  })
}

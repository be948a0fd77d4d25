// Owns: the certificates of a secured stack: a CA of its own, servers for localhost and 127.0.0.1, a client, and one of
// each that expired long ago, so that a test can see it refused.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface CertificateFiles {
  readonly ca: string
  readonly server: KeyPairFiles
  readonly client: KeyPairFiles
  readonly expiredServer: KeyPairFiles
  readonly expiredClient: KeyPairFiles
}

export interface KeyPairFiles {
  readonly certificate: string
  /** PKCS #8. */
  readonly key: string
  /** Both in one file, as Java wants it. */
  readonly both: string
}

const validity = {
  valid: ['20200101000000Z', '20491231235959Z'],
  expired: ['20200101000000Z', '20210101000000Z'],
} as const

const configuration = `[req]
distinguished_name = dn
prompt = no
[dn]
CN = Trunkline test stack
[ca]
default_ca = own
[own]
database = index.txt
serial = serial.txt
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
subjectAltName = DNS:localhost, IP:127.0.0.1
extendedKeyUsage = serverAuth, clientAuth
[client]
extendedKeyUsage = clientAuth
`

export function certificateFiles(folder: string): CertificateFiles {
  const pair = (name: string): KeyPairFiles => ({
    certificate: join(folder, `${name}.pem`),
    key: join(folder, `${name}.key`),
    both: join(folder, `${name}.both.pem`),
  })
  return {
    ca: join(folder, 'ca.pem'),
    server: pair('server'),
    client: pair('client'),
    expiredServer: pair('expired-server'),
    expiredClient: pair('expired-client'),
  }
}

/** Does nothing when they are there. */
export function makeCertificates(folder: string): void {
  if (existsSync(folder)) return
  const draft = `${folder}.tmp`
  rmSync(draft, { recursive: true, force: true })
  mkdirSync(draft, { recursive: true, mode: 0o700 })
  const openssl = (...args: readonly string[]): void => {
    const { status, stderr, error } = spawnSync('openssl', args, { cwd: draft, encoding: 'utf8' })
    if (status !== 0) throw new Error(`openssl ${args[0]} failed: ${error?.message ?? stderr}`)
  }
  writeFileSync(join(draft, 'openssl.cnf'), configuration)
  writeFileSync(join(draft, 'index.txt'), '')
  writeFileSync(join(draft, 'serial.txt'), '1000\n')
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc', '-config', 'openssl.cnf']
  openssl(
    'req',
    '-x509',
    ...newKey,
    '-days',
    '10000',
    '-extensions',
    'authority',
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
  )
  for (const [name, role, lasts] of [
    ['server', 'server', 'valid'],
    ['client', 'client', 'valid'],
    ['expired-server', 'server', 'expired'],
    ['expired-client', 'client', 'expired'],
  ] as const) {
    const [from, to] = validity[lasts]
    const subject = role === 'server' ? 'localhost' : 'trunkline-client'
    openssl('req', ...newKey, '-subj', `/CN=${subject}`, '-keyout', `${name}.key`, '-out', `${name}.csr`)
    const times = ['-startdate', from, '-enddate', to]
    openssl(
      'ca',
      '-batch',
      '-notext',
      '-config',
      'openssl.cnf',
      '-extensions',
      role,
      ...times,
      '-in',
      `${name}.csr`,
      '-out',
      `${name}.pem`,
    )
    const both = ['key', 'pem'].map((end) => readFileSync(join(draft, `${name}.${end}`), 'utf8')).join('')
    writeFileSync(join(draft, `${name}.both.pem`), both, { mode: 0o600 })
  }
  renameSync(draft, folder)
}

// Owns: the certificates of this process's listeners: read, checked, and read again while it runs.
// 1. At the start a file that is not as it should be is BAD_CONFIG, all of them at once.
// 2. Later one changes nothing: what was good goes on, the mistake is logged once and counted until it is mended. So the
//    files may be replaced one after the other.
// 3. What a pair is good for is told by `trunkline_tls_certificate_expiry_timestamp_seconds`.
// Leaves out: the handshake (api-tier/tls-front.ts), TLS to brokers (brokers.ts).
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import {
  type ClientAuth,
  type ListenerTls,
  serverOptionsOf,
  type TlsFront,
  type TlsTerms,
} from '../api-tier/tls-front.ts'
import { type ConfigProblem, configError } from '../config/load-config.ts'
import { FileReads } from '../config/secret-file.ts'
import type { TlsConfig } from '../config/tls-settings.ts'
import type { Logger } from '../observability/log.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import { TrunklineError } from '../protocol/errors.ts'

export type ListenerName = 'http' | 'thrift' | 'admin'

export interface ListenerCertificatesDeps {
  readonly config: TlsConfig
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Pick<Metrics, 'tlsCertificateExpiry' | 'tlsReloads' | 'tlsHandshakeFailures'>
}

/** What the files hold, found good. */
interface Certificates {
  readonly cert: string
  readonly key: string
  readonly clientCa: string | undefined
  /** Of whichever certificate of the chain ends first. */
  readonly expiresAtMs: number
}

const msPerSecond = 1_000

export class ListenerCertificates {
  readonly #deps: ListenerCertificatesDeps
  readonly #fronts = new Map<ListenerName, TlsFront>()
  #current: Certificates
  /** The texts that were refused last: they are told once. */
  #refused: string | undefined
  #timer: Timer | undefined

  /** Undefined without TLS. The caller closes it. Errors: BAD_CONFIG naming every file with a problem. */
  static open(deps: ListenerCertificatesDeps): ListenerCertificates | undefined {
    return deps.config.tlsCertFile === undefined ? undefined : new ListenerCertificates(deps)
  }

  private constructor(deps: ListenerCertificatesDeps) {
    this.#deps = deps
    this.#current = readCertificates(deps.config, deps.clock.nowMs())
    this.#watch()
  }

  of(listener: ListenerName): ListenerTls {
    const { clock, metrics } = this.#deps
    return {
      terms: this.#terms(listener),
      clock,
      onFront: (front) => {
        this.#fronts.set(listener, front)
        // Between `of` and now the files may have been replaced.
        front.renew(this.#terms(listener))
        metrics.tlsCertificateExpiry.readFrom({ listener }, () => this.#current.expiresAtMs / msPerSecond)
      },
      onFailure: (reason) => metrics.tlsHandshakeFailures.add({ listener, reason }),
    }
  }

  /** Looks at the files now. Never throws: invariant 2. */
  reload(): void {
    const { config, clock, logger, metrics } = this.#deps
    try {
      const read = readCertificates(config, clock.nowMs())
      this.#refused = undefined
      if (isSame(read, this.#current)) return
      const before = this.#current
      this.#current = read
      try {
        for (const [listener, front] of this.#fronts) front.renew(this.#terms(listener))
      } catch (thrown) {
        this.#current = before
        for (const [listener, front] of this.#fronts) front.renew(this.#terms(listener))
        throw thrown
      }
      metrics.tlsReloads.add({ outcome: 'ok' })
      logger.info({ tier: 'main' }, 'the TLS certificates were replaced')
    } catch (thrown) {
      const problem = thrown instanceof TrunklineError ? Object.entries(thrown.details).flat().join(': ') : 'not usable'
      metrics.tlsReloads.add({ outcome: 'failed' })
      if (this.#refused === problem) return
      this.#refused = problem
      logger.error(
        { tier: 'main', errorCode: 'BAD_CONFIG', reason: problem },
        'the TLS files are not as they should be: the certificates from before stay in use',
      )
    }
  }

  close(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #watch(): void {
    this.#timer = this.#deps.clock.after(this.#deps.config.tlsReloadMs, () => {
      this.reload()
      this.#watch()
    })
  }

  #terms(listener: ListenerName): TlsTerms {
    const { tlsMinVersion, tlsClientAuth, adminTlsClientAuth } = this.#deps.config
    const ofAdmin = listener === 'admin' && adminTlsClientAuth !== 'same' ? adminTlsClientAuth : undefined
    const clientAuth: ClientAuth = ofAdmin ?? tlsClientAuth
    const { cert, key, clientCa } = this.#current
    return {
      cert,
      key,
      minVersion: tlsMinVersion === '1.2' ? 'TLSv1.2' : 'TLSv1.3',
      clientAuth,
      ...(clientAuth === 'none' ? {} : { clientCa }),
    }
  }
}

function isSame(a: Certificates, b: Certificates): boolean {
  return a.cert === b.cert && a.key === b.key && a.clientCa === b.clientCa
}

function readCertificates(config: TlsConfig, nowMs: number): Certificates {
  const reads = new FileReads()
  const cert = reads.pem('tlsCertFile', config.tlsCertFile)
  const key = reads.pem('tlsKeyFile', config.tlsKeyFile, 'secret')
  const clientCa = reads.pem('tlsClientCaFile', config.tlsClientCaFile)
  reads.check()
  if (cert === undefined || key === undefined) throw new Error('the configuration has checked that both are set')
  const problems: ConfigProblem[] = []
  const note = (subject: string, problem: string): undefined => {
    problems.push({ subject, problem: `its file ${problem}` })
    return undefined
  }
  const chain = certificatesOf(cert) ?? note('tlsCertFile', 'holds no certificate in PEM')
  const privateKey = keyOf(key) ?? note('tlsKeyFile', 'holds no private key in PEM without a passphrase')
  const [leaf] = chain ?? []
  if (leaf !== undefined && privateKey !== undefined && !leaf.checkPrivateKey(privateKey))
    note('tlsKeyFile', 'holds the key of another certificate')
  const expiresAtMs = Math.min(...(chain ?? []).map(({ validTo }) => Date.parse(validTo)))
  if (leaf !== undefined && Date.parse(leaf.validFrom) > nowMs) note('tlsCertFile', 'holds one that is not valid yet')
  if (chain !== undefined && expiresAtMs <= nowMs) note('tlsCertFile', 'holds one that has expired')
  if (clientCa !== undefined && certificatesOf(clientCa) === undefined)
    note('tlsClientCaFile', 'holds no certificate in PEM')
  if (problems.length === 0) {
    // What OpenSSL itself refuses: a key that is too short, a digest that is too old.
    try {
      createSecureContext(serverOptionsOf({ cert, key, clientCa, minVersion: 'TLSv1.2', clientAuth: 'none' }))
    } catch {
      note('tlsCertFile', 'is refused by OpenSSL: too weak a key or signature, most likely')
    }
  }
  if (problems.length > 0) throw configError(problems)
  return { cert, key, clientCa, expiresAtMs }
}

/** In the order of the file; undefined when it holds none, or one that is damaged. */
function certificatesOf(pem: string): readonly X509Certificate[] | undefined {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)
  if (blocks === null) return undefined
  try {
    return blocks.map((block) => new X509Certificate(block))
  } catch {
    // The caller says which file.
    return undefined
  }
}

function keyOf(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem)
  } catch {
    // The caller says which file.
    return undefined
  }
}

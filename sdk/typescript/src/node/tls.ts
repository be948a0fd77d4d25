// Owns: TLS of a client: whom it trusts, what it shows, and what a failed handshake means.
// 1. The server's certificate and its name are always checked; there is no way to leave that out.
// 2. Files are read again for each new connection, so that what is rotated needs no restart; one that cannot be read any
//    more leaves what was read last.
// 3. Why a handshake failed is told by one of a few constant texts (`details.why`). As long as no connection to this
//    endpoint ever came about it is TLS_REFUSED, which nobody repeats: something is configured wrongly. Later it is
//    UNAVAILABLE: certificates are renewed, and the client waits for that.
// 4. No session is resumed: a resumed one would be judged by the authorities of another day.
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { type ConnectionOptions, checkServerIdentity, createSecureContext } from 'node:tls'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import { notReached, onTheWay } from '../transport.ts'

export interface TlsOptions {
  /** PEM of the authorities that the gateway's certificate may come from. Default: those of Node.js. */
  readonly ca?: string
  /** The same, as a file. */
  readonly caFile?: string
  /** PEM of the certificate that this client shows (mutual TLS), and of its key. */
  readonly cert?: string
  readonly certFile?: string
  readonly key?: string
  readonly keyFile?: string
  /** The name that the certificate must have. Default: the host of the URL. */
  readonly serverName?: string
}

interface Material {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

const pemStart = '-----BEGIN '
const parts = ['ca', 'cert', 'key'] as const

export class ClientTls {
  readonly #options: TlsOptions
  #last: Material

  /** Errors: BAD_REQUEST (tls.<option>): files that cannot be read, what is no PEM, a certificate without its key. */
  constructor(options: TlsOptions = {}) {
    this.#options = options
    for (const part of parts) {
      if (options[part] !== undefined && options[`${part}File`] !== undefined)
        throw badRequest(`tls.${part}File`, `not beside tls.${part}`)
    }
    this.#last = this.#read()
    if ((this.#last.cert === undefined) !== (this.#last.key === undefined))
      throw badRequest('tls.cert', 'a certificate and its key go together')
    // Without anything of ours there is nothing to be wrong, and the authorities of Node.js take long to load.
    if (Object.keys(this.#last).length === 0) return
    try {
      createSecureContext(this.#last)
    } catch (cause) {
      throw badRequest('tls', 'the certificates cannot be used, or the key is of another one', cause)
    }
  }

  /** Invariant 2. */
  connectionTo(host: string): ConnectionOptions {
    try {
      const fresh = this.#read()
      if (parts.some((part) => fresh[part] !== this.#last[part])) {
        createSecureContext(fresh)
        this.#last = fresh
      }
    } catch {
      // Half a rotation: the next connection reads again.
    }
    const name = this.#options.serverName ?? host
    return {
      ...this.#last,
      minVersion: 'TLSv1.2',
      rejectUnauthorized: true,
      // Invariant 1: by the name that was asked for, which is an address at times, and those are not sent.
      servername: isIP(name) === 0 ? name : '',
      checkServerIdentity: (_, certificate) => checkServerIdentity(name, certificate),
    }
  }

  #read(): Material {
    const material: { ca?: string; cert?: string; key?: string } = {}
    for (const part of parts) {
      const path = this.#options[`${part}File`]
      const text = path === undefined ? this.#options[part] : textOf(`tls.${part}File`, path)
      if (text === undefined) continue
      if (!text.includes(pemStart)) throw badRequest(`tls.${part}${path === undefined ? '' : 'File'}`, 'not PEM')
      material[part] = text
    }
    return material
  }
}

/** Of one endpoint: invariant 3. */
export class TlsVerdicts {
  #worked = false

  worked(): void {
    this.#worked = true
  }

  /**
   * Undefined: TLS is not to blame. `connected`: the handshake was over on this side; the other side may still refuse our
   * certificate then (TLS 1.3), before it reads anything.
   */
  errorOf(cause: unknown, connected: boolean): TrunklineError | undefined {
    const why = tlsTrouble(cause)
    if (why === undefined || (connected && !clientTroubles.has(why))) return undefined
    if (this.#worked) return notReached(why, 'unsent', cause)
    return onTheWay(new TrunklineError('TLS_REFUSED', { details: { why }, cause }), 'unsent')
  }
}

const wantsCertificate = 'it wants a certificate of this client'
const refusesCertificate = 'it refuses the certificate of this client'
const clientTroubles: ReadonlySet<string> = new Set([wantsCertificate, refusesCertificate])

/** Why a TLS connection failed, in constant words; undefined when it failed otherwise. */
export function tlsTrouble(cause: unknown): string | undefined {
  const code = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : ''
  if (/ALERT.*(CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE)/.test(code)) return wantsCertificate
  if (/ALERT.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)/.test(code)) return refusesCertificate
  if (code === 'CERT_HAS_EXPIRED') return 'its certificate has expired'
  if (code === 'CERT_NOT_YET_VALID') return 'its certificate is not valid yet'
  if (code === 'CERT_REVOKED') return 'its certificate was revoked'
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'its certificate is for another name'
  if (/^(CERT_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_|ERR_TLS_CERT)/.test(code))
    return 'its certificate is not of a trusted authority'
  if (code.startsWith('ERR_SSL_') && /PROTOCOL|VERSION/.test(code)) return 'it speaks no TLS, or another version of it'
  if (/^(ERR_SSL_|ERR_TLS_|EPROTO$)/.test(code)) return 'the TLS handshake failed'
  return undefined
}

function textOf(field: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw badRequest(field, 'the file cannot be read', cause)
  }
}

function badRequest(field: string, why: string, cause?: unknown): TrunklineError {
  return new TrunklineError('BAD_REQUEST', { details: { field, why }, ...(cause === undefined ? {} : { cause }) })
}

// Owns: the way into a TLS listener, from the TCP connection to the end of the handshake; the same for HTTP and Thrift.
// 1. A connection that has not finished its handshake `handshakeTimeoutMs` after it came is cut, however busily it
//    trickles. It counts against the listener's limit of connections from its first packet.
// 2. The first byte is looked at before TLS is: whoever speaks something else is told so in its own protocol, where that
//    has words for it.
// 3. Certificates are renewed without closing anything: connections that are open go on, new ones see the new one. A
//    session ticket of the former certificate resumes nothing, so that a client is always judged by today's authorities.
// 4. What it says and counts of a peer is one of a few constant texts.
// Leaves out: reading and checking certificates (main), what runs inside the connection.
import type { Socket } from 'node:net'
import type { Server, TLSSocket, TlsOptions } from 'node:tls'
import type { Clock, Timer } from '../ports/clock.ts'
import { standBetween } from './listener-gate.ts'

/** `request`: who shows no certificate is served, who shows a bad one is not. */
export type ClientAuth = 'none' | 'request' | 'require'

export interface TlsTerms {
  /** PEM texts. */
  readonly cert: string
  readonly key: string
  /** Of clients; absent unless they are asked. */
  readonly clientCa?: string | undefined
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3'
  readonly clientAuth: ClientAuth
}

/** Why there was no TLS connection. */
export type HandshakeFailure = 'timeout' | 'not-tls' | 'version' | 'certificate' | 'closed' | 'other'

export interface ListenerTls {
  readonly terms: TlsTerms
  readonly clock: Clock
  /** Default 10,000. */
  readonly handshakeTimeoutMs?: number | undefined
  /** Once, when the listener is made: terms are renewed through the front. */
  readonly onFront: (front: TlsFront) => void
  readonly onFailure: (reason: HandshakeFailure) => void
}

/** Last words for a peer whose first byte is not of TLS; undefined: none that it would understand. */
export type PlainWords = (firstByte: number) => Uint8Array | undefined

const handshakeTimeoutMsDefault = 10_000
/** From the last words to the end; what the peer still sends meanwhile is thrown away. */
const lingerMs = 1_000
const handshakeByte = 0x16

/** Forward secrecy and AEAD only, also in 1.2. */
const ciphers = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
].join(':')

/** For `createServer` of node:tls and node:https, and for `setSecureContext`. */
export function serverOptionsOf(terms: TlsTerms): TlsOptions {
  const { cert, key, clientCa, minVersion, clientAuth } = terms
  return {
    cert,
    key,
    minVersion,
    ciphers,
    ...(clientCa === undefined ? {} : { ca: clientCa }),
    requestCert: clientAuth !== 'none',
    rejectUnauthorized: clientAuth === 'require',
  }
}

interface Opening {
  readonly raw: Socket
  readonly timer: Timer
  /** Told already. */
  failed: boolean
}

const fronts = new WeakMap<object, TlsFront>()

export class TlsFront {
  readonly #server: Server
  readonly #tls: ListenerTls
  readonly #plainWords: PlainWords
  /** By the peer's address and port: what of a connection both of its sockets know. */
  readonly #openings = new Map<string, Opening>()
  #refusing = false

  /** Puts itself between `server` and its own listeners: to be made after them and before it listens. */
  constructor(server: Server, tls: ListenerTls, plainWords: PlainWords) {
    this.#server = server
    this.#tls = tls
    this.#plainWords = plainWords
    standBetween(server, 'connection', (raw, go) => this.#onConnection(raw, go))
    standBetween(server, 'secureConnection', (socket, go) => this.#onSecure(socket as TLSSocket, go))
    // HTTP's own would answer in plain text through a TLS socket that has none.
    server.removeAllListeners('tlsClientError')
    server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      // A certificate that is not good ends as a mere reset; the socket knows better.
      const judged = Boolean(socket.authorizationError)
      this.#fail(this.#openings.get(peerOf(socket)), judged ? 'certificate' : failureOf(error))
      socket.destroy()
    })
    fronts.set(server, this)
    tls.onFront(this)
  }

  static of(server: object): TlsFront | undefined {
    return fronts.get(server)
  }

  /** Invariant 3. Throws what OpenSSL says of a bad pair; then everything stays as it was. */
  renew(terms: TlsTerms): void {
    this.#server.setSecureContext(serverOptionsOf(terms))
  }

  /** The listener drains: what is still shaking hands is cut, and nothing new begins. Idempotent. */
  refuse(): void {
    this.#refusing = true
    for (const opening of this.#openings.values()) {
      opening.failed = true
      opening.raw.destroy()
    }
  }

  /** How many are between the first packet and the end of the handshake. */
  get opening(): number {
    return this.#openings.size
  }

  #onConnection(raw: Socket, go: () => void): void {
    if (this.#refusing) {
      raw.destroy()
      return
    }
    const { clock, handshakeTimeoutMs = handshakeTimeoutMsDefault } = this.#tls
    const peer = peerOf(raw)
    const opening: Opening = {
      raw,
      failed: false,
      timer: clock.after(handshakeTimeoutMs, () => {
        this.#fail(opening, 'timeout')
        raw.destroy()
      }),
    }
    this.#openings.set(peer, opening)
    // A reset by the peer is everyday life; 'close' follows.
    raw.on('error', () => {})
    raw.once('close', () => {
      this.#fail(opening, 'closed')
      opening.timer.cancel()
      if (this.#openings.get(peer) === opening) this.#openings.delete(peer)
    })
    raw.once('readable', () => this.#onFirst(opening, go))
  }

  /** Invariant 2. */
  #onFirst(opening: Opening, go: () => void): void {
    const { raw } = opening
    const chunk: unknown = raw.read()
    if (!(chunk instanceof Uint8Array) || chunk.length === 0) {
      raw.destroy()
      return
    }
    const first = chunk[0] ?? 0
    if (first === handshakeByte) {
      raw.unshift(chunk)
      go()
      return
    }
    this.#fail(opening, 'not-tls')
    const words = this.#plainWords(first)
    if (words === undefined) {
      raw.destroy()
      return
    }
    raw.end(words)
    raw.resume()
    const timer = this.#tls.clock.after(lingerMs, () => raw.destroy())
    raw.once('close', () => timer.cancel())
  }

  #onSecure(socket: TLSSocket, go: () => void): void {
    const peer = peerOf(socket)
    const opening = this.#openings.get(peer)
    const { clientAuth } = this.#tls.terms
    if (clientAuth === 'request' && !socket.authorized && socket.getPeerX509Certificate() !== undefined) {
      this.#fail(opening, 'certificate')
      socket.destroy()
      return
    }
    if (opening !== undefined) {
      opening.failed = true
      opening.timer.cancel()
      this.#openings.delete(peer)
    }
    go()
  }

  #fail(opening: Opening | undefined, reason: HandshakeFailure): void {
    if (opening === undefined || opening.failed) return
    opening.failed = true
    this.#tls.onFailure(reason)
  }
}

function peerOf(socket: Socket): string {
  return `${socket.remoteAddress ?? ''} ${socket.remotePort ?? ''}`
}

function failureOf({ code = '' }: NodeJS.ErrnoException): HandshakeFailure {
  if (/CERT|UNKNOWN_CA|SELF_SIGNED|UNABLE_TO_/.test(code)) return 'certificate'
  if (/PROTOCOL|VERSION/.test(code)) return 'version'
  if (/ECONNRESET|EPIPE/.test(code)) return 'closed'
  return 'other'
}

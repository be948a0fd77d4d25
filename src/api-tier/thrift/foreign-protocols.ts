// Owns: recognising by its first byte a peer that speaks something else on the Thrift port, and the last words for it.
// A frame's length begins with 0x00: the largest frame is below 2^24 bytes.
// Leaves out: Thrift inside frames (dispatcher.ts).
import { applicationException, encodeApplicationException } from '../../protocol/thrift/message.ts'

export type ForeignProtocol = 'tls' | 'http' | 'thrift-unframed' | 'thrift-compact' | 'unknown'

const tlsHint = 'This port speaks Thrift over TLS: use thrifts://, or a TLS socket under the framed transport.'
const framedHint = 'This port speaks framed Thrift binary: use a framed transport (TFramedTransport).'

/** Undefined: the first byte of a frame. */
export function foreignProtocolOf(firstByte: number): ForeignProtocol | undefined {
  if (firstByte === 0x00) return undefined
  if (firstByte === 0x16) return 'tls'
  if (firstByte === 0x80) return 'thrift-unframed'
  if (firstByte === 0x82) return 'thrift-compact'
  // Methods of HTTP begin with A-Z.
  if (firstByte >= 0x41 && firstByte <= 0x5a) return 'http'
  return 'unknown'
}

/** What that peer understands before the connection closes; bytes as they go to the socket. */
export function lastWords(protocol: ForeignProtocol): Uint8Array {
  switch (protocol) {
    case 'tls':
      // A TLS alert: fatal (2), protocol_version (70), so that the client fails at once and says why.
      return Uint8Array.of(0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 70)
    case 'http':
      return httpHint()
    case 'thrift-unframed':
      // Unframed, as the peer reads it.
      return encodeApplicationException('', 0, applicationException.protocolError, framedHint)
    case 'thrift-compact':
    case 'unknown':
      return framed(encodeApplicationException('', 0, applicationException.protocolError, framedHint))
  }
}

/** For a peer that begins without TLS where TLS is spoken; undefined: one that would understand nothing. */
export function plainThriftWords(firstByte: number): Uint8Array | undefined {
  const foreign = foreignProtocolOf(firstByte)
  switch (foreign) {
    case 'http':
      return httpHint()
    case 'thrift-unframed':
      return encodeApplicationException('', 0, applicationException.protocolError, tlsHint)
    case undefined:
    case 'thrift-compact':
      return framed(encodeApplicationException('', 0, applicationException.protocolError, tlsHint))
    case 'tls':
    case 'unknown':
      return undefined
  }
}

/** A message with its length before it. */
export function framed(message: Uint8Array): Uint8Array {
  const frame = Buffer.allocUnsafe(4 + message.length)
  frame.writeUInt32BE(message.length, 0)
  frame.set(message, 4)
  return frame
}

function httpHint(): Uint8Array {
  const text = 'This port speaks framed Thrift, not HTTP. The HTTP port has POST /thrift and the JSON API under /v1.\n'
  return Buffer.from(
    `HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${text.length}\r\nConnection: close\r\n\r\n${text}`,
  )
}

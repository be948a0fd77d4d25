// Owns: every limit and default that the protocol states (design.md §8), unit in the name, reason beside.
import type { Limits } from './messages.ts'

/** One event's packed size; leaves room for the block's own overhead below 1,000,000 B. */
export const eventBytesMax = 896 * 1024
/** A sealed block is one Kafka record; brokers take 1 MiB by default. */
export const sealedBlockBytesMax = 1_000_000
/** Packed (and perhaps compressed) data of one block before sealing: the sealed bound less header, key and tag. */
export const blockBytesMax = sealedBlockBytesMax - 2_048
/** Raw (decompressed) bytes of one block: bounds what a reader must inflate. */
export const blockRawBytesMax = 4 * 1024 * 1024
/**
 * Raw bytes of one block of several events for a plain topic: as records, which repeat what a block says once, they must
 * fit into one batch of 1,000,000 B. The smallest event that names everything grows sevenfold.
 */
export const plainJoinedBytesMax = 128 * 1024
/** Events in one block. */
export const blockEventsMax = 65_535
/** Blocks in one write: parts are numbered in 16 bits, and one frame holds far fewer. */
export const writePartsMax = 256
/**
 * Raw bytes of all blocks of one write, and its events: all are unpacked in one turn of the event loop when the write
 * arrives (some 30 ms at both limits). A write that our clients pack has 1 MiB raw and fewer than 54,000 events.
 */
export const writeRawBytesMax = 16 * 1024 * 1024
export const writeEventsMax = 100_000
export const frameBytesMax = 1.25 * 1024 * 1024
export const headersMax = 64
export const headerBytesMax = 16 * 1024
export const readBytesSoft = 256 * 1024
export const readBytesMax = 1024 * 1024
export const readEventsDefault = 1_000
export const waitMsMax = 30_000
export const windowWrites = 8
export const windowBytes = 4 * 1024 * 1024
export const leaseMs = 60_000
export const keepAliveMs = 10_000
export const releaseMs = 1_000
export const appendDeadlineMs = 30_000
export const nackDelayMsMax = 15 * 60_000
/** From its allocation, whatever bearers come: a session that is signed with HMAC-MD5. */
export const md5SessionMsMax = 15 * 60_000
/** Bearer tokens above this are refused unread. */
export const bearerBytesMax = 8 * 1024
/** A sealed session token: it travels in an HTTP header, base64url, ≤ 512 characters. */
export const sessionTokenBytesMax = 384
/** Unanswered writes a resume may name: the window, with room for a client that was cut off while re-sending. */
export const resumeWritesMax = 64
export const topicPartitionsMax = 1_024
export const topicPartitionsDefault = 8

export const defaultLimits: Limits = {
  eventBytesMax,
  blockBytesMax,
  frameBytesMax,
  headersMax,
  headerBytesMax,
  readBytesSoft,
  readBytesMax,
  waitMsMax,
  windowWrites,
  windowBytes,
  leaseMs,
  keepAliveMs,
}

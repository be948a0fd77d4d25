// Owns: Kafka's compression codecs, for records of strangers in shared topics; we write none.
// 1. What comes out has a bound; what is above it, damaged, or of a codec that is not known here is not opened.
import zlib from 'node:zlib'
import { readLz4 } from './lz4.ts'
import { readSnappy } from './snappy.ts'

/** Above what any sane batch holds; strangers' batches are ≤ 1 MiB compressed by default. */
const openedBytesMax = 64 * 1024 * 1024

type Open = (bytes: Buffer, options: { readonly maxOutputLength: number }) => Buffer

/** Node has it from 22.15 on. */
const openZstd = (zlib as { readonly zstdDecompressSync?: Open }).zstdDecompressSync

/** Undefined: it cannot be opened here. */
export function decompress(codec: number, bytes: Buffer): Buffer | undefined {
  try {
    switch (codec) {
      case 0:
        return bytes
      case 1:
        return zlib.gunzipSync(bytes, { maxOutputLength: openedBytesMax })
      case 2:
        return readSnappy(bytes, openedBytesMax)
      case 3:
        return readLz4(bytes, openedBytesMax)
      case 4:
        return openZstd?.(bytes, { maxOutputLength: openedBytesMax })
      default:
        return undefined
    }
  } catch {
    // What a decompressor says of it helps nobody; the records are answered as damaged.
    return undefined
  }
}

// Owns: murmur2 as Kafka's own clients compute it, and the partition of a key.
// 1. The same key lands in the same partition as with a native Kafka producer (vectors: test/vectors/murmur2.json).

const seed = 0x9747b28c
const m = 0x5bd1e995
const r = 24

/** The 32-bit hash, as a signed number (Java's int). */
export function murmur2(bytes: Uint8Array): number {
  const size = bytes.length
  const view = new DataView(bytes.buffer, bytes.byteOffset, size)
  let hash = seed ^ size
  let at = 0
  for (; size - at >= 4; at += 4) {
    let word = Math.imul(view.getInt32(at, true), m)
    word ^= word >>> r
    hash = Math.imul(hash, m) ^ Math.imul(word, m)
  }
  if (at < size) {
    for (let shift = 0; at + (shift >> 3) < size; shift += 8) hash ^= view.getUint8(at + (shift >> 3)) << shift
    hash = Math.imul(hash, m)
  }
  hash ^= hash >>> 13
  hash = Math.imul(hash, m)
  return hash ^ (hash >>> 15)
}

/** As Kafka's default partitioner: the hash without its sign bit, modulo the count. */
export function partitionForKey(key: Uint8Array, partitions: number): number {
  return (murmur2(key) & 0x7fffffff) % partitions
}

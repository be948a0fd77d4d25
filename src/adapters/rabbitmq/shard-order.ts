// Owns: the order in which a cookie prefers shards.
// 1. Every party finds the same order, whatever order its configuration lists them in; when a shard is missing, only the
//    cookies that preferred it go elsewhere (highest random weight).
import { murmur2 } from '../../protocol/murmur2.ts'

const encoder = new TextEncoder()

export function orderByCookie<S extends { readonly name: string }>(shards: readonly S[], cookie: string): S[] {
  return shards
    .map((shard) => ({ shard, weight: murmur2(encoder.encode(`${cookie}\u0000${shard.name}`)) }))
    .sort((a, b) => b.weight - a.weight || (a.shard.name < b.shard.name ? -1 : 1))
    .map(({ shard }) => shard)
}

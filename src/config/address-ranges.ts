// Owns: addresses of peers: lists of them as settings write them, and the name under which one is counted.
// 1. IPv4 inside IPv6 is IPv4. Of IPv6 the first 64 bits count: a caller has all addresses behind them.
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net'

export type AddressRanges = Pick<BlockList, 'check'>

/** `10.1.2.3`, `10.0.0.0/8`, `2001:db8::/32`; undefined: one of them is none of these. */
export function addressRanges(texts: readonly string[]): AddressRanges | undefined {
  const ranges = new BlockList()
  for (const text of texts) {
    const [address = '', prefix, ...more] = text.split('/')
    const version = isIP(address)
    const bits = prefix === undefined ? widthOf(version) : Number(prefix)
    if (version === 0 || more.length > 0 || prefix === '' || !Number.isInteger(bits) || bits > widthOf(version))
      return undefined
    ranges.addSubnet(address, bits, version === 4 ? 'ipv4' : 'ipv6')
  }
  return ranges
}

export function isWithin(ranges: AddressRanges, address: string): boolean {
  const bare = bareAddress(address)
  return ranges.check(bare, isIPv6(bare) ? 'ipv6' : 'ipv4')
}

/** Invariant 1. */
export function countedAddress(address: string): string {
  const bare = bareAddress(address)
  return isIPv6(bare) ? `${leading64Bits(bare)}::/64` : bare
}

function widthOf(version: number): number {
  return version === 4 ? 32 : 128
}

/** Without a zone. */
function bareAddress(address: string): string {
  const [plain = ''] = address.split('%')
  const inside = plain.slice(plain.lastIndexOf(':') + 1)
  return /^::ffff:/i.test(plain) && isIPv4(inside) ? inside : plain
}

function leading64Bits(address: string): string {
  const [before = '', after] = address.split('::')
  const head = before === '' ? [] : before.split(':')
  // An IPv4 tail stands for two groups; it is never among the first four unless zeros are.
  const tail = after === undefined || after === '' ? [] : after.split(':')
  const tailGroups = tail.length + (tail.at(-1)?.includes('.') === true ? 1 : 0)
  const zeros = after === undefined ? [] : Array.from({ length: Math.max(0, 8 - head.length - tailGroups) }, () => '0')
  return [...head, ...zeros, ...tail]
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')
}

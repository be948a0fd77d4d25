// Proves which peers a list of addresses means, and under which name an address is counted.
import { describe, expect, it } from 'vitest'
import { addressRanges, countedAddress, isWithin } from '../../../src/config/address-ranges.ts'

describe('a list of addresses', () => {
  it.each([
    ['127.0.0.1', '127.0.0.1', true],
    ['127.0.0.1', '127.0.0.2', false],
    ['127.0.0.1', '::ffff:127.0.0.1', true],
    ['10.0.0.0/8', '10.255.1.2', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['::1', '::1', true],
    ['2001:db8::/32', '2001:db8:1::5', true],
    ['2001:db8::/32', '2001:db9::5', false],
    ['fe80::/10', 'fe80::1%eth0', true],
    ['10.0.0.0/8', 'unknown', false],
  ])('given %s, when %s comes, then it is within: %s', (list, address, expected) => {
    const ranges = addressRanges([list])
    expect(ranges !== undefined && isWithin(ranges, address)).toBe(expected)
  })

  it.each(['localhost', '10.0.0', '10.0.0.0/33', '::/129', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0.0/a', ''])(
    'given %j, then the list is refused',
    (text) => {
      expect(addressRanges(['127.0.0.1', text])).toBeUndefined()
    },
  )
})

describe('the name under which an address is counted', () => {
  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['2001:db8:0:1:a::1', '2001:db8:0:1::/64'],
    ['2001:db8:0:1:ffff:ffff:ffff:ffff', '2001:db8:0:1::/64'],
    ['2001:db8:0:2::1', '2001:db8:0:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['64:ff9b::192.0.2.33', '64:ff9b:0:0::/64'],
    ['1:2:3::', '1:2:3:0::/64'],
  ])('given %s, then it is %s', (address, expected) => {
    expect(countedAddress(address)).toBe(expected)
  })
})

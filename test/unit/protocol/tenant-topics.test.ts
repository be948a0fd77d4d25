// Names of topics of tenants: both parts come back from the log's name alone, and no two tenants share one.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseTopicName } from '../../../src/protocol/ids.ts'
import {
  callerTopicOf,
  isReservedTopic,
  isTenantName,
  logTopicOf,
  tenantOfLogTopic,
  topicPrefixOf,
} from '../../../src/protocol/tenant-topics.ts'
import { forAll } from './support/seed.ts'

const tenant = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,31}$/)
const topic = fc
  .stringMatching(/^[a-z._-]{1,20}$/)
  .filter((name) => !isReservedTopic(name) && name !== '.' && name !== '..')

describe('topics of tenants', () => {
  test('given any tenant and name, then the log’s name tells both', () => {
    forAll(2_000, fc.tuple(tenant, topic), ([of, name]) => {
      const logName = logTopicOf(of, parseTopicName(name))
      expect([tenantOfLogTopic(logName), callerTopicOf(logName)]).toEqual([of, name])
      expect(logName.startsWith(topicPrefixOf(of))).toBe(true)
      expect(isReservedTopic(logName)).toBe(of !== 'default')
    })
  })

  test('given the tenant default, then names are the log’s own', () => {
    expect(logTopicOf('default', parseTopicName('orders'))).toBe('orders')
    expect([tenantOfLogTopic('orders'), callerTopicOf('orders')]).toEqual(['default', 'orders'])
    expect([tenantOfLogTopic('tl-odd'), callerTopicOf('tl-odd')]).toEqual(['default', 'tl-odd'])
    expect([tenantOfLogTopic('tl-default.a'), callerTopicOf('tl-default.a')]).toEqual(['default', 'tl-default.a'])
  })

  test('given a name that is too long with its prefix, then it is refused', () => {
    const name = parseTopicName('a'.repeat(249))
    expect(logTopicOf('default', name)).toHaveLength(249)
    expect(() => logTopicOf('acme', name)).toThrow(expect.objectContaining({ name: 'BAD_TOPIC_NAME' }))
    expect(logTopicOf('acme', parseTopicName('a'.repeat(241)))).toHaveLength(249)
  })

  test.each(['', 'Acme', '-a', 'a.b', 'a_b', 'a'.repeat(33), 'a b'])('%j is no tenant', (text) => {
    expect(isTenantName(text)).toBe(false)
  })
})

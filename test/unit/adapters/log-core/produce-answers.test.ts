// Owns: the table of what each broker answer means; the closed list of definite failures stands here a second time.
import { describe, expect, it } from 'vitest'
import type { BrokerCode } from '../../../../src/adapters/log-core/log-broker.ts'
import { meaningOf } from '../../../../src/adapters/log-core/produce-answers.ts'

/** Code, what it means without a base offset, and what with one. */
const table: Readonly<Record<BrokerCode, readonly [string, string]>> = {
  MESSAGE_TOO_LARGE: ['refused BLOCK_TOO_LARGE', 'refused BLOCK_TOO_LARGE'],
  RECORD_LIST_TOO_LARGE: ['refused BLOCK_TOO_LARGE', 'refused BLOCK_TOO_LARGE'],
  INVALID_TIMESTAMP: ['refused WRITE_REFUSED', 'refused WRITE_REFUSED'],
  INVALID_RECORD: ['refused WRITE_REFUSED', 'refused WRITE_REFUSED'],
  TOPIC_AUTHORIZATION_FAILED: ['refused WRITE_REFUSED', 'refused WRITE_REFUSED'],
  CLUSTER_AUTHORIZATION_FAILED: ['refused WRITE_REFUSED', 'refused WRITE_REFUSED'],
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: ['refused WRITE_REFUSED', 'refused WRITE_REFUSED'],
  STORAGE_FULL: ['refused STORAGE_FULL', 'refused STORAGE_FULL'],
  STORAGE_FAILED: ['refused STORAGE_FAILED', 'refused STORAGE_FAILED'],
  NOT_ENOUGH_REPLICAS: ['not-now', 'not-now'],
  THROTTLING_QUOTA_EXCEEDED: ['not-now', 'not-now'],
  NOT_LEADER_OR_FOLLOWER: ['not-now', 'uncertain'],
  NOT_SENT: ['not-now', 'not-now'],
  UNKNOWN_TOPIC_OR_PARTITION: ['no-topic', 'uncertain'],
  UNKNOWN_TOPIC_ID: ['no-topic', 'uncertain'],
  INVALID_PRODUCER_EPOCH: ['fenced', 'fenced'],
  PRODUCER_FENCED: ['fenced', 'fenced'],
  OUT_OF_ORDER_SEQUENCE_NUMBER: ['forgotten', 'forgotten'],
  DUPLICATE_SEQUENCE_NUMBER: ['forgotten', 'forgotten'],
  UNKNOWN_PRODUCER_ID: ['forgotten', 'forgotten'],
  LEADER_NOT_AVAILABLE: ['uncertain', 'uncertain'],
  REQUEST_TIMED_OUT: ['uncertain', 'uncertain'],
  NETWORK_EXCEPTION: ['uncertain', 'uncertain'],
  COORDINATOR_LOAD_IN_PROGRESS: ['uncertain', 'uncertain'],
  COORDINATOR_NOT_AVAILABLE: ['uncertain', 'uncertain'],
  NOT_COORDINATOR: ['uncertain', 'uncertain'],
  CONCURRENT_TRANSACTIONS: ['uncertain', 'uncertain'],
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: ['uncertain', 'uncertain'],
  KAFKA_STORAGE_ERROR: ['uncertain', 'uncertain'],
  UNKNOWN_SERVER_ERROR: ['uncertain', 'uncertain'],
}

describe('what an answer to produce means', () => {
  it.each(Object.entries(table))('Given %s, then it means %s', (code, [without, withOffset]) => {
    const text = (appended: boolean): string => {
      const meaning = meaningOf({ kind: 'failed', code: code as BrokerCode, appended })
      return meaning.kind === 'refused' ? `refused ${meaning.error}` : meaning.kind
    }
    expect([text(false), text(true)]).toEqual([without, withOffset])
  })

  it('Given an offset or no answer, then that is what it is', () => {
    expect(meaningOf({ kind: 'landed', baseOffset: 3, appendTimeMs: 9 })).toMatchObject({
      kind: 'landed',
      baseOffset: 3,
    })
    expect(meaningOf({ kind: 'uncertain', why: 'x' })).toEqual({ kind: 'uncertain' })
  })
})

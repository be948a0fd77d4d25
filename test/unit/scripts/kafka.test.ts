import { describe, expect, it } from 'vitest'
import { clusterIdOf } from '../../../scripts/stack/kafka.ts'

describe('the cluster id of a stack', () => {
  it('given any folder, then it is 22 characters that no tool takes for an option, and its own', () => {
    const ids = Array.from({ length: 2_000 }, (_, index) => clusterIdOf(`/tmp/stack-${index}`))
    expect(ids.filter((id) => !/^[A-Za-z0-9][A-Za-z0-9_-]{21}$/.test(id))).toEqual([])
    expect(new Set(ids).size).toBe(ids.length)
  })
})

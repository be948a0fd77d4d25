// The node machine, driven through every (state, event) by tests generated from it.
import { describe, expect, it } from 'vitest'
import { type NodeEvent, nodeMachine } from '../../../../src/fsm/server/node.machine.ts'
import { walkMachine } from '../../../support/machine-coverage.ts'

const events = (['BOOTED', 'BOOT_FAILED', 'DRAIN', 'QUIET', 'RETIRED', 'SESSIONS_CLOSED', 'TORN_DOWN'] as const).map(
  (type): NodeEvent => ({ type }),
)

function recorded(): { machine: typeof nodeMachine; effects: string[] } {
  const effects: string[] = []
  const record = (name: string) => () => void effects.push(name)
  const machine = nodeMachine.provide({
    actions: {
      beginDrain: record('beginDrain'),
      closeSessions: record('closeSessions'),
      tearDown: record('tearDown'),
      unknownEvent: record('unknownEvent'),
    },
  })
  return { machine, effects }
}

describe('the node machine', () => {
  it('reaches every state and takes every transition', () => {
    const walk = walkMachine(recorded().machine, { input: undefined, events })
    expect(walk.unreachedStates).toEqual([])
    expect(walk.uncoveredTransitions).toEqual([])
  })

  it('closes its sessions before it tears down, unless it never served, and is closed when that is done', () => {
    const { machine, effects } = recorded()
    walkMachine(machine, {
      input: undefined,
      events,
      check: (before, event, after) => {
        const did = effects.splice(0)
        if (before.status !== 'active') return
        if (after.status === 'done') {
          expect(before.matches('tearingDown')).toBe(true)
          expect(event.type).toBe('TORN_DOWN')
        }
        const tearsDown = after.matches('tearingDown') && !before.matches('tearingDown')
        expect(did.filter((name) => name === 'tearDown')).toHaveLength(tearsDown ? 1 : 0)
        if (tearsDown) expect(event.type).toBe(before.matches('booting') ? 'BOOT_FAILED' : 'SESSIONS_CLOSED')
        if (after.matches('fenced') && !before.matches('fenced')) expect(did).toContain('closeSessions')
      },
    })
  })

  it('says how it ended', () => {
    const ends = new Set<string>()
    walkMachine(recorded().machine, {
      input: undefined,
      events,
      check: (_, __, after) => {
        if (after.status === 'done') ends.add(String(after.output?.end))
      },
    })
    expect([...ends].sort()).toEqual(['boot-failed', 'drained', 'fenced'])
  })
})

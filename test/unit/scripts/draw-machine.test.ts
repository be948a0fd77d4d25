// The drawings of docs/machines: nesting, what mermaid cannot draw, and a complete table.
import { describe, expect, it } from 'vitest'
import { assign, not, setup } from 'xstate'
import { drawMachine, drawTransitionTable } from '../../../scripts/draw-machine.ts'

const machine = setup({
  guards: { isFull: () => true },
  actions: { count: () => {} },
  delays: { lease: 1000 },
}).createMachine({
  initial: 'allocating',
  on: { CLOSE: '.closing', '*': { actions: 'count' } },
  states: {
    allocating: {
      on: { OK: { target: 'open.reading', guard: 'isFull' }, BAD: [{ target: 'closed', guard: not('isFull') }] },
    },
    open: {
      initial: 'reading',
      after: { lease: 'closing' },
      on: { RESET: '.reading', TICK: { actions: assign({}) } },
      states: { reading: { on: { WRITE: 'writing' } }, writing: { on: { DONE: '#closed' } } },
    },
    closing: { after: { 500: 'closed' } },
    closed: { id: 'closed', type: 'final' },
  },
})

describe('the drawing of a machine', () => {
  it('nests states, starts where they start and ends where they end', () => {
    expect(drawMachine(machine)).toMatchInlineSnapshot(`
      "stateDiagram-v2
        state "allocating" as s_allocating
        state "open" as s_open {
          state "reading" as s_open_reading
          state "writing" as s_open_writing
          [*] --> s_open_reading
          state "any state" as any_of_s_open
          any_of_s_open --> s_open_reading : RESET
          s_open_reading --> s_open_writing : WRITE
        }
        state "closing" as s_closing
        state "closed" as s_closed
        [*] --> s_allocating
        state "any state" as any_of_s
        any_of_s --> s_closing : CLOSE
        s_allocating --> s_open : OK [isFull]
        s_allocating --> s_closed : BAD [not isFull]
        s_open --> s_closing : after lease
        s_open --> s_closed : DONE
        s_closing --> s_closed : after 500 ms
        s_closed --> [*]
      "
    `)
  })

  it('lists every transition with its real ends', () => {
    expect(drawTransitionTable(machine)).toMatchInlineSnapshot(`
      "| from | on | when | to | does |
      |---|---|---|---|---|
      | any state | \`CLOSE\` |  | \`closing\` |  |
      | any state | \`*\` |  | stays | \`count\` |
      | \`allocating\` | \`OK\` | \`isFull\` | \`open.reading\` |  |
      | \`allocating\` | \`BAD\` | \`not isFull\` | \`closed\` |  |
      | \`open\` | \`RESET\` |  | \`open.reading\` |  |
      | \`open\` | \`TICK\` |  | stays | \`assign\` |
      | \`open\` | \`after lease\` |  | \`closing\` |  |
      | \`open.reading\` | \`WRITE\` |  | \`open.writing\` |  |
      | \`open.writing\` | \`DONE\` |  | \`closed\` |  |
      | \`closing\` | \`after 500 ms\` |  | \`closed\` |  |
      "
    `)
  })
})

// Owns: the life of one stream node incarnation: boot, serve, drain or fenced, tear down, closed.
// N1 Only a serving node allocates. N2 A fenced incarnation never appends again: it closes, another one is started by main.
// N3 One way out: closed, with the reason, and only when everything that it held has been let go (TORN_DOWN).
// Leaves out: sessions (session.machine.ts), the log writer, the switchboard.
import { assign, setup } from 'xstate'
import { unprovided } from '../provided.ts'

export type NodeEnd = 'drained' | 'fenced' | 'boot-failed'

export interface NodeContext {
  readonly end: NodeEnd
}

export type NodeEvent =
  | { readonly type: 'BOOTED' }
  | { readonly type: 'BOOT_FAILED' }
  | { readonly type: 'DRAIN' }
  | { readonly type: 'QUIET' }
  | { readonly type: 'RETIRED' }
  | { readonly type: 'SESSIONS_CLOSED' }
  | { readonly type: 'TORN_DOWN' }

export const nodeMachine = setup({
  types: { context: {} as NodeContext, events: {} as NodeEvent, output: {} as { readonly end: NodeEnd } },
  actions: {
    /** Refuse allocations and new session work with a typed error; QUIET when what runs has ended or the deadline passed. */
    beginDrain: unprovided('beginDrain'),
    /** Close every session; SESSIONS_CLOSED when none is left. */
    closeSessions: unprovided('closeSessions'),
    /** Close the writer, unbind the key; TORN_DOWN when nothing is left. */
    tearDown: unprovided('tearDown'),
    unknownEvent: unprovided('unknownEvent'),
    endAs: assign((_, { end }: { end: NodeEnd }) => ({ end })),
  },
}).createMachine({
  id: 'node',
  context: { end: 'boot-failed' },
  output: ({ context }) => ({ end: context.end }),
  initial: 'booting',
  on: { '*': { actions: 'unknownEvent' } },
  states: {
    booting: {
      on: {
        BOOTED: { target: 'serving' },
        BOOT_FAILED: { target: 'tearingDown' },
      },
    },
    serving: {
      on: {
        DRAIN: { target: 'draining' },
        RETIRED: { target: 'fenced' },
      },
    },
    draining: {
      entry: [{ type: 'endAs', params: { end: 'drained' } }, 'beginDrain'],
      initial: 'finishing',
      on: { DRAIN: {}, RETIRED: { target: 'fenced' } },
      states: {
        finishing: { on: { QUIET: { target: 'closing' } } },
        closing: { entry: 'closeSessions', on: { SESSIONS_CLOSED: { target: '#node.tearingDown' } } },
      },
    },
    fenced: {
      entry: [{ type: 'endAs', params: { end: 'fenced' } }, 'closeSessions'],
      on: { SESSIONS_CLOSED: { target: 'tearingDown' }, DRAIN: {}, QUIET: {}, RETIRED: {} },
    },
    // What came before may still tell its end: a drain that was overtaken by a fence, a log that retires meanwhile.
    tearingDown: {
      entry: 'tearDown',
      on: { TORN_DOWN: { target: 'closed' }, DRAIN: {}, QUIET: {}, RETIRED: {}, SESSIONS_CLOSED: {} },
    },
    closed: { type: 'final' },
  },
})

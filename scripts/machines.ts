// Owns: the list of machines that docs/machines draws, one page each.
import type { AnyStateMachine } from 'xstate'
import { clientSessionMachine } from '../src/fsm/client/client-session.machine.ts'
import { nodeMachine } from '../src/fsm/server/node.machine.ts'
import { sessionMachine } from '../src/fsm/server/session.machine.ts'

export interface DrawnMachine {
  /** File name in docs/machines, without .md. */
  readonly name: string
  /** Heading of the page. */
  readonly title: string
  /** Where the machine is defined, from the root of the repository. */
  readonly source: string
  readonly machine: AnyStateMachine
}

export const drawnMachines: readonly DrawnMachine[] = [
  { name: 'node', title: 'Stream node', source: 'src/fsm/server/node.machine.ts', machine: nodeMachine },
  {
    name: 'session',
    title: 'Session, server side',
    source: 'src/fsm/server/session.machine.ts',
    machine: sessionMachine,
  },
  {
    name: 'client-session',
    title: 'Session, client side',
    source: 'src/fsm/client/client-session.machine.ts',
    machine: clientSessionMachine,
  },
]

// Owns: the list of machines that docs/machines draws, one page each.
import type { AnyStateMachine } from 'xstate'

export interface DrawnMachine {
  /** File name in docs/machines, without .md. */
  readonly name: string
  /** Heading of the page. */
  readonly title: string
  /** Where the machine is defined, from the root of the repository. */
  readonly source: string
  readonly machine: AnyStateMachine
}

export const drawnMachines: readonly DrawnMachine[] = []

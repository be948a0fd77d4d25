// Owns: tests generated from a machine (xstate/graph): every (state, event) of a bounded scope is driven through a real
// actor, and what was never reached is named.
// 1. A transition counts as covered only when an actor took that very definition (inspection), not because its event was sent.
// Leaves out: what must hold after each step: the caller's check.
import {
  type AnyActorLogic,
  type AnyStateMachine,
  createActor,
  type EventFromLogic,
  type InputFrom,
  type SnapshotFrom,
} from 'xstate'
import { getAdjacencyMap } from 'xstate/graph'

export interface WalkOptions<M extends AnyStateMachine> {
  readonly input: InputFrom<M>
  /** Every event worth sending in a state; `after` events by their full name. */
  readonly events: readonly EventFromLogic<M>[] | ((snapshot: SnapshotFrom<M>) => readonly EventFromLogic<M>[])
  /** States further away than this are not expanded: keeps counters bounded. */
  readonly expand?: (snapshot: SnapshotFrom<M>) => boolean
  /** Called after each step that an actor took. */
  readonly check?: (before: SnapshotFrom<M>, event: EventFromLogic<M>, after: SnapshotFrom<M>) => void
  readonly statesMax?: number
  /** What tells two states apart; default: the whole snapshot as JSON. */
  readonly key?: (snapshot: SnapshotFrom<M>) => string
}

export interface Walk {
  readonly states: number
  readonly steps: number
  readonly unreachedStates: readonly string[]
  readonly uncoveredTransitions: readonly string[]
}

interface TransitionLike {
  readonly source: { readonly id: string }
  readonly eventType: string
}

export function walkMachine<M extends AnyStateMachine>(machine: M, options: WalkOptions<M>): Walk {
  const map = getAdjacencyMap(
    machine as AnyActorLogic,
    {
      input: options.input,
      events: (snapshot: unknown) => {
        const at = snapshot as SnapshotFrom<M>
        if (options.expand !== undefined && !options.expand(at)) return []
        return typeof options.events === 'function' ? [...options.events(at)] : [...options.events]
      },
      limit: options.statesMax ?? 200_000,
      ...(options.key === undefined
        ? {}
        : { serializeState: (state: unknown) => options.key?.(state as SnapshotFrom<M>) ?? '' }),
    } as Parameters<typeof getAdjacencyMap>[1],
  )
  const taken = new Set<unknown>()
  const visited = new Set<string>()
  let steps = 0
  for (const { state, transitions } of Object.values(map)) {
    for (const id of activeIds(state)) visited.add(id)
    for (const { event } of Object.values(transitions) as readonly { event: unknown }[]) {
      steps += 1
      const after = drive(machine, state as SnapshotFrom<M>, event as EventFromLogic<M>, taken)
      for (const id of activeIds(after)) visited.add(id)
      options.check?.(state as SnapshotFrom<M>, event as EventFromLogic<M>, after)
    }
  }
  const nodes = allNodes(machine.root as NodeLike)
  return {
    states: Object.keys(map).length,
    steps,
    unreachedStates: nodes.map(({ id }) => id).filter((id) => !visited.has(id)),
    uncoveredTransitions: nodes
      .flatMap((node) => transitionsOf(node))
      .filter((t) => !taken.has(t))
      .map(nameOf),
  }
}

/** One step of a real actor that starts in `state`. */
function drive<M extends AnyStateMachine>(
  machine: M,
  state: SnapshotFrom<M>,
  event: EventFromLogic<M>,
  taken: Set<unknown>,
): SnapshotFrom<M> {
  const actor = createActor(machine as AnyStateMachine, {
    snapshot: state,
    inspect: (inspected) => {
      if (inspected.type !== '@xstate.microstep') return
      for (const definition of inspected._transitions) taken.add(definition)
    },
  })
  actor.start()
  if (actor.getSnapshot().status === 'active') actor.send(event)
  const after = actor.getSnapshot() as SnapshotFrom<M>
  actor.stop()
  return after
}

interface NodeLike {
  readonly id: string
  readonly states: Readonly<Record<string, NodeLike>>
  readonly transitions: ReadonlyMap<string, readonly TransitionLike[]>
  /** Transitions without an event. */
  readonly always?: readonly TransitionLike[] | undefined
}

function allNodes(node: NodeLike): NodeLike[] {
  return [node, ...Object.values(node.states).flatMap(allNodes)]
}

function transitionsOf(node: NodeLike): TransitionLike[] {
  return [...node.transitions.values(), ...(node.always ?? [])].flat()
}

function nameOf(transition: TransitionLike): string {
  return `${transition.source.id} on ${transition.eventType}: ${JSON.stringify({ guard: 'guard' in transition ? transition.guard : undefined })}`
}

function activeIds(state: unknown): string[] {
  return (state as { readonly _nodes: readonly { readonly id: string }[] })._nodes.map(({ id }) => id)
}

// Owns: the session machine bound to its effects: which method of a session each action calls. Once per node, not per session.
import { assertEvent } from 'xstate'
import { sessionMachine } from '../fsm/server/session.machine.ts'
import type { SessionContext, SessionEvent } from '../fsm/server/session.types.ts'
import type { SessionId } from '../protocol/ids.ts'
import { ReadSession } from './read-session.ts'
import type { Session } from './session.ts'
import { WriteSession } from './write-session.ts'

interface Happening {
  readonly context: SessionContext
  readonly event: SessionEvent
}

export function bindSessionMachine(
  find: (id: SessionId) => Session,
  unknownEvent: (context: SessionContext, event: SessionEvent) => void,
): typeof sessionMachine {
  const reading = (context: SessionContext): ReadSession => expectKind(find(context.sessionId), ReadSession)
  const writing = (context: SessionContext): WriteSession => expectKind(find(context.sessionId), WriteSession)
  return sessionMachine.provide({
    actions: {
      startFetch: ({ context }: Happening) => reading(context).startFetch(),
      startRestedFetch: ({ context }: Happening) => reading(context).startFetch(),
      deliver: ({ context, event }: Happening) => {
        assertEvent(event, 'FETCHED')
        reading(context).deliver(event.request, context.step)
      },
      redeliver: ({ context, event }: Happening) => {
        assertEvent(event, 'READ')
        reading(context).deliver(event.request, context.step)
      },
      failFetch: ({ context, event }: Happening) => {
        assertEvent(event, 'FETCH_FAILED')
        reading(context).failFetch(event.request)
      },
      movePosition: ({ context, event }: Happening) =>
        reading(context).movePosition(event.type === 'ACK' ? event.count : null),
      answerAck: ({ context, event }: Happening) => {
        assertEvent(event, 'ACK')
        reading(context).answerAck(event.request, event.n)
      },
      repeatAck: ({ context, event }: Happening) => {
        assertEvent(event, 'ACK')
        reading(context).answerAck(event.request, event.n)
      },
      answerNack: ({ context, event }: Happening) => {
        assertEvent(event, 'NACK')
        reading(context).answerNack(event.request, event.n, context.deliveries)
      },
      answerExtend: ({ context, event }: Happening) => {
        assertEvent(event, 'EXTEND')
        find(context.sessionId).answerExtend(event.request)
      },
      stage: ({ context, event }: Happening) => {
        assertEvent(event, 'WRITE')
        writing(context).answerStaged(event.request, event.n)
      },
      publish: ({ context, event }: Happening) => {
        assertEvent(event, ['WRITE', 'PUBLISH'])
        writing(context).publish(event.request, event.n)
      },
      answerWrite: ({ context, event }: Happening) => {
        assertEvent(event, 'SETTLED')
        writing(context).answerSettled(event.n)
      },
      repeatWrite: ({ context, event }: Happening) => {
        assertEvent(event, ['WRITE', 'PUBLISH'])
        writing(context).answerAgain(event.request, event.n)
      },
      reopenWindow: ({ context }: Happening) => writing(context).reopenWindow(),
      refuse: ({ context, event }: Happening, params) => find(context.sessionId).refuse(event, params),
      windDown: ({ context }: Happening) => find(context.sessionId).windDown(),
      settle: ({ context }: Happening) => find(context.sessionId).settle(context.closeReason ?? 'failed'),
      unknownEvent: ({ context, event }: Happening) => unknownEvent(context, event),
    },
  })
}

function expectKind<T extends Session>(session: Session, kind: abstract new (...args: never[]) => T): T {
  if (!(session instanceof kind)) throw new Error(`not a ${kind.name}`)
  return session
}

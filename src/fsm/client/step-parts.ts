// Owns: what the steps of every slot share: their words, and how a lane goes on.
import { slot, type Turn } from '../../protocol/messages.ts'
import type {
  ClientSessionContext,
  ClientSessionEvent,
  Command,
  Lane,
  OpenSession,
  SentRequest,
  WayFacts,
} from './client-session.types.ts'

export type Changes = Partial<ClientSessionContext>
export type Context = ClientSessionContext
export type EventOf<T extends ClientSessionEvent['type']> = Extract<ClientSessionEvent, { type: T }>

export function sendData(context: Context, seq: number, challenge: Uint8Array | null, request: SentRequest): Command {
  const { session } = context
  if (session === null || challenge === null) throw new Error('a request is sent in an open session')
  return { kind: 'send', attempt: session.attempt, slot: slot.data, seq, challenge, token: session.token, request }
}

export function laneOf(turn: Turn): Lane {
  return { nextSeq: turn.nextSeq, challenge: turn.challenge, turnSeq: turn.nextSeq }
}

/** The newest turn wins; when nothing is out, the server's number is the one that counts. */
export function turned(lane: Lane, turn: Turn, nothingOut: boolean): Lane {
  const newer = turn.nextSeq >= lane.turnSeq
  const turnSeq = newer ? turn.nextSeq : lane.turnSeq
  return { turnSeq, challenge: newer ? turn.challenge : lane.challenge, nextSeq: nothingOut ? turnSeq : lane.nextSeq }
}

/** A request that was sent too often in this session is taken to another. */
export function tiredOf(context: Context, sendings: number): Changes {
  return sendings >= context.retry.sendingsMax ? { leave: true } : {}
}

/** A request that never left was not sent: what the gateway says of it later is said of its first sending. */
export function sendingsOf(request: { readonly sendings: number }, way: WayFacts | undefined): number {
  return way?.unsent === true ? Math.max(0, request.sendings - 1) : request.sendings
}

export function proven(session: OpenSession | null): OpenSession | null {
  return session === null || session.proven ? session : { ...session, proven: true }
}

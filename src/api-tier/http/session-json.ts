// Owns: session replies as JSON.
import { type AllocateReply, type AllocateRequest, mode, type PartResult, partState } from '../../protocol/messages.ts'
import { defined, numberOf, optionalBytesText, textOf } from './json-values.ts'
import type { AllocateBody } from './schemas-sessions.ts'
import { base64url, bytesOfBase64url } from './session-headers.ts'
import { startAtOf } from './start-at.ts'

/** Errors: BAD_REQUEST. */
export function allocateRequestOf(body: AllocateBody): AllocateRequest {
  const { resume } = body
  return defined({
    topic: body.topic,
    mode: mode[body.mode],
    startAt:
      body.mode === 'read' || body.from !== undefined || body.cursor !== undefined
        ? startAtOf(body.from, body.cursor)
        : undefined,
    resume:
      resume === undefined
        ? undefined
        : defined({
            session: bytesOfBase64url(resume.session, 'resume.session'),
            writeCursor: bytesOfBase64url(resume.writeCursor, 'resume.writeCursor'),
            nextN: numberOf(resume.nextN, 'resume.nextN'),
            writes: resume.writes?.map((write) => ({
              n: numberOf(write.n, 'resume.writes.n'),
              partitions: write.partitions,
            })),
          }),
    macAlgorithm: body.macAlgorithm,
    group: body.group,
    producerName: body.producerName,
    ackLevel: body.ackLevel,
    tenant: body.tenant,
  })
}

export function allocatedJson(reply: AllocateReply, body: AllocateBody): object {
  return defined({
    sessionId: reply.sessionId,
    session: base64url(reply.session),
    secret: base64url(reply.secret),
    topic: body.topic,
    mode: body.mode,
    partitions: reply.partitions,
    packing: reply.packing,
    macAlgorithm: reply.macAlgorithm,
    limits: { ...reply.limits },
    expiresAtMs: String(reply.expiresAtMs),
    cursor: optionalBytesText(reply.cursor),
    writeCursor: optionalBytesText(reply.writeCursor),
    nextN: textOf(reply.nextN),
    outcomes: reply.outcomes?.map((outcome) => ({ n: String(outcome.n), parts: partsJson(outcome.parts) })),
  })
}

const stateNames: Readonly<Record<number, string>> = {
  [partState.landed]: 'landed',
  [partState.missing]: 'missing',
  [partState.unknown]: 'unknown',
}

export function partsJson(parts: readonly PartResult[]): object[]
export function partsJson(parts: readonly PartResult[] | undefined): object[] | undefined
export function partsJson(parts: readonly PartResult[] | undefined): object[] | undefined {
  return parts?.map((part) =>
    defined({
      part: part.part,
      partition: part.partition,
      state: stateNames[part.state] ?? 'unknown',
      offset: textOf(part.offset),
      perEvent: part.perEvent,
    }),
  )
}

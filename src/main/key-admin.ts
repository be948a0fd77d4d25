// Owns: what an operator does to key files, whichever of the three kinds: described without secrets, rotated, revoked.
// 1. Each change is one replacement of the file under its lock; running processes pick it up by themselves (key-reload.ts).
// 2. A signing key is described only: its id names the issuer of access tokens, which a rotation would change.
// Leaves out: which file is meant and what is printed (cli/key-commands.ts).
import { createHash } from 'node:crypto'
import { changeGatewayKeys, readKeyFile } from '../adapters/keyring/key-files.ts'
import { type KeyringContent, parseKeyring, wipeKeyring } from '../adapters/keyring/keyring-content.ts'
import {
  activateKek,
  bindTopic,
  boundTopic,
  KeyEditRefused,
  type KeyringEdit,
  type KeySource,
  restoreKek,
  retireKek,
  revokeKek,
  rotateKek,
  shredKek,
  shredTopic,
  stageKek,
} from '../adapters/keyring/keyring-edits.ts'
import { changeKeyring } from '../adapters/keyring/keyring-file.ts'
import { parseSigningJwk } from '../api-tier/auth/signing-key.ts'
import { GatewayKeys } from '../crypto/gateway-keys.ts'
import { keyFileKind, keyFileKindOf } from '../crypto/key-file-fields.ts'
import { parseTopicId } from '../protocol/ids.ts'

export { KeyEditRefused }

export interface KeyLine {
  readonly id: string
  readonly state: 'current' | 'active' | 'revoked' | 'retired' | 'replaced' | 'destroyed'
  readonly createdAtMs: number | undefined
  /** Of a KEK that belongs to one topic. */
  readonly topic?: { readonly name: string; readonly id: string }
}

export interface KeyFileReport {
  readonly kind: 'keyring' | 'gateway-keys' | 'signing-key'
  readonly ringId: string | undefined
  readonly revision: number | undefined
  /** The same for the same bytes: to compare copies without showing them. */
  readonly fingerprint: string
  readonly keys: readonly KeyLine[]
}

/** both: where all processes read this very file. stage, then activate: where it has to be copied to them. */
export type RotateStep =
  | { readonly kind: 'both' }
  | { readonly kind: 'stage' }
  | { readonly kind: 'activate'; readonly id: string }

const fingerprintDigits = 16

/** Reads the whole file strictly. Errors: KEYRING_MISSING, KEYRING_UNREADABLE. */
export async function describeKeyFile(path: string): Promise<KeyFileReport> {
  const text = await readKeyFile(path)
  const fingerprint = createHash('sha256').update('tl1 key file').update(text).digest('hex').slice(0, fingerprintDigits)
  switch (keyFileKindOf(text)) {
    case keyFileKind.keyring: {
      const content = parseKeyring(text)
      const { ringId, revision } = content
      wipeKeyring(content)
      return { kind: 'keyring', ringId, revision, fingerprint, keys: linesOf(content) }
    }
    case keyFileKind.gatewayKeys: {
      const keys = GatewayKeys.parse(text)
      const lines = keys.describe().map(({ id, createdAtMs, current }): KeyLine => {
        return { id, createdAtMs, state: current ? 'current' : 'active' }
      })
      keys.close()
      return { kind: 'gateway-keys', ringId: undefined, revision: keys.revision, fingerprint, keys: lines }
    }
    case undefined: {
      const { kid } = await parseSigningJwk(text)
      const line: KeyLine = { id: kid, state: 'current', createdAtMs: undefined }
      return { kind: 'signing-key', ringId: undefined, revision: undefined, fingerprint, keys: [line] }
    }
  }
}

/** Answers the id of the key that was added or made current. Errors: KEYRING_…, KeyEditRefused. */
export async function rotateKeys(
  path: string,
  { step, topic }: { readonly step: RotateStep; readonly topic: string | undefined },
  source: KeySource,
): Promise<string> {
  if ((await changeableKind(path)) === keyFileKind.keyring)
    return await changeKeyring(path, source, (content) => {
      const topicId = topic === undefined ? undefined : boundTopic(content, topic).topicId
      switch (step.kind) {
        case 'both':
          return rotateKek(source, topicId)(content)
        case 'stage':
          return stageKek(source, topicId)(content)
        case 'activate':
          return { content: activateKek(step.id)(content).content, value: step.id }
      }
    })
  if (topic !== undefined) throw new KeyEditRefused('gateway keys do not belong to topics')
  return await changeGatewayKeys(path, source, (keys) => {
    if (step.kind === 'activate') {
      known(keys, step.id)
      return { keys: keys.withCurrent(step.id), value: step.id }
    }
    if (keys.isFull) throw new KeyEditRefused('the file holds as many gateway keys as it can: revoke the oldest one')
    if (step.kind === 'both') {
      const rotated = keys.rotated(source.random, source.clock)
      return { keys: rotated, value: rotated.currentId }
    }
    const { keys: staged, id } = keys.withStaged(source.random, source.clock)
    return { keys: staged, value: id }
  })
}

/** Of a gateway key this is for good: what it sealed opens no more. Errors: KEYRING_…, KeyEditRefused. */
export async function revokeKey(path: string, id: string, source: KeySource): Promise<void> {
  if ((await changeableKind(path)) === keyFileKind.keyring) return await changeKeyring(path, source, revokeKek(id))
  await changeGatewayKeys(path, source, (keys) => {
    known(keys, id)
    if (id === keys.currentId) throw new KeyEditRefused(`${id} is the current key: rotate first`)
    return { keys: keys.without(id), value: undefined }
  })
}

/** What was re-wrapped from it goes on. Errors: KEYRING_…, KeyEditRefused. */
export async function retireKey(path: string, id: string, source: KeySource): Promise<void> {
  await changeKeyring(path, source, retireKek(id))
}

/** Errors: KEYRING_…, KeyEditRefused. */
export async function restoreKey(path: string, id: string, source: KeySource): Promise<void> {
  await changeKeyring(path, source, restoreKek(id))
}

/** Answers the KEK's id. Errors: KEYRING_…, KeyEditRefused. */
export async function createTopicKey(
  path: string,
  { topic, topicId }: { readonly topic: string; readonly topicId: string },
  source: KeySource,
): Promise<string> {
  return await changeKeyring(path, source, bindTopic(source, parseTopicId(topicId), topic))
}

/** Answers the ids of what was destroyed. Errors: KEYRING_…, KeyEditRefused. */
export async function shredKeys(
  path: string,
  what: { readonly topic: string } | { readonly id: string; readonly allTopics: boolean },
  source: KeySource,
): Promise<readonly string[]> {
  const edit: KeyringEdit<readonly string[]> =
    'topic' in what
      ? (content) => shredTopic(boundTopic(content, what.topic).topicId)(content)
      : (content) => ({ content: shredKek(what.id, what.allTopics)(content).content, value: [what.id] })
  return await changeKeyring(path, source, edit)
}

async function changeableKind(path: string): Promise<'trunkline-keyring' | 'trunkline-gateway-keys'> {
  const kind = keyFileKindOf(await readKeyFile(path))
  if (kind === undefined) throw new KeyEditRefused('only a keyring and gateway keys can be changed')
  return kind
}

function known(keys: GatewayKeys, id: string): void {
  if (!keys.ids.includes(id)) throw new KeyEditRefused(`the file has no gateway key ${id}`)
}

function linesOf(content: KeyringContent): readonly KeyLine[] {
  const bound = new Map<string, KeyringContent['topics'][number]>(content.topics.map((topic) => [topic.topicId, topic]))
  return content.keks.map(({ id, createdAtMs, state, topicId }): KeyLine => {
    const topic = topicId === undefined ? undefined : bound.get(topicId)
    const isCurrent = state.kind === 'active' && id === (topic?.current ?? content.current)
    return {
      id,
      createdAtMs,
      state: isCurrent ? 'current' : state.kind,
      ...(topic === undefined ? {} : { topic: { name: topic.topic, id: topic.topicId } }),
    }
  })
}

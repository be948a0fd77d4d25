// Owns: the changes that an operator makes to a keyring, as pure functions, and which of them are refused.
// 1. The current shared KEK is neither revoked nor destroyed: make another one current first.
// 2. A shared KEK is destroyed only when it was revoked or retired before: whoever still needs it was heard by then.
// 3. Nothing that was destroyed comes back.
// 4. A retired KEK that is shredded is replaced: what was re-wrapped from it stays, unless the loss is named.
// Every edit raises the revision. Leaves out: the file and its lock (keyring-file.ts), what an edit does to re-wrapped keys
// (rewrap-edits.ts).
import type { Clock } from '../../ports/clock.ts'
import type { Random } from '../../ports/random.ts'
import type { TopicId } from '../../protocol/ids.ts'
import { freshKek, type Kek, type KekState, type KeyringContent, keksMax, type TopicKek } from './keyring-content.ts'

/** Why an edit is refused: a sentence for whoever asked, without any secret. */
export class KeyEditRefused extends Error {}

export interface KeySource {
  readonly random: Random
  readonly clock: Clock
}

export type KeyringEdit<T = void> = (content: KeyringContent) => { readonly content: KeyringContent; readonly value: T }

/** A fresh KEK that wraps nothing yet; every process that has read the file can unwrap with it. Answers its id. */
export function stageKek(source: KeySource, topicId?: TopicId): KeyringEdit<string> {
  return (content) => {
    if (topicId !== undefined) topicOf(content, topicId)
    if (content.keks.length >= keksMax) throw new KeyEditRefused(`the keyring is full: ${keksMax} KEKs`)
    const kek = freshKek(source.random, source.clock, topicId)
    return edited({ ...content, keks: [...content.keks, kek] }, kek.id)
  }
}

/** New data keys are wrapped by it from now on: of all topics, or of the one that it was made for. */
export function activateKek(kekId: string): KeyringEdit {
  return (content) => {
    const kek = kekOf(content, kekId)
    if (kek.state.kind !== 'active') throw new KeyEditRefused(`${kekId} is ${kek.state.kind}`)
    if (kek.topicId === undefined) return edited({ ...content, current: kekId }, undefined)
    const { topicId } = kek
    const topics = content.topics.map((topic) => (topic.topicId === topicId ? { ...topic, current: kekId } : topic))
    return edited({ ...content, topics }, undefined)
  }
}

/** Both steps at once: where one process, or one machine, reads the file. Answers the id of the new KEK. */
export function rotateKek(source: KeySource, topicId?: TopicId): KeyringEdit<string> {
  return (content) => {
    const staged = stageKek(source, topicId)(content)
    return {
      content: { ...activateKek(staged.value)(staged.content).content, revision: content.revision + 1 },
      value: staged.value,
    }
  }
}

/** Gives a topic a KEK of its own. What was written before stays under the shared one. Answers the KEK's id. */
export function bindTopic(source: KeySource, topicId: TopicId, topic: string): KeyringEdit<string> {
  return (content) => {
    const known = content.topics.find((one) => one.topicId === topicId)
    if (known !== undefined) {
      if (kekOf(content, known.current).state.kind !== 'destroyed')
        throw new KeyEditRefused(`the topic ${known.topic} has a KEK of its own (${known.current}): rotate that one`)
      return rotateKek(source, topicId)(content)
    }
    if (content.keks.length >= keksMax) throw new KeyEditRefused(`the keyring is full: ${keksMax} KEKs`)
    const kek = freshKek(source.random, source.clock, topicId)
    const topics = [...content.topics, { topicId, topic, current: kek.id }]
    return edited({ ...content, keks: [...content.keks, kek], topics }, kek.id)
  }
}

/** It neither wraps nor unwraps until it is restored to what it was. Invariant 1. */
export function revokeKek(kekId: string): KeyringEdit {
  return (content) => {
    const kek = kekOf(content, kekId)
    notCurrent(content, kek)
    if (kek.state.kind !== 'active' && kek.state.kind !== 'retired')
      throw new KeyEditRefused(`${kekId} is ${kek.state.kind} already`)
    const wasRetired = kek.state.kind === 'retired'
    return edited(withState(content, kekId, { kind: 'revoked', key: kek.state.key, wasRetired }), undefined)
  }
}

/** Only what was re-wrapped from it opens, until it is restored. */
export function retireKek(kekId: string): KeyringEdit {
  return (content) => {
    const kek = kekOf(content, kekId)
    notCurrent(content, kek)
    if (content.topics.some(({ current }) => current === kekId))
      throw new KeyEditRefused(`${kekId} is the current KEK of its topic: rotate first`)
    if (kek.state.kind !== 'active') throw new KeyEditRefused(`${kekId} is ${kek.state.kind} already`)
    return edited(withState(content, kekId, { kind: 'retired', key: kek.state.key }), undefined)
  }
}

/** One step back: a KEK that was revoked while it was retired is retired again. */
export function restoreKek(kekId: string): KeyringEdit {
  return (content) => {
    const { state } = kekOf(content, kekId)
    if (state.kind === 'destroyed' || state.kind === 'replaced')
      throw new KeyEditRefused(`${kekId} was destroyed: nothing brings it back`)
    if (state.kind === 'active') throw new KeyEditRefused(`${kekId} is not revoked`)
    const kind = state.kind === 'revoked' && state.wasRetired ? 'retired' : 'active'
    return edited(withState(content, kekId, { kind, key: state.key }), undefined)
  }
}

/**
 * For good. `sharedToo`: the caller said that everything of all topics under a shared KEK may go, also what was re-wrapped
 * from it. Invariants 1, 2 and 4.
 */
export function shredKek(kekId: string, sharedToo: boolean): KeyringEdit {
  return (content) => {
    const kek = kekOf(content, kekId)
    notCurrent(content, kek)
    switch (kek.state.kind) {
      case 'destroyed':
        throw new KeyEditRefused(`${kekId} was destroyed already`)
      case 'replaced':
        if (!sharedToo) throw new KeyEditRefused(`${kekId} was destroyed already; what was re-wrapped from it is kept`)
        break
      case 'retired':
        if (sharedToo) break
        kek.state.key.fill(0)
        return edited(withState(content, kekId, { kind: 'replaced' }), undefined)
      case 'active':
      case 'revoked':
        if (kek.topicId !== undefined) break
        if (kek.state.kind === 'active')
          throw new KeyEditRefused(
            `${kekId} is shared by topics and still in use: revoke it, see that nobody misses it, then shred it`,
          )
        if (!sharedToo)
          throw new KeyEditRefused(`${kekId} is shared: everything that any topic was sealed under it would be lost`)
    }
    return edited(destroyed(content, kek), undefined)
  }
}

/** Every KEK of one topic, for good; answers their ids. What was written before the topic had one is not touched. */
export function shredTopic(topicId: TopicId): KeyringEdit<readonly string[]> {
  return (content) => {
    const { topic } = topicOf(content, topicId)
    const doomed = content.keks.filter((kek) => kek.topicId === topicId && kek.state.kind !== 'destroyed')
    if (doomed.length === 0) throw new KeyEditRefused(`the KEKs of the topic ${topic} were destroyed already`)
    return edited(
      doomed.reduce(destroyed, content),
      doomed.map(({ id }) => id),
    )
  }
}

/** The bound topic of this name, or with this id. A name that two topics bore in turn is refused. */
export function boundTopic(content: KeyringContent, nameOrId: string): TopicKek {
  const byId = content.topics.find(({ topicId }) => topicId === nameOrId)
  if (byId !== undefined) return byId
  const [first, second] = content.topics.filter(({ topic }) => topic === nameOrId)
  if (first === undefined) throw new KeyEditRefused(`no topic ${nameOrId} has a KEK of its own`)
  if (second !== undefined)
    throw new KeyEditRefused(
      `several topics were named ${nameOrId}: name the one by its id (${first.topicId}, ${second.topicId}, …)`,
    )
  return first
}

function topicOf(content: KeyringContent, topicId: TopicId): TopicKek {
  const found = content.topics.find((one) => one.topicId === topicId)
  if (found === undefined) throw new KeyEditRefused(`the topic ${topicId} has no KEK of its own`)
  return found
}

function kekOf(content: KeyringContent, kekId: string): Kek {
  const found = content.keks.find((kek) => kek.id === kekId)
  if (found === undefined) throw new KeyEditRefused(`the keyring has no KEK ${kekId}`)
  return found
}

function notCurrent(content: KeyringContent, { id }: Kek): void {
  if (id === content.current) throw new KeyEditRefused(`${id} is the current KEK: rotate first`)
}

function destroyed(content: KeyringContent, { id, state }: Kek): KeyringContent {
  if ('key' in state) state.key.fill(0)
  return withState(content, id, { kind: 'destroyed' })
}

function withState(content: KeyringContent, kekId: string, state: KekState): KeyringContent {
  return { ...content, keks: content.keks.map((kek) => (kek.id === kekId ? { ...kek, state } : kek)) }
}

function edited<T>(content: KeyringContent, value: T): { readonly content: KeyringContent; readonly value: T } {
  return { content: { ...content, revision: content.revision + 1 }, value }
}

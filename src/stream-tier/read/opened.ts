// Owns: what readers find at an offset of a topic.
import type { TopicInfo } from '../../ports/event-log.ts'
import type { ErrorName } from '../../protocol/errors.ts'
import type { Block } from '../../protocol/messages.ts'

/** What lies at an offset. */
export type Opened =
  /** With offset and appendTimeMs. Shared: never change it. */
  | { readonly kind: 'block'; readonly block: Readonly<Block> & { readonly offset: number } }
  /** A barrier, or nothing at all (compacted, aborted, a transaction's marker): `next` is where something may come. */
  | { readonly kind: 'skip'; readonly next?: number }
  /** BLOCK_DAMAGED, KEY_UNAVAILABLE or KEY_SHREDDED. `why`: the limit that a stranger's record does not keep. */
  | { readonly kind: 'damaged'; readonly error: ErrorName; readonly why?: ErrorName }

export type OpenedTopic = Pick<TopicInfo, 'topicId' | 'name' | 'format'>

// Owns: the KeyProvider over a local keyring file.
// 1. A data key is wrapped with AES-256-GCM and a random nonce; its context (topic id, tenant) and the KEK's id are the
//    AAD. A KEK wraps data keys only (a few an hour), so random nonces never wear it out.
// 2. The file is read at the start and by `reload`; KEKs stay in memory until `close`.
// Leaves out: the file's bytes (key-files.ts) and content (keyring-content.ts).
import { decrypt, encryptInto, keySize, nonceSize, tagSize } from '../../crypto/aes-gcm.ts'
import type { DataKey, KekInfo, KeyContext, KeyProvider } from '../../ports/key-provider.ts'
import type { Random } from '../../ports/random.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { idToBytes } from '../../protocol/ids.ts'
import { type KeyFileOptions, loadOrCreate, readKeyFile, replaceKeyFile } from './key-files.ts'
import {
  freshKeyring,
  type KeyringContent,
  keyringText,
  parseKeyring,
  wipeKeyring,
  withDestroyedKek,
  withFreshKek,
} from './keyring-content.ts'

export interface KeyringOptions extends KeyFileOptions {
  /** The `ringId` that the data folder was made with; another one is KEYRING_WRONG. */
  readonly expectedRingId?: string | undefined
}

const wrapVersion = 1
const wrapLabel = 'tl1 wrap'
const wrappedSize = 1 + nonceSize + keySize + tagSize

/** Errors: KEYRING_MISSING, KEYRING_UNREADABLE, KEYRING_WRONG. The caller closes the provider. */
export async function openKeyring(path: string, options: KeyringOptions): Promise<KeyringProvider> {
  const fresh = (): string => keyringText(freshKeyring(options.random, options.clock))
  const content = await loadOrCreate(path, options, parseKeyring, fresh)
  if (options.expectedRingId !== undefined && options.expectedRingId !== content.ringId) {
    wipeKeyring(content)
    throw new TrunklineError('KEYRING_WRONG', { details: { path } })
  }
  return new KeyringProvider(path, content, options.random)
}

/** Adds a KEK and makes it current; a running provider takes it with `reload`. Errors as openKeyring. Answers its id. */
export async function addKek(path: string, options: Omit<KeyFileOptions, 'create'>): Promise<string> {
  const changed = withFreshKek(parseKeyring(await readKeyFile(path)), options.random, options.clock)
  await replaceKeyFile(path, keyringText(changed), options.random)
  wipeKeyring(changed)
  return changed.current
}

/** Destroys a KEK that is not current: everything sealed under it is lost for good. Errors as openKeyring. */
export async function destroyKek(path: string, kekId: string, options: { readonly random: Random }): Promise<void> {
  const changed = withDestroyedKek(parseKeyring(await readKeyFile(path)), kekId)
  await replaceKeyFile(path, keyringText(changed), options.random)
  wipeKeyring(changed)
}

export class KeyringProvider implements KeyProvider {
  readonly #path: string
  readonly #random: Random
  #content: KeyringContent | undefined

  /** Takes the content over and wipes it at `close`. */
  constructor(path: string, content: KeyringContent, random: Random) {
    this.#path = path
    this.#content = content
    this.#random = random
  }

  /** 32 hex digits; stays through rotation. */
  get ringId(): string {
    return this.#open().ringId
  }

  async generate(context: KeyContext): Promise<DataKey> {
    const content = this.#open()
    const plaintext = this.#random.bytes(keySize)
    return { kekId: content.current, plaintext, wrapped: this.#wrap(content, plaintext, context) }
  }

  async unwrap(kekId: string, wrapped: Uint8Array, context: KeyContext): Promise<Uint8Array> {
    return unwrapWith(this.#open(), kekId, wrapped, context)
  }

  async rewrap(
    kekId: string,
    wrapped: Uint8Array,
    context: KeyContext,
  ): Promise<{ kekId: string; wrapped: Uint8Array }> {
    const content = this.#open()
    const plaintext = unwrapWith(content, kekId, wrapped, context)
    const again = this.#wrap(content, plaintext, context)
    plaintext.fill(0)
    return { kekId: content.current, wrapped: again }
  }

  /** Destroyed KEKs are not listed. */
  async describe(): Promise<readonly KekInfo[]> {
    const { current, keks } = this.#open()
    return keks
      .filter((kek) => kek.state.kind === 'active')
      .map((kek) => ({ kekId: kek.id, createdAtMs: kek.createdAtMs, current: kek.id === current }))
  }

  /** Reads the file again. On an error (also KEYRING_WRONG: another ring) what was read before stays in use. */
  async reload(): Promise<void> {
    const content = parseKeyring(await readKeyFile(this.#path))
    // Looked at after the read: a close in between wins.
    const former = this.#content
    if (former?.ringId !== content.ringId) {
      wipeKeyring(content)
      if (former === undefined) return
      throw new TrunklineError('KEYRING_WRONG', { details: { path: this.#path } })
    }
    this.#content = content
    wipeKeyring(former)
  }

  async close(): Promise<void> {
    if (this.#content !== undefined) wipeKeyring(this.#content)
    this.#content = undefined
  }

  #open(): KeyringContent {
    if (this.#content === undefined) throw new TrunklineError('KEY_UNAVAILABLE', { details: { reason: 'closed' } })
    return this.#content
  }

  #wrap(content: KeyringContent, plaintext: Uint8Array, context: KeyContext): Uint8Array {
    const key = kekOf(content, content.current)
    const nonce = this.#random.bytes(nonceSize)
    const wrapped = new Uint8Array(wrappedSize)
    wrapped[0] = wrapVersion
    wrapped.set(nonce, 1)
    encryptInto(wrapped, 1 + nonceSize, key, nonce, aadOf(content.current, context), plaintext)
    return wrapped
  }
}

function unwrapWith(content: KeyringContent, kekId: string, wrapped: Uint8Array, context: KeyContext): Uint8Array {
  const key = kekOf(content, kekId)
  if (wrapped.length !== wrappedSize || wrapped[0] !== wrapVersion) throw new TrunklineError('BLOCK_DAMAGED')
  const nonce = wrapped.subarray(1, 1 + nonceSize)
  const plaintext = decrypt(key, nonce, aadOf(kekId, context), wrapped.subarray(1 + nonceSize))
  if (plaintext === undefined) throw new TrunklineError('BLOCK_DAMAGED')
  return plaintext
}

function kekOf(content: KeyringContent, kekId: string): Uint8Array {
  const kek = content.keks.find((candidate) => candidate.id === kekId)
  if (kek === undefined) throw new TrunklineError('KEY_UNAVAILABLE', { details: { reason: 'unknown KEK' } })
  switch (kek.state.kind) {
    case 'active':
      return kek.state.key
    case 'destroyed':
      throw new TrunklineError('KEY_SHREDDED')
  }
}

/** "tl1 wrap" │ KEK id size u8 and ASCII │ topic id 16 │ tenant in UTF-8. */
function aadOf(kekId: string, context: KeyContext): Uint8Array {
  return Buffer.concat([
    Buffer.from(wrapLabel, 'latin1'),
    Uint8Array.of(kekId.length),
    Buffer.from(kekId, 'latin1'),
    idToBytes(context.topicId),
    Buffer.from(context.tenant, 'utf8'),
  ])
}

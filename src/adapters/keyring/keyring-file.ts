// Owns: changing a keyring file: one writer at a time, whole or not at all.
// Leaves out: which changes there are (keyring-edits.ts), how a running process notices (key-file-watch.ts).
import { changeKeyFile } from './key-files.ts'
import { type KeyringContent, keyringText, parseKeyring, wipeKeyring } from './keyring-content.ts'
import type { KeyringEdit, KeySource } from './keyring-edits.ts'

/** Errors: KEYRING_MISSING, KEYRING_UNREADABLE, KEYRING_WRONG, KEYRING_BUSY, and an edit's KeyEditRefused. */
export function changeKeyring<T>(path: string, source: KeySource, edit: KeyringEdit<T>): Promise<T> {
  return changeKeyFile(path, source, (text) => {
    const before = parseKeyring(text)
    let after: KeyringContent | undefined
    try {
      const { content, value } = edit(before)
      after = content
      return { text: keyringText(content), value }
    } finally {
      wipeKeyring(before)
      if (after !== undefined) wipeKeyring(after)
    }
  })
}

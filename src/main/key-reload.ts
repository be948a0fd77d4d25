// Owns: key files that are taken over while the process runs, with what the operator is told about it.
import { KeyFileWatch, type WatchedKeyFile } from '../adapters/keyring/key-file-watch.ts'
import { reloadGatewayKeys } from '../adapters/keyring/key-files.ts'
import { rewrappedPathOf } from '../adapters/keyring/keyring-file.ts'
import type { KeyringProvider } from '../adapters/keyring/keyring-provider.ts'
import type { ProcessConfig } from '../config/roles.ts'
import type { GatewayKeys } from '../crypto/gateway-keys.ts'
import type { Parts } from './parts.ts'

/** How a running process takes a changed keyring over, and the re-wrapped keys beside it. */
export function keyringFiles(path: string, keys: KeyringProvider): readonly WatchedKeyFile[] {
  return [
    { name: 'keyring', path, revision: () => keys.revision, reload: () => keys.reload() },
    {
      name: 'rewrapped-keys',
      path: rewrappedPathOf(path),
      revision: () => keys.rewrappedRevision,
      reload: () => keys.reloadRewrapped(),
    },
  ]
}

export function gatewayKeysFile(path: string, keys: GatewayKeys): WatchedKeyFile {
  return { name: 'gateway-keys', path, revision: () => keys.revision, reload: () => reloadGatewayKeys(path, keys) }
}

/** Answers how to end it. Nothing it does ends the process: keys that are loaded stay in use. */
export function watchKeyFiles(
  { clock, logger, registry }: Pick<Parts, 'clock' | 'logger' | 'registry'>,
  { keyReloadMs }: Pick<ProcessConfig, 'keyReloadMs'>,
  files: readonly WatchedKeyFile[],
): () => Promise<void> {
  const { keyFileReloads, keyFileRevision } = registry.metrics
  const watches = files.map((file) => {
    const { name, path } = file
    let revision = file.revision()
    keyFileRevision.readFrom({ file: name }, file.revision)
    return new KeyFileWatch({
      file,
      clock,
      everyMs: keyReloadMs,
      onLoaded: () => {
        keyFileReloads.add({ file: name, outcome: 'loaded' })
        if (file.revision() === revision) return
        revision = file.revision()
        logger.info({ tier: 'main', event: name, path, count: revision }, 'a key file was read again')
      },
      onRefused: (error, isNew) => {
        keyFileReloads.add({ file: name, outcome: 'refused' })
        if (isNew)
          logger.error(
            { tier: 'main', event: name, path, errorCode: error.name, reason: error.details['reason'] },
            'a key file was refused: the keys that are loaded stay in use',
          )
      },
    })
  })
  return async () => {
    await Promise.all(watches.map((watch) => watch.close()))
  }
}

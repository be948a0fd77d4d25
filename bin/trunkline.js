#!/usr/bin/env node
// Owns: starting the command line. Runs the build when there is a complete one that is not older than
// the source, and the source through tsx otherwise, so that `npm ci` has nothing to build. Everything
// happens in this process: signals, exit codes and standard streams are the program's own.
import { existsSync, readdirSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = new URL('../', import.meta.url)

if (buildIsFresh()) {
  await import(new URL('dist/src/main/cli.js', root).href)
} else {
  const { register } = await import('tsx/esm/api')
  // Ours by name: the folder that the user stands in may have a tsconfig.json of its own.
  register({ tsconfig: fileURLToPath(new URL('tsconfig.json', root)) })
  await import(new URL('src/main/cli.ts', root).href)
}

function buildIsFresh() {
  if (process.env.TRUNKLINE_SOURCE === '1') return false
  // Written last by the build, so that a broken build is not run.
  const marker = new URL('dist/package.json', root)
  if (!existsSync(marker)) return false
  const builtMs = statSync(marker).mtimeMs
  return !['src/', 'sdk/typescript/src/'].some((folder) => changedSince(new URL(folder, root), builtMs))
}

function changedSince(folder, timeMs) {
  if (!existsSync(folder)) return false
  return readdirSync(folder, { recursive: true }).some((name) => statSync(new URL(name, folder)).mtimeMs > timeMs)
}

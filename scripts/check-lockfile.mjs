// Owns: `npm run check:lockfile`. What `npm ci` installs comes from a registry, by a hash: no git, no URL, no folder.
// Only binaries for other platforms may stand without a hash: a registry that does not serve them cannot tell it, and
// nobody here installs them.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const path = process.argv[2] ?? fileURLToPath(new URL('../package-lock.json', import.meta.url))
const { lockfileVersion, packages } = JSON.parse(readFileSync(path, 'utf8'))

/** For this machine, as far as the entry says. */
function isForHere({ os, cpu }) {
  const fits = (list, own) => list === undefined || list.includes(own)
  return fits(os, process.platform) && fits(cpu, process.arch)
}

function problemOf(name, entry) {
  if (entry.link === true) return 'is a link to a folder'
  if (entry.resolved !== undefined) return 'says where it comes from'
  if (!/^\d+\.\d+\.\d+/.test(entry.version ?? '')) return 'has no version'
  if (entry.integrity === undefined)
    return entry.optional === true && (entry.os !== undefined || entry.cpu !== undefined) && !isInstalled(name, entry)
      ? undefined
      : 'has no hash'
  return /^sha512-[A-Za-z0-9+/]{86}==$/.test(entry.integrity) ? undefined : 'has another hash than SHA-512'
}

function isInstalled(name, entry) {
  // Several C libraries share a platform: only the one that is there counts.
  return isForHere(entry) && !name.includes('musl') && !name.endsWith('-gnueabihf')
}

const entries = Object.entries(packages).filter(([name]) => name !== '')
const problems = entries.flatMap(([name, entry]) => {
  const problem = problemOf(name, entry)
  return problem === undefined ? [] : [`${name} ${problem}`]
})
if (lockfileVersion !== 3) problems.push(`lockfileVersion ${lockfileVersion}`)
if (entries.length === 0) problems.push('no packages at all')
for (const problem of problems) process.stderr.write(`package-lock.json: ${problem}\n`)
if (problems.length > 0) process.exitCode = 1
else process.stdout.write(`${entries.length} packages, each by its hash\n`)

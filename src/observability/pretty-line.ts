// Owns: a JSON log line as one short line for a person: time, level, message, fields.
// Leaves out: what may be in it (log-fields.ts).

const levelColours: Readonly<Record<string, string>> = {
  debug: '\u001b[2m',
  info: '\u001b[32m',
  warn: '\u001b[33m',
  error: '\u001b[31m',
}
const dim = '\u001b[2m'
const reset = '\u001b[0m'

/** `jsonLine` is one line of createLogger; with its line end. */
export function prettyLine(jsonLine: string, colour: boolean): string {
  const { level, time, message, err, ...fields } = parseObject(jsonLine)
  const clock = String(time).slice(11, 23)
  const label = String(level).toUpperCase().padEnd(5)
  const shown = Object.entries(fields).map(([name, value]) => `${name}=${plain(value)}`)
  if (err !== undefined) shown.push(`error=${plain(errorText(err))}`)
  const [on, faint, off] = colour ? [levelColours[String(level)] ?? '', dim, reset] : ['', '', '']
  const details = shown.length === 0 ? '' : ` ${faint}${shown.join(' ')}${off}`
  return `${faint}${clock}${off} ${on}${label}${off} ${escapeControls(String(message))}${details}\n`
}

function parseObject(text: string): Record<string, unknown> {
  const parsed: unknown = JSON.parse(text)
  if (typeof parsed !== 'object' || parsed === null) throw new Error('a log line is an object')
  return { ...parsed }
}

/** Class, code and message; the frames are in the JSON form. */
function errorText(err: unknown): string {
  if (typeof err !== 'object' || err === null) return String(err)
  const { type, code, message, cause } = { type: '', code: '', message: '', cause: undefined, ...err }
  const head = [type, code, message].filter((part) => part !== '').join(': ')
  return cause === undefined ? head : `${head} <- ${errorText(cause)}`
}

function plain(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return /^[^\s"'=]+$/.test(text) && escapeControls(text) === text ? text : escapeControls(JSON.stringify(text))
}

/** A value may come from a peer: no escape sequence of it reaches the terminal. */
function escapeControls(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

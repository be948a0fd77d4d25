// Owns: which providers' access tokens count: the settings of one, and providersFile for several.
//   {"version": 1, "providers": [{"name": "corp", "issuer": "https://…", "audience": "…", "jwksUrl": "https://…",
//     "caFile": "…", "clientIdClaim": "azp", "rolesClaim": "realm_access.roles", "tenantClaim": "…",
//     "algorithms": ["RS256"], "types": ["at+jwt", "JWT"]}]}
// 1. All problems are told at once. No error quotes a file.
// 2. Names and issuers are unique, the one of the settings (`oidc`) included: a name is part of every subject.
// Leaves out: fetching and checking (api-tier/auth).
import { readFileSync, statSync } from 'node:fs'
import { type Static, Type } from 'typebox'
import { Value } from 'typebox/value'
import type { StaticClient } from '../api-tier/auth/client-registry.ts'
import { type TokenProfile, tokenAlgorithms, tokenTypes } from '../api-tier/auth/token-profile.ts'
import { type ConfigProblem, configError } from '../config/load-config.ts'
import type { ProviderConfig } from '../config/roles.ts'
import { readPemFile } from '../config/secret-file.ts'
import { TrunklineError } from '../protocol/errors.ts'
import { safeUrl } from '../protocol/oauth-metadata.ts'

export interface Provider {
  readonly name: string
  readonly profile: TokenProfile
  readonly jwksUrl: string | undefined
  readonly caFile: string | undefined
  readonly loopbackHttp: boolean
}

const text = Type.String({ minLength: 1, maxLength: 1_024 })
const claim = Type.String({ pattern: '^\\S{1,256}$' })
const entrySchema = Type.Object(
  {
    name: Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,31}$' }),
    issuer: text,
    audience: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
    jwksUrl: Type.Optional(text),
    caFile: Type.Optional(text),
    clientIdClaim: Type.Optional(claim),
    rolesClaim: Type.Optional(claim),
    tenantClaim: Type.Optional(claim),
    algorithms: Type.Optional(
      Type.Array(Type.Union(tokenAlgorithms.map((each) => Type.Literal(each))), { minItems: 1 }),
    ),
    types: Type.Optional(Type.Array(Type.Union(tokenTypes.map((each) => Type.Literal(each))), { minItems: 1 })),
  },
  { additionalProperties: false },
)
const providersMax = 32
const fileSchema = Type.Object(
  { version: Type.Literal(1), providers: Type.Array(Type.Unknown(), { minItems: 1, maxItems: providersMax }) },
  { additionalProperties: false },
)
type Entry = Static<typeof entrySchema>

const fileBytesMax = 256 * 1024
/** Of the one provider that the settings name. */
const settingsName = 'oidc'
const audienceDefault = 'trunkline'

/** In the order of the file, that of the settings first. Errors: BAD_CONFIG. */
export function readProviders(config: ProviderConfig): readonly Provider[] {
  const problems: ConfigProblem[] = []
  const loopbackHttp = config.oidcAllowLoopbackHttp
  const { oidcIssuer, oidcAudience, oidcCaFile, providersFile } = config
  const simple: readonly Entry[] =
    oidcIssuer === undefined
      ? []
      : [
          {
            name: settingsName,
            issuer: oidcIssuer,
            audience: oidcAudience,
            ...(oidcCaFile === undefined ? {} : { caFile: oidcCaFile }),
          },
        ]
  const listed = providersFile === undefined ? [] : entriesOf(providersFile, problems)
  for (const entry of simple) checkEntry(entry, settingPlaces, loopbackHttp, problems)
  for (const [index, entry] of listed) checkEntry(entry, filePlaces(index), loopbackHttp, problems)
  const all = [...simple, ...listed.map(([, entry]) => entry)]
  for (const field of ['name', 'issuer'] as const) {
    const seen = new Set(all.map((entry) => entry[field]))
    if (seen.size < all.length) {
      const problem = `two providers have the same ${field}; that of oidcIssuer is called ${settingsName}`
      problems.push({ subject: 'providersFile', problem })
    }
  }
  if (problems.length > 0) throw configError(problems)
  return all.map((entry) => providerOf(entry, loopbackHttp))
}

/** A client of ours whose subject reads like one of a provider would be another one's. Errors: BAD_CONFIG. */
export function checkClientSubjects(clients: readonly StaticClient[], providers: readonly Provider[]): void {
  const taken = providers.find(({ profile }) =>
    clients.some(({ subject }) => subject.startsWith(profile.subjectPrefix)),
  )
  if (taken === undefined) return
  const problem = `its file has a subject that begins with ${taken.profile.subjectPrefix}, as those of a provider do: choose another`
  throw configError([{ subject: 'clientsFile', problem }])
}

interface Places {
  readonly issuer: readonly [setting: string, place: string]
  readonly jwksUrl: readonly [setting: string, place: string]
  readonly caFile: readonly [setting: string, place: string]
}

const settingPlaces: Places = {
  issuer: ['oidcIssuer', 'it'],
  jwksUrl: ['oidcIssuer', 'it'],
  caFile: ['oidcCaFile', ''],
}

function filePlaces(index: number): Places {
  const place = (field: string) => ['providersFile', `/providers/${index}/${field}`] as const
  return { issuer: place('issuer'), jwksUrl: place('jwksUrl'), caFile: place('caFile') }
}

function checkEntry(entry: Entry, places: Places, loopbackHttp: boolean, problems: ConfigProblem[]): void {
  const wrongUrl =
    'must be an https URL without credentials and fragment (http to this machine: set oidcAllowLoopbackHttp)'
  const issuer = safeUrl(entry.issuer, { loopbackHttp })
  if (issuer === undefined || issuer.search !== '') {
    problems.push({ subject: places.issuer[0], problem: `${places.issuer[1]} ${wrongUrl}, and without a query` })
  }
  if (entry.jwksUrl !== undefined && safeUrl(entry.jwksUrl, { loopbackHttp }) === undefined)
    problems.push({ subject: places.jwksUrl[0], problem: `${places.jwksUrl[1]} ${wrongUrl}` })
  if (entry.caFile === undefined) return
  const [subject, place] = places.caFile
  try {
    readPemFile(subject, entry.caFile, 'public')
  } catch (thrown) {
    if (!(thrown instanceof TrunklineError)) throw thrown
    const why = thrown.details[subject] ?? 'cannot be read'
    problems.push({ subject, problem: place === '' ? why : `${place}: ${why}` })
  }
}

/** Those of the right form, with their places in the file. */
function entriesOf(path: string, problems: ConfigProblem[]): readonly (readonly [index: number, entry: Entry])[] {
  const refuse = (problem: string): [] => {
    problems.push({ subject: 'providersFile', problem: `its file ${problem}` })
    return []
  }
  let content: unknown
  try {
    if (statSync(path).size > fileBytesMax) return refuse(`must be at most ${fileBytesMax} bytes`)
    content = JSON.parse(readFileSync(path, 'utf8'))
  } catch (thrown) {
    // The parser's own text quotes the file.
    return refuse(
      thrown instanceof SyntaxError ? 'is not JSON' : 'cannot be read: correct the path, or its permissions',
    )
  }
  if (!Value.Check(fileSchema, content)) {
    const [first] = Value.Errors(fileSchema, content)
    return refuse(`has another form at ${placeOf(first?.instancePath ?? '')}`)
  }
  return content.providers.flatMap((entry, index) => {
    if (Value.Check(entrySchema, entry)) return [[index, entry] as const]
    // One list per entry: the validator tells the first few of what it looks at.
    const places = new Set(Value.Errors(entrySchema, entry).map(({ instancePath }) => placeOf(instancePath)))
    for (const place of places) refuse(`has another form at ${placeOf(`/providers/${index}${place}`)}`)
    return []
  })
}

const ours = new Set(['version', 'providers', ...Object.keys(entrySchema.properties)])

/** Without names that are not ours: one may be something else in the wrong place. */
function placeOf(path: string): string {
  const names = path.split('/').filter((name) => ours.has(name) || /^[0-9]{1,4}$/.test(name))
  return `/${names.join('/')}`
}

function providerOf(entry: Entry, loopbackHttp: boolean): Provider {
  const { name, issuer, audience = audienceDefault, jwksUrl, caFile, tenantClaim, rolesClaim } = entry
  return {
    name,
    profile: {
      issuer,
      audience,
      algorithms: entry.algorithms ?? tokenAlgorithms,
      types: entry.types ?? ['at+jwt'],
      subjectPrefix: `${name}:`,
      clientIdClaim: entry.clientIdClaim ?? 'client_id',
      tenantClaim,
      tenantMayLack: false,
      rolesClaim,
    },
    jwksUrl,
    caFile,
    loopbackHttp,
  }
}

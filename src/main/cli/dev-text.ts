// Owns: what `dev` prints when it is ready: addresses, how to log in, a first publish; ready to paste into a shell.
// 1. The secret itself is not printed: it would stay in the terminal's history. The commands take it from dev.json.

import { shellWord } from './shell-word.ts'

export interface ReadyFacts {
  readonly version: string
  readonly httpUrl: string
  readonly thriftUrl: string
  readonly adminUrl: string
  readonly clientId: string
  readonly dataDir: string
  /** Absolute. */
  readonly devFile: string
  /** How this program is called from here. */
  readonly command: string
}

export function describeReady(facts: ReadyFacts): string {
  const { version, httpUrl, thriftUrl, adminUrl, clientId, dataDir, devFile, command } = facts
  const isTls = httpUrl.startsWith('https:')
  const curl = isTls ? 'curl -s --cacert "$TRUNKLINE_CA_FILE"' : 'curl -s'
  return `Trunkline is ready (version ${version}, data in ${dataDir})

  HTTP    ${httpUrl}    JSON API, /openapi.json, Thrift at /thrift
  Thrift  ${thriftUrl}  framed, binary
  Admin   ${adminUrl}    /healthz /readyz /metrics

From another terminal in this folder${isTls ? ', where TRUNKLINE_CA_FILE names the authorities of its certificate' : ''}:

  echo '{"hello":"world"}' | ${command} publish demo
  ${command} read demo --from earliest --follow

With curl, as the client "${clientId}" whose secret is in dev.json:

  TOKEN=$(${curl} ${httpUrl}/oauth/token -d grant_type=client_credentials \\
    -u "$(node -p 'const f=JSON.parse(fs.readFileSync(process.argv[1]));f.clientId+":"+f.clientSecret' ${shellWord(devFile)})" |
    node -p 'JSON.parse(fs.readFileSync(0)).access_token')
  ${curl} ${httpUrl}/v1/topics/demo/events -H "Authorization: Bearer $TOKEN" \\
    -H 'Content-Type: application/json' -d '{"key":"a","payload":{"json":{"hello":"curl"}}}'

Ctrl-C stops it; what was acked is kept.
`
}

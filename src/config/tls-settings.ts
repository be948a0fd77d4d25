// Owns: the settings of TLS on the listeners, and the rules between them.
// 1. A listener that others than this machine can reach speaks TLS, unless that is given up by name.
// 2. What is set has an effect: a client authority that nobody is asked for is a mistake, not a comment.
// Leaves out: reading the files and reading them again (main/listener-tls.ts), TLS to brokers (broker-settings.ts).
import { type Static, type TObject, Type } from 'typebox'
import { isLoopback } from './loopback.ts'
import { file, type Rule, rulesOf, secretFile, whole } from './setting.ts'

/** Of every process: each has an admin listener. */
export const tlsSettings = {
  tlsCertFile: Type.Optional(
    file('PEM of the certificate that all listeners show, with its intermediates. With it they speak TLS only.'),
  ),
  tlsKeyFile: Type.Optional(secretFile('PEM of the key of `tlsCertFile`, without a passphrase.')),
  tlsMinVersion: Type.Union([Type.Literal('1.3'), Type.Literal('1.2')], {
    default: '1.3',
    description: 'Oldest version of TLS that the listeners speak.',
  }),
  tlsClientCaFile: Type.Optional(file('PEM of the authorities that the certificates of clients may come from.')),
  tlsClientAuth: Type.Union([Type.Literal('require'), Type.Literal('request'), Type.Literal('none')], {
    default: 'none',
    description:
      'Whether clients have to show a certificate (mutual TLS). `request` serves those without one, and refuses one that is not good.',
  }),
  adminTlsClientAuth: Type.Union(
    [Type.Literal('same'), Type.Literal('require'), Type.Literal('request'), Type.Literal('none')],
    {
      default: 'same',
      description:
        'The same for the admin listener, whose probes often have no certificate. `same` is what `tlsClientAuth` is.',
    },
  ),
  tlsReloadMs: whole(
    1_000,
    3_600_000,
    10_000,
    'How often the files of TLS are looked at; what was replaced is taken over. SIGHUP of `api` and `stream` looks at once.',
  ),
  allowPlainListeners: Type.Boolean({
    default: false,
    description: 'Whether listeners that others than this machine reach may do without TLS, secrets and all.',
  }),
}

export type TlsConfig = Readonly<Static<TObject<typeof tlsSettings>>>
type TlsRuleConfig = TlsConfig & { readonly host: string }

const asksClients: ReadonlySet<string> = new Set(['request', 'require'])
const tlsRule = rulesOf<TlsRuleConfig>()
export const tlsRules: readonly Rule<TlsRuleConfig>[] = [
  tlsRule(
    ['tlsCertFile', 'tlsKeyFile'],
    ({ tlsCertFile: cert, tlsKeyFile: key }) => (cert === undefined) === (key === undefined),
    'a certificate needs its key, and a key its certificate: set both or none',
  ),
  tlsRule(
    ['tlsClientAuth', 'adminTlsClientAuth', 'tlsClientCaFile'],
    ({ tlsClientAuth, adminTlsClientAuth, tlsClientCaFile }) =>
      (tlsClientAuth !== 'none' || asksClients.has(adminTlsClientAuth)) === (tlsClientCaFile !== undefined),
    'who asks clients for a certificate needs its authorities, and authorities are of use with request or require only',
  ),
  tlsRule(
    ['tlsClientCaFile', 'tlsCertFile'],
    ({ tlsClientCaFile, tlsCertFile }) => tlsClientCaFile === undefined || tlsCertFile !== undefined,
    'clients are asked for a certificate over TLS only: set tlsCertFile and tlsKeyFile',
  ),
  tlsRule(
    ['host', 'tlsCertFile', 'allowPlainListeners'],
    ({ host, tlsCertFile, allowPlainListeners }) =>
      tlsCertFile !== undefined || allowPlainListeners || isLoopback(host),
    'secrets and events would go over the network in the clear: set tlsCertFile and tlsKeyFile, or allowPlainListeners behind a proxy that ends TLS on this machine or network',
  ),
]

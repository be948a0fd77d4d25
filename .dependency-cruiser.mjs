// Owns: which folder may import which (docs/architecture.md, "Imports point one way"). Run by
// scripts/check-imports.ts, which also fails when files were not looked at.

/** What each folder may import besides itself; everything else in the repository is forbidden. */
const mayImport = {
  protocol: [],
  ports: ['protocol'],
  fsm: ['ports', 'protocol'],
  crypto: ['ports', 'protocol'],
  // The keyring wraps keys with crypto's own primitives.
  adapters: ['ports', 'protocol', 'crypto'],
  config: ['protocol'],
  observability: ['protocol'],
  'api-tier': ['ports', 'protocol', 'crypto', 'config', 'observability'],
  'stream-tier': ['fsm', 'ports', 'protocol', 'crypto', 'config', 'observability'],
  main: ['adapters', 'api-tier', 'config', 'crypto', 'fsm', 'observability', 'ports', 'protocol', 'stream-tier'],
}

const folderRules = Object.entries(mayImport).map(([folder, others]) => ({
  name: `${folder}-imports`,
  comment: `src/${folder} imports ${others.length === 0 ? 'nothing else of this repository' : others.map((other) => `src/${other}`).join(', ')}`,
  severity: 'error',
  from: { path: `^src/${folder}/` },
  to: {
    path: '^(src|sdk|test|bench|scripts|bin)/',
    // The command line is a user of the SDK.
    pathNot: [folder, ...others]
      .map((name) => `^src/${name}/`)
      .concat(folder === 'main' ? ['^sdk/typescript/src/'] : []),
  },
}))

export default {
  forbidden: [
    ...folderRules,
    {
      name: 'only-the-command-line-uses-the-sdk',
      severity: 'error',
      from: { path: '^src/main/', pathNot: '^src/main/cli([./-]|$)' },
      to: { path: '^sdk/' },
    },
    {
      name: 'adapters-stand-alone',
      comment: 'one folder per outside system; an adapter never imports another one, but what every log shares',
      severity: 'error',
      from: { path: '^src/adapters/([^/]+)/' },
      to: { path: '^src/adapters/', pathNot: ['^src/adapters/$1/', '^src/adapters/log-core/'] },
    },
    {
      name: 'sdk-imports',
      comment: 'the SDK is its own sources, src/protocol and the client machine',
      severity: 'error',
      from: { path: '^sdk/typescript/src/' },
      to: {
        path: '^(src|sdk|test|bench|scripts|bin)/',
        pathNot: ['^sdk/typescript/src/', '^src/protocol/', '^src/fsm/client/'],
      },
    },
    {
      name: 'client-machine-stands-alone',
      comment: 'what the SDK ships brings nothing of the server with it',
      severity: 'error',
      from: { path: '^src/fsm/client/' },
      to: { path: '^src/fsm/server/' },
    },
    {
      name: 'pure-folders-use-no-package',
      comment: 'src/protocol and src/ports need nothing but Node',
      severity: 'error',
      from: { path: '^src/(protocol|ports)/' },
      to: { dependencyTypes: ['npm', 'npm-dev', 'npm-optional', 'npm-peer', 'npm-no-pkg', 'npm-unknown'] },
    },
    {
      name: 'machines-use-only-xstate',
      severity: 'error',
      from: { path: '^(src/fsm|sdk/typescript/src)/' },
      to: {
        dependencyTypes: ['npm', 'npm-dev', 'npm-optional', 'npm-peer', 'npm-no-pkg', 'npm-unknown'],
        pathNot: '(^|/)node_modules/xstate/',
      },
    },
    {
      name: 'product-uses-no-dev-package',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'] },
    },
    { name: 'no-cycles', severity: 'error', from: { path: '^(src|sdk)/' }, to: { circular: true } },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    // Type imports count: they tie folders together like any other import.
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'types', 'default'],
      extensions: ['.ts', '.js', '.mjs', '.json'],
    },
  },
}

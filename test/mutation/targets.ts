import { existsSync, globSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const root = resolve(import.meta.dirname, '../..')

export type Target = {
  file: string
  /** In the order in which they are tried. */
  tests: string[]
}

/**
 * Which sources are broken, and which tests should notice. Both may be patterns; tests are below test/,
 * the quickest first. The test named like its source goes before all of them, where there is one; a test
 * that does not load the source is left out of the run.
 */
const TABLE: { of: string; tests: string[] }[] = [
  {
    of: 'src/policy/ceiling.ts',
    tests: ['policy/*', 'entitlements/entitlements', 'consent/consent'],
  },
  { of: 'src/policy/*.ts', tests: ['policy/*', 'token/*details*', 'token/refusals'] },
  { of: 'src/token/id-jag.ts', tests: ['token/claims', 'token/exchange'] },
  { of: 'src/token/subject.ts', tests: ['token/confusion', 'token/exchange', 'token/refusals'] },
  { of: 'src/token/upstream*.ts', tests: ['token/upstream*'] },
  { of: 'src/token/provision.ts', tests: ['token/upstream'] },
  {
    of: 'src/token/{delegate-token,delegate-refusals,grants}.ts',
    tests: ['token/delegate-tokens', 'token/delegate-keys', 'token/delegate-door', 'token/grants'],
  },
  {
    of: 'src/token/client.ts',
    tests: ['token/refusals', 'token/refresh', 'agents/client-metadata'],
  },
  { of: 'src/token/{recognise-caller,share-client}.ts', tests: ['agents/client-metadata'] },
  { of: 'src/token/request.ts', tests: ['token/exchange', 'token/refusals'] },
  {
    of: 'src/agents/authenticate.ts',
    tests: [
      ...['agents/authenticate', 'agents/client-keys', 'token/client-assertion'],
      'agents/client-metadata',
    ],
  },
  {
    of: 'src/agents/{client-documents,recognise,follow-document,admit}.ts',
    tests: ['agents/client-documents', 'agents/client-metadata', 'rules/client-metadata'],
  },
  { of: 'src/{oauth/client-metadata,http/freshness,http/document-limit}.ts', tests: [] },
  { of: 'src/agents/client-credentials.ts', tests: ['agents/authenticate', 'token/refusals'] },
  { of: 'src/oauth/{jws,ecdsa-signature}.ts', tests: ['oauth/jws*', 'token/confusion'] },
  {
    of: 'src/oauth/uri.ts',
    tests: ['policy/*', 'http/special-use', 'audiences/*', 'agents/agents', 'token/exchange'],
  },
  { of: 'src/oauth/scope.ts', tests: ['policy/*', 'audiences/*', 'token/refusals'] },
  { of: 'src/oauth/pkce.ts', tests: ['token/redeem-code', 'authorize/authorize'] },
  { of: 'src/oauth/dpop*.ts', tests: ['oauth/dpop*', 'token/*dpop*'] },
  {
    of: 'src/oauth/authorization-details.ts',
    tests: ['oauth/*details*', 'policy/*', 'token/*details*'],
  },
  { of: 'src/relying-app/*.ts', tests: ['relying-app/*', 'demo/relying-app'] },
]

/** The first row that a file fits counts. */
export function findTargets(): Target[] {
  const targets = new Map<string, Target>()
  for (const { of, tests } of TABLE) {
    for (const file of globSync(of, { cwd: root }).sort()) {
      if (!targets.has(file)) targets.set(file, { file, tests: [...new Set(testsOf(file, tests))] })
    }
  }
  return [...targets.values()]
}

function testsOf(file: string, patterns: string[]): string[] {
  const namesake = file.replace(/^src\//, 'test/').replace(/\.ts$/, '.test.ts')
  const named = patterns.flatMap((one) => globSync(`test/${one}.test.ts`, { cwd: root }).sort())
  return existsSync(join(root, namesake)) ? [namesake, ...named] : named
}

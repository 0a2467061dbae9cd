// The import rules of the plan in README.md, read off the text of the sources.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, resolve, sep } from 'node:path'
import { test } from 'node:test'

const root = resolve(import.meta.dirname, '..')

const GROUND = ['oauth', 'http', 'db']
const RECORDS = [
  'users',
  'tenants',
  'agents',
  'audiences',
  'entitlements',
  'delegations',
  'sessions',
  'keys',
  'events',
  'streams',
  'audit',
  'admins',
  'rules',
]
const BELOW_FLOWS = [...RECORDS, 'policy', ...GROUND, 'revoke']

/** Which rooms a room may import besides itself; a path names one file. Types count like everything else. */
const FLOORS: Record<string, string[]> = {
  oauth: [],
  db: [],
  http: ['oauth', 'db'],

  policy: ['oauth', 'db/tables.ts', 'audit/reason.ts'],

  audit: GROUND,
  events: [...GROUND, 'audit'],
  streams: [...GROUND, 'audit', 'events'],
  ...fill(
    RECORDS.filter((room) => !['audit', 'events', 'streams'].includes(room)),
    [...GROUND, 'audit', 'events', 'streams'],
  ),

  // Rules name users, agents and audiences, which know nothing of them. One kind lets agents in.
  rules: [
    ...[...GROUND, 'audit', 'events'],
    ...['users/queries.ts', 'agents/queries.ts', 'audiences/queries.ts'],
    ...['agents/admit.ts', 'agents/client-documents.ts', 'agents/gate.ts'],
  ],

  revoke: [...RECORDS, 'policy', ...GROUND],
  ...fill(['sign-in', 'authorize', 'consent', 'token', 'discovery', 'account'], BELOW_FLOWS),

  // The other side of the exchange. It stands beside the house, and may be taken away with the ground.
  'relying-app': ['oauth'],
}
/** Beside the house: programs that start it or look at it. */
const OUTSIDE = ['commands', 'demo']

type Rule = {
  rule: string
  /** The files it is about. */
  of: RegExp
  except?: RegExp
  /** What they may not import: a path below src/, or the name of a package. */
  imports?: RegExp
  /** What they may have the types of and nothing else. */
  uses?: RegExp
  /** What may not be in their text. */
  says?: RegExp
}

const HTTP_PACKAGES = /^(fastify|@fastify\/.*)$/
const ROUTES = /(^|[/-])routes\.ts$/
const QUERIES = /(^|[/-])queries\.ts$/
const PAGES = /(^|[/-])pages?\.ts$/
const NOUNS =
  /^((oauth|policy)\/.*|token\/id-jag|delegations\/(delegation|excess)|keys\/(schedule|pkcs11-(uri|algorithm|public-key))|users\/user|agents\/agent|audiences\/(audience|described|discovered|discovery|found|kept-documents)|rules\/rule|consent\/(question|choice|standing|end-date|text)|audit\/(chain|merkle|reason)|sessions\/family|events\/(revocation-set|answer|back-off|fair-share)|streams\/(stream|set|subject|endpoints|receiver)|http\/(html|details-list|instant|csrf|problem)|relying-app\/(assertion|unambiguous|times|rights|refusal|provider-document|event|revocation))\.ts$/

const RULES: Rule[] = [
  {
    rule: 'app.ts alone imports the routes of a room',
    of: /./,
    except: /^app\.ts$|(^|[/-])routes\.ts$/,
    imports: ROUTES,
  },
  {
    rule: 'a room knows of the outermost files deps.ts and config.ts alone',
    of: /\//,
    except: /^(commands|demo)\//,
    imports: /^(?!(deps|config)\.ts$)[\w-]+\.ts$/,
  },
  {
    rule: 'the ground does not know the product',
    of: /^(oauth|http|db)\//,
    imports: /^[\w-]+\.ts$/,
  },
  { rule: 'nobody imports main.ts', of: /./, imports: /^main\.ts$/ },
  {
    rule: 'what stands beside the house is not needed in it',
    of: /./,
    except: /^(commands|demo)\//,
    imports: /^(commands|demo)\//,
  },
  {
    rule: 'the house does not know what relying apps do, the demo does',
    of: /./,
    except: /^(relying-app|demo)\//,
    imports: /^relying-app\//,
  },
  {
    rule: 'a relying app needs jose, and nothing of the server',
    of: /^relying-app\//,
    imports: /^(?!jose$|node:|(relying-app|oauth)\/)/,
  },
  {
    rule: 'the private key stays in keys/: others see the key ring and, at start, open it',
    of: /./,
    except: /^(keys|commands)\/|^(app|start|deps)\.ts$/,
    imports: /^keys\/(?!key-ring\.ts$|(compromise|replace-all)\.ts$)/,
  },
  {
    rule: 'revoke/ ends what rests on a key, and so drops it',
    of: /./,
    except: /^(keys|revoke)\//,
    imports: /^keys\/(compromise|replace-all)\.ts$/,
  },
  {
    rule: 'keys/ alone asks where private keys are',
    of: /./,
    except: /^(keys|commands)\/|^(start|deps|config)\.ts$/,
    says: /\bcustody\b/,
  },
  { rule: 'deps.ts is a type, and needs types alone', of: /^deps\.ts$/, uses: /./ },
  {
    rule: 'routes hold no SQL',
    of: ROUTES,
    says: /\b(selectFrom|insertInto|updateTable|deleteFrom)\b|\bsql`/,
  },
  { rule: 'routes build no queries', of: ROUTES, imports: /^(kysely|pg)$/ },
  { rule: 'queries know nothing of HTTP', of: QUERIES, imports: HTTP_PACKAGES },
  { rule: 'pages ask no database', of: PAGES, imports: /^(kysely|pg)$/ },
  {
    rule: 'schemas are shapes alone',
    of: /(^|[/-])schema\.ts$/,
    imports: /^(kysely|pg|fastify|node:.*)$|(^|[/-])(queries|routes|pages)\.ts$/,
  },
  {
    rule: 'nouns do no I/O',
    of: NOUNS,
    uses: /^(kysely|pg|fastify|node:(?!(crypto|buffer)$).*)$|(^|[/-])(queries|routes)\.ts$/,
  },
  {
    rule: 'nouns have no clock and no chance',
    of: NOUNS,
    except: /^oauth\/secret\.ts$/,
    says: /\bnew Date\(\)|\bDate\.now\(|\bMath\.random\(|\brandom(Bytes|UUID)\(|\bperformance\./,
  },
  {
    rule: 'the policy is pure: it imports no package',
    of: /^policy\//,
    imports: /^(?!.*\.ts$)/,
  },
  {
    rule: 'the time comes from deps.now',
    of: /./,
    except: /^start\.ts$|^(db|demo|commands)\//,
    says: /\bnew Date\(\)|\bDate\.now\(/,
  },
  {
    rule: 'the environment is read where the server starts',
    of: /./,
    except:
      /^run\.ts$|^(demo|commands)\/|^db\/postgres-account\.ts$|^keys\/pkcs11-environment\.ts$/,
    says: /\bprocess\.env\b/,
  },
  {
    rule: 'db/postgres-account.ts reads PATH alone, for a child process',
    of: /^db\/postgres-account\.ts$/,
    says: /\bprocess\.env\b(?!\.PATH\b)/,
  },
  {
    rule: 'http/send-request.ts is the one way out',
    of: /./,
    except: /^http\/send-request\.ts$|^demo\//,
    uses: /^((node:)?(http|https|http2|tls|dgram|inspector)|undici|got|axios|ws)$/,
  },
  {
    rule: 'http/look-up.ts alone asks name servers',
    of: /./,
    except: /^http\/look-up\.ts$/,
    uses: /^(node:)?dns(\/promises)?$/,
  },
  {
    rule: 'of node:net nobody uses more than what knows addresses, and types',
    of: /./,
    except: /^demo\//,
    says: /^(?!import (type )?\{ ((isIP|isIPv6|BlockList|type \w+)(, )?)+ \} from|import type ).*['"](node:)?net['"]/,
  },
  {
    rule: 'other programs and threads are for the embedded database and for tokens that keep keys',
    of: /./,
    except: /^(demo|commands)\/|^db\/postgres-account\.ts$|^db\/postmaster\.ts$|^keys\/pkcs11-/,
    uses: /^(node:)?(child_process|cluster|worker_threads)$/,
  },
  {
    rule: 'nobody opens a socket by another name',
    of: /./,
    except: /^demo\//,
    says: /\b(WebSocket|EventSource|XMLHttpRequest|createRemoteJWKSet|getBuiltinModule)\b/,
  },
  {
    rule: 'nobody calls the global fetch',
    of: /./,
    except: /^(demo|commands)\/|^relying-app\/fetch-document\.ts$/,
    says: /(?<![\w.])fetch\((?!\w+\??: )|\bglobalThis\.fetch\b/,
  },
  { rule: 'a room has no index', of: /(^|\/)index\.[jt]s$/, says: /^/ },
  {
    rule: 'no file is named for doing anything',
    of: /(^|[/-])(helpers?|utils?|service|manager)\.ts$/,
    says: /^/,
  },
  {
    rule: 'what is imported can be read in the source',
    of: /./,
    // An operator's own custody is a file that nobody here has seen.
    except: /^(db\/migrate|keys\/open-custody|demo\/.*)\.ts$/,
    says: /\bimport\((?!\s*')/,
  },
]

/** `target`: of a file below the same folder its path in it, of anything else the name that was written. */
type Import = { target: string; typesOnly: boolean }
type Source = { path: string; text: string; imports: Import[] }

const sources = readSources('src')

test('every folder of src/ has its floor', () => {
  const known = [...Object.keys(FLOORS), ...OUTSIDE]
  const strange = new Set(sources.map(({ path }) => roomOf(path)).filter((room) => room !== ''))
  assert.deepEqual(
    [...strange].filter((room) => !known.includes(room)),
    [],
  )
})

test('rooms import what lies below them, and never one another', () => {
  const violations = sources.flatMap(({ path, imports }) => {
    const allowed = FLOORS[roomOf(path)]
    if (allowed === undefined) return []
    return imports
      .map(({ target }) => target)
      .filter((target) => target.endsWith('.ts') && !['', roomOf(path)].includes(roomOf(target)))
      .filter((target) => !allowed.includes(roomOf(target)) && !allowed.includes(target))
      .map(
        (target) => `src/${path} imports ${target}: ${roomOf(path)}/ may import ${words(allowed)}`,
      )
  })
  assertNone(violations)
})

test('no two folders need each other', () => {
  const edges = new Map<string, Set<string>>()
  for (const { path, imports } of sources)
    for (const { target } of imports.filter((one) => one.target.endsWith('.ts')))
      if (roomOf(path) && roomOf(target) && roomOf(path) !== roomOf(target))
        edges.set(roomOf(path), (edges.get(roomOf(path)) ?? new Set()).add(roomOf(target)))
  const reaches = (from: string, to: string, seen = new Set<string>()): boolean =>
    [...(edges.get(from) ?? [])].some((next) => {
      if (next === to) return true
      if (seen.has(next)) return false
      seen.add(next)
      return reaches(next, to, seen)
    })
  assertNone(
    [...edges.keys()].filter((room) => reaches(room, room)).map((room) => `${room}/ is in a cycle`),
  )
})

test('routes import other routes of their own room alone', () => {
  assertNone(sources.flatMap(routesOfOthers))
  const imports = ['a/b-routes.ts', 'a/routes.ts', 'b/b-routes.ts', 'b/routes.ts', 'b/walk.ts'].map(
    (target) => ({ target, typesOnly: true }),
  )
  assert.deepEqual(
    ['a/c-routes.ts', 'a/walk.ts', 'app.ts'].map(
      (path) => routesOfOthers({ path, text: '', imports }).length,
    ),
    [2, 0, 0],
  )
})

for (const { rule, of, except, imports, uses, says } of RULES) {
  test(rule, () => {
    const violations = sources
      .filter(({ path }) => of.test(path) && !except?.test(path))
      .flatMap((source) => [
        ...source.imports
          .filter(({ target, typesOnly }) =>
            (typesOnly ? imports : (imports ?? uses))?.test(target),
          )
          .map(({ target }) => `src/${source.path} imports ${target}: ${rule}`),
        ...(says ? linesThat(says, source) : []).map((line) => `src/${line}: ${rule}`),
      ])
    assertNone(violations)
  })
}

test('migrations stand still: they import nothing of src/', () => {
  const violations = readSources('migrations').flatMap(({ path, imports }) =>
    imports
      .filter(({ target }) => target !== 'kysely')
      .map(
        ({ target }) => `migrations/${path} imports ${target}: a migration imports kysely alone`,
      ),
  )
  assertNone(violations)
})

test('the scanner sees every kind of import', () => {
  const text = `
import a, { type B } from './a.ts'
import type { C } from '../c/c.ts'
import {
  type d,
  type e,
} from 'd'
import 'f'
export { g } from './g.ts'
export * from "./h.ts"
const i = await import('./i.ts')
// import k from './k.ts'
/* import l from './l.ts' */`
  const found = importsOf(text, 'room/x.ts')
  assert.deepEqual(
    found.filter(({ typesOnly }) => !typesOnly).map(({ target }) => target),
    ['room/a.ts', 'f', 'room/g.ts', 'room/h.ts', 'room/i.ts'],
  )
  assert.deepEqual(
    found.filter(({ typesOnly }) => typesOnly).map(({ target }) => target),
    ['c/c.ts', 'd'],
  )
})

/** Who may import routes at all is a rule of its own. */
function routesOfOthers({ path, imports }: Source): string[] {
  if (!ROUTES.test(path)) return []
  return imports
    .filter(({ target }) => ROUTES.test(target) && roomOf(target) !== roomOf(path))
    .map(({ target }) => `src/${path} imports ${target}: of another room`)
}

function assertNone(violations: string[]): void {
  assert.ok(violations.length === 0, `\n  ${violations.join('\n  ')}`)
}

function readSources(folder: string): Source[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.[jt]s$/.test(file))
    .map((file) => file.split(sep).join('/'))
    .sort()
    .map((path) => {
      const text = withoutComments(readFileSync(join(root, folder, path), 'utf8'))
      return { path, text, imports: importsOf(text, path) }
    })
}

function importsOf(text: string, path: string): Import[] {
  const statements = withoutComments(text).matchAll(
    /^(?:import|export)\b([^'";]*?)\bfrom\s*['"]([^'"]+)['"]|^import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm,
  )
  return [...statements].map(([, names, from, bare, dynamic]) => {
    const name = from ?? bare ?? dynamic ?? ''
    const target = name.startsWith('.') ? posix.join(posix.dirname(path), name) : name
    return { target, typesOnly: names !== undefined && namesTypes(names.trim()) }
  })
}

/** `type { A }` or `{ type A, type B }`. */
function namesTypes(names: string): boolean {
  return /^type\b/.test(names) || /^\{(\s*type\s[^,}]+,?)+\s*\}$/.test(names)
}

/** Blank, so that lines keep their numbers. `//` after a colon belongs to a URL. */
function withoutComments(text: string): string {
  return text
    .replace(/^\s*\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, (comment) => comment.replace(/[^\n]/g, ''))
    .replace(/(?<=[\s;,{(])\/\/ .*$/gm, '')
}

function linesThat(says: RegExp, { path, text }: Source): string[] {
  return text
    .split('\n')
    .flatMap((line, index) => (says.test(line) ? [`${path}:${index + 1} says ${line.trim()}`] : []))
}

/** The folder; none for the outermost files. */
function roomOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : ''
}

function fill(rooms: string[], allowed: string[]): Record<string, string[]> {
  return Object.fromEntries(rooms.map((room) => [room, allowed]))
}

const words = (allowed: string[]) => (allowed.length === 0 ? 'nothing' : allowed.join(', '))

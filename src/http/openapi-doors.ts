/** What the reference says about the doors, and the routes cannot: whom each path is for, and how they prove it. */

export type SecurityRequirement = Record<string, string[]>

export const PATH_OF_ADMINS = '/admin/v1/'

export const ABOUT = [
  'An identity provider for platforms on which AI agents act for people. A user signs in and delegates; an agent exchanges its ID token for an ID-JAG, a signed grant for one relying app; the app verifies it with the published keys.',
  'Three doors. Clients speak OAuth: forms in, JSON out, errors as in RFC 6749. People see pages, which work without scripts. Administrators use `/admin/v1` with a bearer key: JSON in snake_case, times in UTC as in RFC 3339, unknown members refused, errors as problem details (RFC 9457). Discovery and keys stand open.',
  'Lists of the admin API answer `data` and `next_cursor`; send the cursor back for the next page. `PATCH` takes a JSON merge patch: what is absent stays. `DELETE` answers 204, also for what has ended before.',
].join('\n\n')

/** In the order in which a newcomer meets them. */
const TAGS: Record<string, string> = {
  clients: 'What agents call, as OAuth clients',
  discovery: 'What anyone may read to talk to this server or to verify what it signed',
  pages: 'What people see in a browser',
  tenants: 'Who shares a deployment without sharing records',
  users: 'The people whom agents act for',
  agents: 'OAuth clients: enrolment, life and credentials',
  audiences: 'Relying apps: issuer, resources and scopes',
  entitlements: 'What an agent may be allowed at an audience at the most',
  delegations: 'What a user allowed an agent at an audience',
  rules: 'What administrators forbid, or permit beyond entitlements',
  revocations: 'Ending at once all that rests on something',
  'shared signals': 'What receivers are told of sessions and credentials (SSF 1.0, CAEP 1.0)',
  keys: 'The keys that sign',
  audit: 'What was issued and what was done, append-only',
  'admin keys': 'The keys of this API',
  operations: 'For those who run the server',
  reference: 'This reference',
}

export function tagsInOrder(used: string[]): { name: string; description?: string }[] {
  const known = Object.entries(TAGS).filter(([name]) => used.includes(name))
  const others = [...new Set(used)].filter((name) => !Object.hasOwn(TAGS, name)).sort()
  return [
    ...known.map(([name, description]) => ({ name, description })),
    ...others.map((name) => ({ name })),
  ]
}

/** For a route that names no tag. */
export function tagOf(path: string): string {
  if (path.startsWith(PATH_OF_ADMINS)) {
    return path.slice(PATH_OF_ADMINS.length).split('/', 1)[0]?.replaceAll('-', ' ') ?? ''
  }
  if (path.endsWith('.json') || path.startsWith('/.well-known/')) return 'discovery'
  return BY_CLIENTS.test(path) || WITH_TOKEN.test(path) ? 'clients' : 'pages'
}

const BY_CLIENTS = /^\/oauth2\/(token|par|device_authorization|introspect|revoke)$/
const WITH_TOKEN = /^\/(oauth2\/userinfo|id-jag|grants(\/.*)?)$/
const BY_RECEIVERS = /^\/ssf\//
const IN_SESSION = /^\/(account|consent|device)(\/|$)/

export function securityOf(path: string, scope: string | undefined): SecurityRequirement[] {
  if (scope !== undefined) return [{ adminKey: [scope] }]
  // An empty requirement: the client authenticates within the form, or has no secret.
  if (BY_CLIENTS.test(path)) return [{ clientBasic: [] }, {}]
  if (WITH_TOKEN.test(path)) return [{ accessToken: [] }]
  if (BY_RECEIVERS.test(path)) return [{ receiverToken: [] }]
  return IN_SESSION.test(path) ? [{ session: [] }] : []
}

export const SECURITY_SCHEMES = {
  adminKey: {
    type: 'http',
    scheme: 'bearer',
    description:
      'An admin key. Each call names the scope that the key must have: `<resource>:read` or `<resource>:write`; `*` stands for all.',
  },
  clientBasic: {
    type: 'http',
    scheme: 'basic',
    description:
      'client_secret_basic (RFC 6749 §2.3.1). Instead, in the form: client_secret_post with `client_id` and `client_secret`; private_key_jwt (RFC 7523 §2.2) with `client_assertion_type` and a single-use `client_assertion` signed by the agent, whose `aud` is the issuer; or `client_id` alone for a public client.',
  },
  accessToken: {
    type: 'http',
    scheme: 'bearer',
    description:
      'An access token that the token endpoint issued with the scope `openid`; `/id-jag` and `/grants` want `delegate` beside it. One that is bound to a key is sent with the scheme `DPoP` and a proof.',
  },
  receiverToken: {
    type: 'http',
    scheme: 'bearer',
    description:
      'An access token that a receiver of Shared Signals got by `client_credentials`: with `ssf.read` it reads and polls, with `ssf.manage` it does everything.',
  },
  session: {
    type: 'apiKey',
    in: 'cookie',
    name: '__Host-session',
    description:
      'The cookie of a signed-in user; `session` where the issuer is a loopback address over http. Without it the browser is sent to the sign-in page.',
  },
}

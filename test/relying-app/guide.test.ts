// The code that docs/relying-apps.md shows, as it stands there: each piece in a file of its own, in a program that
// has installed `jose` and this package, beside an issuer that answers to fetch.
import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { before, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import Fastify from 'fastify'

const ROOT = resolve(import.meta.dirname, '../..')
const ISSUER = 'https://id.example.com'
const SELF = 'https://auth.example.org'
const CLIENT = 'planner-at-calendar'
const SET = 'application/secevent+jwt'
const REVOKED = 'https://schemas.workos.com/events/agent/auth/identity/assertion/revoked'

type Basis = { iss: string; sub: string; iat: number }
type Grant = { basis: Basis; accessToken: string }
type Answer = { status: number; headers?: Record<string, string>; body?: Record<string, string> }
type Program = {
  verify(assertion: string, clientId: string): Promise<Record<string, unknown>>
  redeem(form: URLSearchParams, clientId: string): Promise<Answer>
  takeEvent(contentType: string, body: string): Promise<Answer>
  eventRoutes(app: object): Promise<void>
}

const ours = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const JWKS = { keys: [{ ...ours.publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'ES256' }] }
const pages: Record<string, unknown> = {
  [`${ISSUER}/.well-known/oauth-authorization-server`]: {
    issuer: ISSUER,
    jwks_uri: `${ISSUER}/.well-known/jwks.json`,
  },
  [`${ISSUER}/.well-known/jwks.json`]: JWKS,
}

/** What the pieces leave to the app. */
const kept = { grants: [] as Grant[], dropped: [] as unknown[], jtis: new Set<string>() }
const theApp = {
  seenFirst: async (jti: string) => !kept.jtis.has(jti) && kept.jtis.add(jti),
  accessTokenFor: (...of: unknown[]) => ({ of }),
  seen: {
    has: async (jti: string) => kept.jtis.has(jti),
    add: async (jti: string) => kept.jtis.add(jti),
  },
  dropAll: async (...of: unknown[]) => kept.dropped.push(of),
  grants: {
    of: async (iss: string, sub: string) =>
      kept.grants.filter(({ basis }) => basis.iss === iss && basis.sub === sub),
    add: async ({ basis }: { basis: Basis }) => {
      const grant = { basis, accessToken: randomUUID() }
      kept.grants.push(grant)
      return grant
    },
    end: async (grant: Grant) => {
      kept.grants.splice(kept.grants.indexOf(grant), 1)
    },
  },
}

let guide: { plain: Program; withOurs: Program; told: Program; authMd: (of: object) => unknown }

before(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'agent-idp-guide-'))
  await mkdir(join(folder, 'node_modules'))
  await symlink(ROOT, join(folder, 'node_modules/agent-idp'))
  await symlink(join(ROOT, 'node_modules/jose'), join(folder, 'node_modules/jose'))
  await writeFile(join(folder, 'package.json'), '{"type": "module"}')

  const text = await readFile(join(ROOT, 'docs/relying-apps.md'), 'utf8')
  const pieces = [...text.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(([, piece = '']) => piece)
  const names = ['verify.js', 'with-ours.js', 'auth-md.js', 'take-event.js', 'events.js', 'told.js']
  assert.equal(pieces.length, names.length)
  pieces[2] = `import { trustIssuer, verifyIdJag } from 'agent-idp/verify-id-jag'
    export async function run({ body, issuer, replay, delegations, users, ceremonies }) {
    ${pieces[2]}
    return verdict }`
  for (const [at, name] of names.entries()) await writeFile(join(folder, name), pieces[at] ?? '')

  Object.assign(globalThis, theApp)
  globalThis.fetch = async (input) => {
    const page = pages[String(input)]
    return page ? Response.json(page) : new Response('', { status: 404 })
  }
  const load = (name: string) => import(pathToFileURL(join(folder, name)).href)
  const [verify, withOurs, authMd, takeEvent, events, told] = await Promise.all(names.map(load))
  guide = {
    plain: { ...verify, ...takeEvent },
    withOurs,
    told: { ...events, ...told },
    authMd: authMd.run,
  }
  await rm(folder, { recursive: true })
})

test('an ID-JAG is verified with a JOSE library, once and by its own client', async () => {
  const { verify } = guide.plain
  const assertion = idJag()
  assert.equal((await verify(assertion, CLIENT)).sub, 'usr_1')
  await assert.rejects(verify(assertion, CLIENT), /presented before/)
  await assert.rejects(verify(idJag(), 'another'), /another client/)
  await assert.rejects(verify(idJag({ aud: `${SELF}.example` }), CLIENT), /aud/)
  await assert.rejects(verify(idJag({ cnf: { jkt: 'x' } }), CLIENT), /bound/)
  await assert.rejects(verify(event(), CLIENT), /typ/)
})

test('an ID-JAG is redeemed with ours', async () => {
  const { redeem } = guide.withOurs
  const form = new URLSearchParams({ assertion: idJag(), scope: 'events.read' })
  assert.deepEqual(await redeem(form, CLIENT), {
    status: 200,
    body: { of: [ISSUER, 'usr_1', ['events.read'], ['https://api.example.org/']] },
  })
  const { status, body } = await redeem(form, CLIENT)
  assert.deepEqual([status, body?.error], [400, 'invalid_grant'])
})

test('an auth.md service takes an identity assertion', async () => {
  const claims = { email: 'kim@example.com', email_verified: true, auth_time: now() }
  const verdict = await guide.authMd({
    body: {
      assertion: idJag(claims),
      assertion_type: 'urn:ietf:params:oauth:token-type:id-jag',
    },
    issuer: ISSUER,
    replay: { firstUse: async () => true },
    delegations: { accountOf: () => 'acc_1' },
    users: {},
    ceremonies: {},
  })
  assert.deepEqual(
    { ...(verdict as object), header: 0, claims: 0 },
    { ok: true, header: 0, claims: 0, contact: { email: 'kim@example.com' }, account: 'acc_1' },
  )
})

test('an event is taken with a JOSE library (TV-96, TV-97)', async () => {
  const { takeEvent } = guide.plain
  kept.dropped.length = 0
  const body = event()
  for (const one of [body, body]) assert.deepEqual(await takeEvent(SET, one), { status: 202 })
  assert.deepEqual(kept.dropped, [['usr_1', { until: now(body) + 5 }]], 'a duplicate is no work')
  assert.equal((await takeEvent(SET, event({ events: { 'https://x.example': {} } }))).status, 202)
  assert.equal(kept.dropped.length, 1)

  for (const [err, bad, contentType = SET] of [
    ['invalid_request', event(), 'application/jwt'],
    ['invalid_request', 'x.y.z'],
    ['invalid_request', idJag()],
    ['invalid_request', event({ events: {} })],
    ['invalid_request', event({ jti: undefined })],
    ['invalid_issuer', event({ iss: 'https://x.example' })],
    ['invalid_audience', event({ aud: 'https://x.example' })],
    ['invalid_key', event({}, { kid: 'unknown' })],
    ['authentication_failed', event({}, {}, stranger.privateKey)],
  ] as const) {
    const answer = await takeEvent(contentType, bad)
    assert.deepEqual(answer, {
      status: 400,
      headers: { 'content-type': 'application/json', 'content-language': 'en' },
      body: { err, description: 'The event was not taken' },
    })
  }
  assert.equal(kept.dropped.length, 1)
})

test('an event is taken with ours, and no ID-JAG of before it after that', async (t) => {
  const { eventRoutes, redeem } = guide.told
  const app = Fastify()
  t.after(() => app.close())
  await eventRoutes(app)
  const tell = async (payload: string) => {
    const headers = { 'content-type': SET }
    const { statusCode, body } = await app.inject({
      method: 'POST',
      url: '/events',
      headers,
      payload,
    })
    return { status: statusCode, body }
  }
  const redeemed = (claims: object = {}) =>
    redeem(new URLSearchParams({ assertion: idJag(claims) }), CLIENT)
  assert.equal((await redeemed({ act: { sub: 'agt_1' } })).status, 200)
  assert.equal((await redeemed({ act: { sub: 'agt_2' } })).status, 200)
  assert.equal((await redeemed({ sub: 'usr_2' })).status, 200)
  assert.equal(kept.grants.length, 3)

  const agent = { 'urn:agent-idp:agent': { sub: 'agt_1', client_id: CLIENT } }
  assert.deepEqual(await tell(event({ events: { [REVOKED]: agent } })), { status: 202, body: '' })
  assert.equal(kept.grants.length, 2, 'one agent')
  assert.deepEqual(await tell(event()), { status: 202, body: '' })
  assert.deepEqual(
    kept.grants.map(({ basis }) => basis.sub),
    ['usr_2'],
  )
  assert.equal((await tell(event({ aud: 'https://x.example' }))).status, 400)

  const late = await redeemed()
  assert.deepEqual([late.status, late.body?.error], [400, 'invalid_grant'])
  assert.equal((await redeemed({ iat: now() + 10 })).status, 200, 'a new delegation (GR-10)')
})

test('what was given while an event came in is ended by a second look', async (t) => {
  const { eventRoutes, redeem } = guide.told
  const app = Fastify()
  t.after(() => app.close())
  await eventRoutes(app)
  const { add } = theApp.grants
  t.mock.method(theApp.grants, 'add', async (of: { basis: Basis }) => {
    const headers = { 'content-type': SET }
    const payload = event({ sub: 'usr_3' })
    const told = await app.inject({ method: 'POST', url: '/events', headers, payload })
    assert.equal(told.statusCode, 202)
    return add(of)
  })
  const form = new URLSearchParams({ assertion: idJag({ sub: 'usr_3' }) })
  const { status, body } = await redeem(form, CLIENT)
  assert.deepEqual([status, body?.error_description], [400, 'Revoked just now'])
  assert.ok(kept.grants.every(({ basis }) => basis.sub !== 'usr_3'))
})

function idJag(claims: object = {}): string {
  const iat = now()
  const right = { client_id: CLIENT, iat, exp: iat + 200, scope: 'events.read' }
  return jws({ typ: 'oauth-id-jag+jwt' }, { ...right, ...claims })
}

function event(claims: object = {}, header: object = {}, key?: KeyObject): string {
  const events = { [REVOKED]: {} }
  return jws({ typ: 'secevent+jwt', ...header }, { iat: now(), events, ...claims }, key)
}

function jws(header: object, claims: object, key = ours.privateKey): string {
  const common = { iss: ISSUER, sub: 'usr_1', aud: SELF, jti: randomUUID() }
  const input = [
    { alg: 'ES256', kid: 'k', ...header },
    { ...common, ...claims },
  ]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')
  const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}

/** Now, or when this was signed. */
function now(signed?: string): number {
  const claims = signed?.split('.')[1]
  if (claims !== undefined) return JSON.parse(Buffer.from(claims, 'base64url').toString()).iat
  return Math.floor(Date.now() / 1000)
}

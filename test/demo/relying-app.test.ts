import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { type CryptoKey, exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose'
import { type RelyingApp, startRelyingApp } from '../../src/demo/relying-app.ts'

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const REVOKED = 'https://schemas.workos.com/events/agent/auth/identity/assertion/revoked'

test('takes a right ID-JAG once, for an access token that opens its API, and gives no other (IJ-56, IJ-59)', async (t) => {
  const { app, idJag, redeem } = await open(t)
  const assertion = await idJag()
  const { status, body, headers } = await redeem(assertion)
  assert.equal(status, 200)
  assert.equal(headers.get('cache-control'), 'no-store')
  const { access_token, ...rest } = body
  assert.deepEqual(rest, { token_type: 'Bearer', expires_in: 300, scope: 'notes.read' })

  const notes = await fetch(app.notes, { headers: { authorization: `Bearer ${access_token}` } })
  assert.equal(((await notes.json()) as { user: string }).user, 'usr_1')
  assert.equal((await redeem(assertion)).body.error, 'invalid_grant')
})

test('refuses an unknown client before it looks at the assertion (IJ-50)', async (t) => {
  const { idJag, redeem, app } = await open(t)
  for (const client of [
    { id: '', secret: '' },
    { ...app.client, secret: 'guess' },
  ]) {
    const { status, body, headers } = await redeem(await idJag(), {}, client)
    assert.equal(status, 401)
    assert.equal(body.error, 'invalid_client')
    assert.match(headers.get('www-authenticate') ?? '', /^Basic /)
  }
})

const REFUSED: [string, Shape][] = [
  ['signed by somebody else, who names the key (IJ-51)', { key: 'stranger' }],
  ['of an unknown key (IJ-51)', { header: { kid: 'unknown' } }],
  ['of another issuer (IJ-51)', { claims: { iss: 'https://other.example' } }],
  ['of another type (IJ-52)', { header: { typ: 'JWT' } }],
  ['that has expired (IJ-52)', { claims: { iat: inSeconds(-400), exp: inSeconds(-100) } }],
  ['from the future (IJ-52)', { claims: { iat: inSeconds(120), exp: inSeconds(400) } }],
  ['for another app (IJ-53)', { claims: { aud: 'http://localhost:1' } }],
  ['for several apps (IJ-53)', { claims: (app) => ({ aud: [app.issuer, 'http://other'] }) }],
  ['for another client (IJ-54)', { claims: { client_id: 'somebody' } }],
  ['bound to a key, without proof (IJ-55)', { claims: { cnf: { jkt: 'x' } } }],
  ['without jti', { claims: { jti: undefined } }],
  ['for another resource (IJ-57)', { claims: { resource: 'http://localhost:1/v1' } }],
]
for (const [what, shape] of REFUSED) {
  test(`refuses an ID-JAG ${what}`, async (t) => {
    const { idJag, redeem } = await open(t)
    const { status, body } = await redeem(await idJag(shape))
    assert.deepEqual([status, body.error], [400, 'invalid_grant'])
  })
}

test('never grants more scope than the ID-JAG has (IJ-57)', async (t) => {
  const { idJag, redeem } = await open(t)
  const wide = await redeem(await idJag(), { scope: 'notes.read notes.write' })
  assert.equal(wide.body.scope, 'notes.read')
  const other = await redeem(await idJag(), { scope: 'notes.write' })
  assert.deepEqual([other.status, other.body.error], [400, 'invalid_scope'])
})

test('does not blame the client for an issuer that does not answer', async (t) => {
  const { idJag, redeem, stopIssuer } = await open(t)
  const assertion = await idJag()
  await stopIssuer()
  const { status, body, headers } = await redeem(assertion)
  assert.deepEqual([status, body.error], [503, 'temporarily_unavailable'])
  assert.ok(headers.get('retry-after'))
})

test('drops what it gave when its issuer says so, and answers by the letter of RFC 8935 (EV-05, EV-15)', async (t) => {
  const { app, idJag, redeem, event, tell, notes } = await open(t)
  const mine = String((await redeem(await idJag())).body.access_token)
  const theirs = await redeem(await idJag({ claims: { sub: 'usr_2' } }))
  const kept = await idJag()
  assert.deepEqual(await tell(await event()), { status: 202, text: '' })
  assert.equal(await notes(mine), 401)
  assert.equal(await notes(String(theirs.body.access_token)), 200, 'of another user')
  assert.deepEqual(await tell(await event({ key: 'stranger' })), {
    status: 400,
    text: '{"err":"authentication_failed","description":"The event is not signed by its issuer"}',
  })
  assert.equal(app.heard.length, 1)

  const late = await redeem(kept)
  assert.equal(late.body.error, 'invalid_grant')
  assert.match(String(late.body.error_description), /revoked since/)
  const later = await redeem(await idJag({ claims: { iat: inSeconds(10), exp: inSeconds(300) } }))
  assert.equal(later.status, 200, 'a new delegation (GR-10)')
})

test('drops what one agent was given, where the event names it', async (t) => {
  const { idJag, redeem, event, tell, notes } = await open(t)
  const [one, other] = ['agt_1', 'agt_2']
  const of = async (sub: string) => {
    const { body } = await redeem(await idJag({ claims: { act: { sub } } }))
    return String(body.access_token)
  }
  const tokens = { one: await of(one), other: await of(other) }
  const events = { [REVOKED]: { 'urn:agent-idp:agent': { sub: one, client_id: 'notes-agent' } } }
  assert.equal((await tell(await event({ claims: { events } }))).status, 202)
  assert.deepEqual([await notes(tokens.one), await notes(tokens.other)], [401, 200])
})

test('takes no event by another media type', async (t) => {
  const { app, event, tell } = await open(t)
  for (const type of ['application/json', 'application/x-www-form-urlencoded', 'text/plain']) {
    const { status } = await tell(await event(), type)
    assert.ok([400, 415].includes(status), `${type} ${status}`)
  }
  assert.equal(app.heard.length, 0)
})

test('tells a stranger at its API where to begin', async (t) => {
  const { app } = await open(t)
  const answer = await fetch(app.notes, { headers: { authorization: 'Bearer guess' } })
  assert.equal(answer.status, 401)
  const [, url = ''] =
    /resource_metadata="([^"]+)"/.exec(answer.headers.get('www-authenticate') ?? '') ?? []
  const metadata = (await (await fetch(url)).json()) as Record<string, unknown>
  assert.equal(metadata.resource, app.resource)
  assert.deepEqual(metadata.authorization_servers, [app.issuer])
  const server = await fetch(`${app.issuer}/.well-known/oauth-authorization-server`)
  assert.equal(((await server.json()) as { issuer: string }).issuer, app.issuer)
})

type Shape = {
  key?: 'stranger'
  header?: { typ?: string; kid?: string }
  claims?: JWTPayload | ((app: RelyingApp) => JWTPayload)
}

/** The app beside an issuer whose keys the test holds. */
async function open(t: TestContext) {
  const [ours, strangers] = await Promise.all([generateKeyPair('ES256'), generateKeyPair('ES256')])
  const jwk = { ...(await exportJWK(ours.publicKey)), kid: 'key-1', alg: 'ES256' }
  const server = createServer((request, response) => {
    const known = request.url === '/.well-known/oauth-authorization-server'
    const issuer = `http://${request.headers.host}`
    const metadata = { issuer, jwks_uri: `${issuer}/keys` }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(known ? metadata : { keys: [jwk] }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const stopIssuer = async () => {
    server.closeAllConnections()
    if (server.listening) await new Promise((closed) => server.close(closed))
  }
  t.after(stopIssuer)
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const app = await startRelyingApp({ trusts: issuer, port: 0 })
  t.after(app.stop)

  let made = 0
  const idJag = ({ key, header = {}, claims = {} }: Shape = {}): Promise<string> => {
    made += 1
    const signer: CryptoKey = key === 'stranger' ? strangers.privateKey : ours.privateKey
    const right = {
      iss: issuer,
      sub: 'usr_1',
      aud: app.issuer,
      client_id: app.client.id,
      jti: `jti-${made}`,
      iat: inSeconds(0),
      exp: inSeconds(300),
      resource: app.resource,
      scope: 'notes.read',
    }
    const other = typeof claims === 'function' ? claims(app) : claims
    return new SignJWT({ ...right, ...other })
      .setProtectedHeader({ alg: 'ES256', typ: 'oauth-id-jag+jwt', kid: 'key-1', ...header })
      .sign(signer)
  }

  const event = ({ key, claims = {} }: Shape = {}): Promise<string> => {
    made += 1
    const right = {
      iss: issuer,
      sub: 'usr_1',
      aud: app.issuer,
      jti: `jti-${made}`,
      iat: inSeconds(0),
      events: { [REVOKED]: {} },
    }
    return new SignJWT({ ...right, ...claims })
      .setProtectedHeader({ alg: 'ES256', typ: 'secevent+jwt', kid: 'key-1' })
      .sign(key === 'stranger' ? strangers.privateKey : ours.privateKey)
  }
  const tell = async (body: string, type = 'application/secevent+jwt') => {
    const answer = await fetch(app.eventsEndpoint, {
      method: 'POST',
      headers: { 'content-type': type, accept: 'application/json' },
      body,
    })
    return { status: answer.status, text: await answer.text() }
  }
  const notes = async (token: string) =>
    (await fetch(app.notes, { headers: { authorization: `Bearer ${token}` } })).status

  const redeem = async (
    assertion: string,
    more: Record<string, string> = {},
    client = app.client,
  ) => {
    const basic = Buffer.from(`${client.id}:${client.secret}`).toString('base64')
    const answer = await fetch(app.tokenEndpoint, {
      method: 'POST',
      headers: { authorization: `Basic ${basic}` },
      body: new URLSearchParams({ grant_type: JWT_BEARER, assertion, ...more }),
    })
    const body = (await answer.json()) as Record<string, unknown>
    return { status: answer.status, headers: answer.headers, body }
  }
  return { app, idJag, redeem, stopIssuer, event, tell, notes }
}

function inSeconds(from: number): number {
  return Math.floor(Date.now() / 1000) + from
}

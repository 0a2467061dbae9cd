/**
 * The whole story of one ID-JAG, told by those who take part in it, over HTTP alone: an administrator, a
 * user in a browser, the agent, and a relying app. Each step checks what it got.
 */
import { createHash, randomBytes } from 'node:crypto'
import {
  type CryptoKey,
  calculateJwkThumbprint,
  createRemoteJWKSet,
  decodeProtectedHeader,
  exportJWK,
  generateKeyPair,
  jwtVerify,
  SignJWT,
} from 'jose'
import { createReplayStore, trustIssuer, verifyIdJag } from '../relying-app/verify-id-jag.ts'
import { type Browser, choices, createBrowser, heading, type Page } from './browser.ts'
import { hearEvent, readProof, revoke } from './cut-off.ts'
import type { Story } from './print.ts'
import { type RelyingApp, SCOPES } from './relying-app.ts'
import { type Admin, type Answer, createAdmin, expect, postForm, type Scene, send } from './talk.ts'

type User = { id: string; email: string; password: string }
type Agent = { id: string; privateKey: CryptoKey; kid: string }

const ID_JAG = 'urn:ietf:params:oauth:token-type:id-jag'
const ID_TOKEN = 'urn:ietf:params:oauth:token-type:id_token'
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const CLIENT_ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/** Nobody listens there: the walk reads the address that the browser is sent to. */
const REDIRECT_URI = 'https://agent.example/callback'

/** Returns the user, and the question that the last step left open. */
export async function walk(story: Story, scene: Scene): Promise<{ user: User; question: string }> {
  const admin = createAdmin(story, scene)

  story.step('An administrator enrols a user')
  const user = await enrolUser(admin)
  story.step('An agent makes a key pair, and the administrator enrols it with the public half')
  const agent = await enrolAgent(admin)
  story.step('The relying app becomes an audience')
  const audienceId = await enrolAudience(admin, scene.app)
  story.step('The agent is entitled to ask for rights there')
  await admin('PUT', `/agents/${agent.id}/entitlements/${audienceId}`, {
    client_id: scene.app.client.id,
    scopes: Object.keys(SCOPES),
    resources: [scene.app.resource],
    consent: 'user',
  })

  const browser = createBrowser()
  story.step('The agent sends the user to sign in')
  const signedIn = await signIn(story, scene, browser, user, agent)
  story.step('The agent redeems the code')
  const idToken = await redeemCode(story, scene, agent, user, signedIn)

  story.step('It asks for an ID-JAG: refused, for the user has not allowed it')
  const refused = await exchange(story, scene, agent, idToken)
  expect(refused.status === 400, `the exchange answered ${refused.status}, not 400`)
  expect(refused.body.error === 'interaction_required', 'the error is not interaction_required')

  story.step('The user reads what is asked and allows it')
  await consent(story, browser, String(refused.body.interaction_uri))

  story.step('It asks again: an ID-JAG')
  const granted = await exchange(story, scene, agent, idToken)
  expect(granted.status === 200, `the exchange answered ${granted.status}, not 200`)
  expect(granted.body.issued_token_type === ID_JAG, 'what came is not an ID-JAG')
  const idJag = String(granted.body.access_token)
  story.decoded('The ID-JAG', idJag)

  story.step('Whoever knows the URL of the issuer can verify it')
  await verify(story, scene, idJag)

  story.step('The agent redeems it at the relying app for an access token')
  const redeemed = await redeemIdJag(story, scene.app, idJag)
  expect(redeemed.status === 200, `the relying app answered ${redeemed.status}, not 200`)
  story.step('It calls the API of the relying app')
  const token = String(redeemed.body.access_token)
  const notes = await callApi(story, scene.app, token)
  expect(notes.status === 200, `the API answered ${notes.status}, not 200`)
  expect(notes.body.user === user.id, 'the API knows somebody else')
  story.step('It presents the same ID-JAG again: refused, each counts once')
  const replayed = await redeemIdJag(story, scene.app, idJag)
  expect(replayed.body.error === 'invalid_grant', 'the relying app took an ID-JAG twice')

  story.step('It asks for one more ID-JAG, and keeps it for later')
  const kept = await exchange(story, scene, agent, idToken)
  expect(kept.status === 200, `the exchange answered ${kept.status}, not 200`)

  story.step('The administrator ends all that the agent may do')
  const revocationId = await revoke(admin, agent.id)
  story.step('The relying app is told, and knows by the signature who says so')
  await hearEvent(story, scene, user.id)
  story.step('It has dropped what it gave: the access token is refused from now on')
  const shut = await callApi(story, scene.app, token)
  expect(shut.status === 401, `the API answered ${shut.status}, not 401`)
  story.step('The agent presents the ID-JAG it kept: refused, it was made before')
  const late = await redeemIdJag(story, scene.app, String(kept.body.access_token))
  expect(late.body.error === 'invalid_grant', 'an ID-JAG of before brought the access back')
  const why = String(late.body.error_description)
  expect(why.includes('revoked'), `it was refused for another reason: ${why}`)
  story.step('The administrator reads that the app was told, and how long it took')
  await readProof(admin, revocationId)

  story.step('The ID token of the agent has ended too: it sends the user to sign in again')
  const again = await signIn(story, scene, createBrowser(), user, agent)
  const newIdToken = await redeemCode(story, scene, agent, user, again)
  story.step('The agent asks once more: refused, nothing is allowed any longer')
  const after = await exchange(story, scene, agent, newIdToken)
  expect(after.body.error === 'interaction_required', 'an ended delegation still gave an ID-JAG')
  return { user, question: String(after.body.interaction_uri) }
}

async function enrolUser(admin: Admin): Promise<User> {
  // New names at each run: the story can be told again on the same database.
  const email = `sam-${randomBytes(3).toString('hex')}@demo.example`
  const password = randomBytes(9).toString('base64url')
  const { id } = await admin('POST', '/users', {
    name: 'Sam Rivers',
    email,
    email_verified: true,
    password,
  })
  return { id: String(id), email, password }
}

async function enrolAgent(admin: Admin): Promise<Agent> {
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  const jwk = await exportJWK(publicKey)
  const kid = await calculateJwkThumbprint(jwk)
  // Every agent has somebody who answers for it.
  const owner = await admin('POST', '/users', { name: 'Robin Ortega' })
  const { id } = await admin('POST', '/agents', {
    name: 'Note keeper',
    purpose: 'Keeps your notes in order',
    owner_id: owner.id,
    expires_at: new Date(Date.now() + 30 * 86_400_000).toISOString(),
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [{ ...jwk, kid }] },
    redirect_uris: [REDIRECT_URI],
  })
  return { id: String(id), privateKey, kid }
}

/** The same one as in an earlier run, if the relying app listens where it did then. */
async function enrolAudience(admin: Admin, app: RelyingApp): Promise<string> {
  const scopes = Object.entries(SCOPES).map(([name, description]) => ({ name, description }))
  const settings = {
    name: 'Notes',
    resources: [{ identifier: app.resource, scopes }],
    claims: ['email'],
    events_endpoint: app.eventsEndpoint,
    events_dialect: 'set',
    event_names_agent: true,
  }
  const known = await admin('GET', `/audiences?issuer=${encodeURIComponent(app.issuer)}`)
  const [found] = known.data as { id: string }[]
  if (found) await admin('PATCH', `/audiences/${found.id}`, settings)
  const audience =
    found ??
    (await admin('POST', '/audiences', { issuer: app.issuer, profile: 'idjag', ...settings }))
  return String(audience.id)
}

async function signIn(
  story: Story,
  { issuer }: Scene,
  browser: Browser,
  { email, password }: User,
  agent: Agent,
) {
  const verifier = randomBytes(32).toString('base64url')
  const [state, nonce] = [randomBytes(12).toString('hex'), randomBytes(12).toString('hex')]
  const ask = new URL(`${issuer}/oauth2/authorize`)
  ask.search = new URLSearchParams({
    response_type: 'code',
    client_id: agent.id,
    redirect_uri: REDIRECT_URI,
    scope: 'openid',
    state,
    nonce,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  }).toString()

  story.request('GET', ask)
  let page = await follow(story, browser, await browser.open(ask), issuer)
  expect(page.status === 200, `the sign-in page answered ${page.status}`)
  story.request('POST', new URL('/sign-in', issuer), { email, password })
  page = await browser.submit(page, 'password', { email, password })
  expect(page.location !== undefined, `signing in ended at "${heading(page)}"`)
  page = await follow(story, browser, page, issuer)

  const back = page.location
  expect(back?.href.startsWith(REDIRECT_URI) === true, `it ended at "${heading(page)}"`)
  const answer = back?.searchParams
  expect(answer?.get('state') === state, 'the state came back changed')
  expect(answer?.get('iss') === issuer, 'the answer does not say which issuer it is from')
  return { code: answer?.get('code') ?? '', verifier, nonce }
}

/** Follows redirects within the issuer; the last page, or the one that leads away. */
async function follow(story: Story, browser: Browser, start: Page, issuer: string): Promise<Page> {
  let page = start
  for (let hops = 0; page.location !== undefined && hops < 8; hops += 1) {
    story.redirect(page.status, page.url, page.location)
    if (page.location.origin !== issuer) return page
    page = await browser.open(page.location)
  }
  story.answer(page.status, { page: heading(page) })
  return page
}

async function redeemCode(
  story: Story,
  { issuer }: Scene,
  agent: Agent,
  user: User,
  { code, verifier, nonce }: { code: string; verifier: string; nonce: string },
): Promise<string> {
  const { status, body } = await postForm(story, `${issuer}/oauth2/token`, {
    grant_type: 'authorization_code',
    code,
    redirect_uri: REDIRECT_URI,
    code_verifier: verifier,
    ...(await clientAssertion(agent, issuer)),
  })
  expect(status === 200, `the token endpoint answered ${status}`)
  const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`))
  const { payload } = await jwtVerify(String(body.id_token), keys, { issuer, audience: agent.id })
  expect(payload.sub === user.id, 'the ID token speaks of somebody else')
  expect(payload.nonce === nonce, 'the ID token answers another request')
  return String(body.id_token)
}

const exchange = async (story: Story, { issuer, app }: Scene, agent: Agent, idToken: string) =>
  postForm(story, `${issuer}/oauth2/token`, {
    grant_type: TOKEN_EXCHANGE,
    requested_token_type: ID_JAG,
    subject_token: idToken,
    subject_token_type: ID_TOKEN,
    audience: app.issuer,
    resource: app.resource,
    scope: 'notes.read',
    ...(await clientAssertion(agent, issuer)),
  })

/** The agent's proof that it is the agent (RFC 7523 §3): good for a minute, and once. */
async function clientAssertion({ id, kid, privateKey }: Agent, issuer: string) {
  const assertion = await new SignJWT()
    .setProtectedHeader({ alg: 'ES256', kid, typ: 'client-authentication+jwt' })
    .setIssuer(id)
    .setSubject(id)
    .setAudience(issuer)
    .setIssuedAt()
    .setExpirationTime('60s')
    .setJti(randomBytes(16).toString('base64url'))
    .sign(privateKey)
  return { client_assertion_type: CLIENT_ASSERTION, client_assertion: assertion }
}

async function consent(story: Story, browser: Browser, uri: string): Promise<void> {
  story.request('GET', uri)
  const page = await browser.open(new URL(uri))
  expect(page.status === 200, `the consent page answered ${page.status}`)
  story.answer(page.status, { page: heading(page), scope: choices(page, 'scope') })
  const choice = { decision: 'allow', mode: 'always', scope: choices(page, 'scope') }
  story.request('POST', uri, choice)
  const decided = await browser.submit(page, 'decision', choice)
  story.answer(decided.status, { page: heading(decided) })
  expect(decided.status < 400, `consent ended at "${heading(decided)}"`)
}

/** As the relying app does, and as an app does that it was not made for. */
async function verify(story: Story, { issuer, app }: Scene, idJag: string): Promise<void> {
  const { kid } = decodeProtectedHeader(idJag)
  const verifyAs = (self: string) =>
    verifyIdJag(idJag, {
      profile: 'idjag',
      self,
      issuers: [trustIssuer(issuer)],
      replay: createReplayStore(),
      now: () => new Date(),
      client: app.client,
      asked: {},
      resources: [app.resource],
    })
  const verdict = await verifyAs(app.issuer)
  expect(verdict.ok, 'the app that it was made for refuses the ID-JAG')
  story.note(
    `Verified with the key ${kid} of its JWKS: for ${app.issuer}, and for its client there.`,
  )
  const elsewhere = await verifyAs('https://elsewhere.example')
  expect(!elsewhere.ok, 'an app that it was not made for took the ID-JAG')
  story.note(`Another relying app refuses it: ${elsewhere.error_description}.`)
}

const redeemIdJag = (story: Story, app: RelyingApp, idJag: string) =>
  postForm(
    story,
    app.tokenEndpoint,
    { grant_type: JWT_BEARER, assertion: idJag },
    `Basic ${Buffer.from(`${app.client.id}:${app.client.secret}`).toString('base64')}`,
  )

function callApi(story: Story, app: RelyingApp, token: string): Promise<Answer> {
  const authorization = `Bearer ${token}`
  return send(story, 'GET', app.notes, { headers: { authorization }, shown: { authorization } })
}

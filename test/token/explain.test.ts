// For each reason that the token endpoint gives, one exchange: what `POST /explain` says of it beforehand is what the
// endpoint answers, audit event included. test/token/explain-agrees.test.ts does so for arbitrary ones.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { GRANT, TOKEN_TYPE, TYP } from '../../src/oauth/names.ts'
import { SIGNING_ALGS } from '../../src/oauth/signing-alg.ts'
import { sizeOfIdJag } from '../../src/token/id-jag.ts'
import { CONDITIONS } from '../../src/token/missing.ts'
import { Refusal } from '../../src/token/refusals.ts'
import { authorize, browser, signIn } from '../support/browser.ts'
import { openClientSite } from '../support/client-site.ts'
import { newDpopKey, proving } from '../support/dpop.ts'
import { answered, explained, verdictOf } from '../support/explain.ts'
import { CLIENT, startIssuer } from '../support/fake-issuer.ts'
import { type Form, openHouse } from '../support/house.ts'
import { assertRefused } from '../support/refused.ts'
import {
  clientAssertion,
  clientAuthentication,
  entitle,
  newAgent,
  newUser,
  RESOURCE,
  type Story,
  type StoryAgent,
  tellStory,
} from '../support/story.ts'

const house = await openHouse({ after }, { SESSION_LIFETIME: '1728000' })
const site = await openClientSite({ after })

/** One exchange: as the agent sends it, and as it is explained. */
type Case = {
  story: Story
  sent?: Form
  as?: StoryAgent
  headers?: Record<string, string>
  asked?: object
}
type Options = Parameters<typeof tellStory>[1]

/** A story with its delegation and a session, in which everything would be granted. */
async function granted(options: Options = {}, delegation: object = {}): Promise<Story> {
  const story = await tellStory(house, options)
  await story.delegate(delegation)
  await story.signIn()
  return story
}
async function undelegated(options: Options = {}): Promise<Story> {
  const story = await tellStory(house, options)
  await story.signIn()
  return story
}

async function act(method: string, path: string, body?: unknown) {
  const answer = await house.admin(method, path, body)
  assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${answer.text}`)
  return answer.body
}
const soon = (seconds: number) => new Date(house.clock.now.getTime() + seconds * 1000).toISOString()

const SCOPES = [{ name: 'docs.read' }, { name: 'docs.write' }]
const FILES = 'https://files.paperclip.example/'
const TWO_RESOURCES = {
  resources: [
    { identifier: RESOURCE, scopes: SCOPES, authorization_details_types: ['payment'] },
    { identifier: FILES, scopes: SCOPES },
  ],
}
const PAYMENT = [{ type: 'payment' }]
const details = (value: unknown) => ({
  sent: { authorization_details: JSON.stringify(value) },
  asked: { authorization_details: value },
})
const target = (audience: string | string[]) => ({ sent: { audience }, asked: { audience } })
const scope = (value: string) => ({ sent: { scope: value }, asked: { scope: value } })
const resource = (value: string | string[]) => ({
  sent: { resource: value },
  asked: { resource: value },
})
async function byRefreshToken(story: Story): Promise<Case> {
  const { refresh_token } = await story.signIn()
  const subject_token_type = TOKEN_TYPE.refreshToken
  const sent = { subject_token: refresh_token, subject_token_type }
  return { story, sent, asked: { subject_token_type } }
}
async function actingFor(story: Story, actor: StoryAgent): Promise<Case> {
  const header = { typ: 'actor-token+jwt' }
  const claims = { client_id: story.agent.client_id, header }
  const actor_token = await clientAssertion(house, actor, claims)
  const sent = { actor_token, actor_token_type: TOKEN_TYPE.jwt }
  return { story, sent, asked: { actor_id: actor.id } }
}
const permit = (story: Story, actor: StoryAgent, members: object = {}) =>
  act('POST', '/actor-permissions', { agent_id: story.agent.id, actor_id: actor.id, ...members })
const many = (count: number, length: number) =>
  Array.from({ length: count }, (_, index) => `${index}`.padEnd(length, 'x'))

/** A user whom a platform signs in itself, and an agent that may bring its tokens. */
async function upstream(members: object = {}, linked = true, options: Options = {}): Promise<Case> {
  const story = await granted(options)
  const issuer = await startIssuer({ after }, house)
  const { id } = await act('POST', '/trusted-issuers', {
    issuer: issuer.issuer,
    jwks_uri: issuer.jwksUri,
    clients: [{ client_id: CLIENT, agent_ids: [story.agent.id] }],
    provisioning: 'refuse',
    ...members,
  })
  if (linked)
    await act('POST', `/trusted-issuers/${id}/accounts`, { subject: 'kim', user_id: story.user.id })
  const auth_time = Math.floor(house.clock.now.getTime() / 1000)
  const sent = { subject_token: await issuer.idToken({ sub: 'kim', auth_time }) }
  return { story, sent, asked: { subject_issuer: issuer.issuer } }
}

/** An agent that says what it is at a URL, which a rule lets come. */
async function published(): Promise<{ rule: string; asked: Case }> {
  const story = await granted()
  const as = await site.publish()
  const { id: rule, agent_id } = await act('POST', '/client-metadata-rules', {
    url: as.url,
    owner_id: story.owner.id,
    purpose: 'plans',
    agent_expires_at: soon(86_400),
  })
  await entitle(house, { id: agent_id }, story.audience, { client_id: undefined })
  await story.delegate({ agent_id })
  const { id_token } = await story.signIn(as)
  return { rule, asked: { story, as, sent: { subject_token: id_token }, asked: { agent_id } } }
}

const EXAMPLES: [what: string, reason: string | null, arrange: () => Promise<Case>][] = [
  ['everything as it should be', null, async () => ({ story: await granted() })],
  [
    'a narrower grant',
    null,
    async () => ({ story: await granted(), ...scope('docs.read docs.write admin') }),
  ],
  ['a refresh token', null, async () => byRefreshToken(await granted())],
  [
    'several resources',
    null,
    async () => ({
      story: await granted({ audience: TWO_RESOURCES }),
      ...resource([RESOURCE, FILES]),
    }),
  ],
  [
    'authorization details',
    null,
    async () => ({
      story: await granted({ audience: TWO_RESOURCES }, { authorization_details: PAYMENT }),
      ...details(PAYMENT),
    }),
  ],
  [
    'a first mint that asks nobody',
    null,
    async () => ({ story: await undelegated({ entitlement: { consent: 'admin' } }) }),
  ],
  [
    'an actor who is permitted',
    null,
    async () => {
      const story = await granted({}, { scopes: ['docs.read', 'docs.write'] })
      const actor = await newAgent(house, story.owner)
      await permit(story, actor, { scopes: ['docs.read'] })
      const { sent, asked } = await actingFor(story, actor)
      const both = { scope: 'docs.read docs.write' }
      return { story, sent: { ...sent, ...both }, asked: { ...asked, ...both } }
    },
  ],
  [
    'a proof where one is needed',
    null,
    async () => {
      const { story } = await afterwards(
        ({ agent }) => setAgent(agent, { dpop_bound_access_tokens: true }),
        { audience: { dpop_required: true } },
      )
      const headers = await proving(await newDpopKey(), house)
      return { story, headers, asked: { dpop: true } }
    },
  ],
  ['a subject of a trusted issuer', null, () => upstream()],
  ['a client that is known by a URL', null, async () => (await published()).asked],
  [
    'a subject of a trusted issuer who is linked now',
    null,
    () => upstream({ provisioning: 'link' }, false, { user: { external_id: 'kim' } }),
  ],
  [
    'a refresh token without a session, and a delegation for that',
    null,
    async () => {
      const story = await granted({}, { offline: true, expires_at: soon(86_400) })
      const asked = await byRefreshToken(story)
      await endSession(story)
      return { ...asked, asked: { ...asked.asked, session: 'ended' } }
    },
  ],

  [
    'another type of subject token',
    'malformed_request',
    async () => ({
      story: await granted(),
      sent: { subject_token_type: 'urn:ietf:params:oauth:token-type:saml2' },
      asked: { subject_token_type: 'urn:ietf:params:oauth:token-type:saml2' },
    }),
  ],
  [
    'an agent that there is not',
    'unknown_client',
    async () => {
      const story = await granted()
      const as = { ...story.agent, id: 'agt_unknown', client_id: 'agt_unknown' }
      return { story, as, asked: { agent_id: 'agt_unknown' } }
    },
  ],
  [
    'a retired agent',
    'agent_retired',
    () => afterwards(({ agent }) => act('POST', `/agents/${agent.id}/retire`, {})),
  ],
  [
    'an agent without a key',
    'bad_credentials',
    () =>
      afterwards(({ agent }) =>
        act('DELETE', `/agents/${agent.id}/credentials/${agent.credential_id}`),
      ),
  ],
  [
    'an agent without a secret',
    'bad_credentials',
    () =>
      afterwards(
        ({ agent }) => act('DELETE', `/agents/${agent.id}/credentials/${agent.credential_id}`),
        { agent: { token_endpoint_auth_method: 'client_secret_basic' } },
      ),
  ],
  [
    'a client that is known by a URL, and that no rule lets come any more',
    'client_metadata_not_allowed',
    async () => {
      const { rule, asked } = await published()
      await act('DELETE', `/client-metadata-rules/${rule}`)
      return asked
    },
  ],
  [
    'an agent that waits for approval',
    'agent_requested',
    () => afterwards(({ agent }) => setAgent(agent, { status: 'requested' })),
  ],
  [
    'a suspended agent',
    'agent_suspended',
    () => afterwards(({ agent }) => act('POST', `/agents/${agent.id}/suspend`, {})),
  ],
  [
    'an agent past its end',
    'agent_expired',
    async () => {
      const story = await granted({ agent: { expires_at: soon(60) } })
      house.wait(60)
      return { story }
    },
  ],
  [
    'an owner who left',
    'owner_inactive',
    () => afterwards(({ owner }) => act('PATCH', `/users/${owner.id}`, { status: 'deleted' })),
  ],
  [
    'a suspended tenant',
    'tenant_suspended',
    async () => {
      const { id: tenant_id } = await act('POST', '/tenants', { name: 'Orbit' })
      const owner = await newUser(house, { tenant_id })
      const as = await newAgent(house, owner, { tenant_id })
      await act('PATCH', `/tenants/${tenant_id}`, { status: 'suspended' })
      return { story: await granted(), as, asked: { agent_id: as.id } }
    },
  ],
  [
    'an agent without the grant',
    'grant_not_allowed',
    () =>
      afterwards(({ agent }) =>
        act('PATCH', `/agents/${agent.id}`, { grant_types: [GRANT.authorizationCode] }),
      ),
  ],
  [
    'a public client',
    'public_client',
    () =>
      afterwards(({ agent }) => setAgent(agent, { grant_types: [GRANT.tokenExchange] }), {
        agent: { token_endpoint_auth_method: 'none' },
      }),
  ],
  [
    'no proof of an agent that promised them',
    'no_dpop_proof',
    () => afterwards(({ agent }) => setAgent(agent, { dpop_bound_access_tokens: true })),
  ],

  [
    'a user who there is not',
    'bad_subject_token',
    async () => ({
      story: await granted(),
      sent: { subject_token: 'x' },
      asked: { user_id: 'usr_unknown' },
    }),
  ],
  [
    'a user of another tenant',
    'wrong_subject_audience',
    async () => {
      const { id: tenant_id } = await act('POST', '/tenants', { name: 'Elsewhere' })
      const theirs = await newUser(house, { tenant_id })
      const visitor = browser(house)
      await signIn(visitor, theirs)
      const agent = await newAgent(house, theirs, { tenant_id })
      const { body } = await house.form('/oauth2/token', {
        grant_type: GRANT.authorizationCode,
        ...(await authorize(visitor, agent)),
        ...(await clientAuthentication(house, agent)),
      })
      const sent = { subject_token: body.id_token }
      return { story: await granted(), sent, asked: { user_id: theirs.id } }
    },
  ],
  [
    'a suspended user',
    'user_inactive',
    () => afterwards(({ user }) => act('PATCH', `/users/${user.id}`, { status: 'suspended' })),
  ],
  [
    'a deleted user',
    'user_inactive',
    () => afterwards(({ user }) => act('PATCH', `/users/${user.id}`, { status: 'deleted' })),
  ],
  [
    'an ID token whose session has ended',
    'session_ended',
    async () => ({ ...(await afterwards(endSession)), asked: { session: 'ended' } }),
  ],
  [
    'a refresh token whose session has ended, and a delegation that is not for that',
    'session_ended',
    async () => {
      const story = await granted()
      const asked = await byRefreshToken(story)
      await endSession(story)
      return { ...asked, asked: { ...asked.asked, session: 'ended' } }
    },
  ],
  [
    'an issuer whom nobody trusts',
    'issuer_not_trusted',
    async () => {
      const story = await granted()
      const { issuer, idToken } = await startIssuer({ after }, house)
      return { story, sent: { subject_token: await idToken() }, asked: { subject_issuer: issuer } }
    },
  ],
  [
    'a client of a trusted issuer whose tokens are not for this agent',
    'upstream_client_not_allowed',
    async () => {
      const { agent } = await granted()
      return upstream({ clients: [{ client_id: CLIENT, agent_ids: [agent.id] }] })
    },
  ],
  [
    'a subject of a trusted issuer whom nobody linked',
    'unknown_upstream_account',
    () => upstream({}, false),
  ],

  [
    'an actor where nobody may act',
    'actor_tokens_off',
    async () => {
      const story = await granted()
      return actingFor(story, await newAgent(house, story.owner))
    },
  ],
  [
    'an actor that there is not',
    'bad_actor_token',
    async () => {
      const story = await granted()
      const actor = await newAgent(house, story.owner)
      await permit(story, actor)
      return actingFor(story, { ...actor, id: 'agt_unknown', client_id: 'agt_unknown' })
    },
  ],
  [
    'an agent that acts for itself',
    'bad_actor_token',
    async () => {
      const story = await granted()
      await permit(story, await newAgent(house, story.owner))
      return actingFor(story, story.agent)
    },
  ],
  [
    'a suspended actor',
    'actor_inactive',
    async () => {
      const story = await granted()
      const actor = await newAgent(house, story.owner)
      await act('POST', `/agents/${actor.id}/suspend`, {})
      await permit(story, actor)
      return actingFor(story, actor)
    },
  ],
  [
    'an actor permitted elsewhere',
    'actor_not_permitted',
    async () => {
      const story = await granted()
      const actor = await newAgent(house, story.owner)
      await permit(story, actor, { audience_id: (await granted()).audience.id })
      return actingFor(story, actor)
    },
  ],

  [
    'two audiences',
    'several_audiences',
    async () => ({ story: await granted(), ...target(['https://a.example', 'https://b.example']) }),
  ],
  [
    'an audience that nobody knows',
    'unknown_audience',
    async () => ({ story: await granted(), ...target('https://unknown.example') }),
  ],
  [
    'a suspended audience',
    'audience_inactive',
    () => afterwards(({ audience }) => act('POST', `/audiences/${audience.id}/suspend`, {})),
  ],
  [
    'no entitlement',
    'no_entitlement',
    async () => ({ story: await undelegated({ entitlement: null }) }),
  ],
  [
    'an entitlement that has run out',
    'no_entitlement',
    async () => {
      const story = await granted({ entitlement: { expires_at: soon(60) } })
      house.wait(60)
      return { story }
    },
  ],
  [
    'an agent that the relying app does not know',
    'no_client_mapping',
    async () => ({ story: await granted({ entitlement: { client_id: null } }) }),
  ],
  [
    'a resource of somebody else',
    'resource_not_registered',
    async () => ({ story: await granted(), ...resource('https://api.other.example/') }),
  ],
  [
    'a resource beyond the entitlement',
    'resource_not_entitled',
    async () => ({
      story: await granted({ audience: TWO_RESOURCES, entitlement: { resources: [RESOURCE] } }),
      ...resource(FILES),
    }),
  ],
  [
    'a default resource beyond the entitlement',
    'resource_not_entitled',
    async () => ({
      story: await undelegated({
        audience: { ...TWO_RESOURCES, default_resources: [FILES] },
        entitlement: { resources: [RESOURCE] },
      }),
    }),
  ],
  [
    'no resource at an MCP server',
    'resource_required',
    async () => ({ story: await granted({ audience: { profile: 'mcp-ema' } }) }),
  ],
  [
    'a scope with two spaces',
    'scope_malformed',
    async () => ({ story: await granted(), ...scope('docs.read  docs.write') }),
  ],
  [
    'a scope that nobody knows',
    'scope_not_in_catalogue',
    async () => ({ story: await granted(), ...scope('admin') }),
  ],
  [
    'a scope beyond the entitlement',
    'scope_not_entitled',
    async () => ({
      story: await granted({ entitlement: { scopes: ['docs.read'] } }),
      ...scope('docs.write'),
    }),
  ],
  [
    'a scope beyond the permission of the actor',
    'scope_not_entitled',
    async () => {
      const story = await granted()
      const actor = await newAgent(house, story.owner)
      await permit(story, actor, { scopes: ['docs.write'] })
      return actingFor(story, actor)
    },
  ],
  [
    'details that are none',
    'details_malformed',
    async () => ({ story: await granted(), ...details([{}]) }),
  ],
  [
    'details of a type that nobody knows',
    'details_unknown_type',
    async () => ({ story: await granted(), ...details(PAYMENT) }),
  ],
  [
    'details of a type beyond the entitlement',
    'details_not_entitled',
    async () => ({
      story: await granted({
        audience: TWO_RESOURCES,
        entitlement: { authorization_details_types: [] },
      }),
      ...details(PAYMENT),
    }),
  ],
  [
    'no proof for an audience that needs one',
    'dpop_required',
    async () => ({ story: await granted({ audience: { dpop_required: true } }) }),
  ],

  [
    'a block',
    'denied_by_rule',
    () => afterwards(({ user }) => act('POST', '/blocks', { user_id: user.id, reason: 'left' })),
  ],
  [
    'a block with an end',
    'denied_by_rule',
    () =>
      afterwards(({ user }) =>
        act('POST', '/blocks', { user_id: user.id, reason: 'away', expires_at: soon(60) }),
      ),
  ],
  [
    'an audience that has yet to hear of a revocation',
    'revocation_pending',
    async () => {
      const events_endpoint = 'https://chat.example/events'
      const story = await granted({ audience: { events_endpoint } })
      assert.equal((await story.exchange()).status, 200)
      const { data } = await act('GET', `/delegations?user_id=${story.user.id}`)
      await act('DELETE', `/delegations/${data[0].id}`)
      await story.delegate()
      return { story }
    },
  ],
  [
    'a user without a verified contact',
    'unverified_contact',
    async () => ({
      story: await granted({
        user: { email_verified: false },
        audience: { profile: 'authmd-0.2' },
      }),
    }),
  ],
  [
    'a delegation that lets no contact out',
    'unverified_contact',
    () =>
      afterwards(({ delegation }) => setDelegation(delegation, { claims: [] }), {
        audience: { profile: 'authmd-0.2' },
      }),
  ],
  ['no delegation', 'no_delegation', async () => ({ story: await undelegated() })],
  [
    'a user of whom all was revoked, where nobody is asked',
    'no_delegation',
    async () => {
      const story = await tellStory(house, { entitlement: { consent: 'admin' } })
      await act('POST', '/revocations', { user_id: story.user.id, reason: 'left' })
      await story.signIn()
      return { story }
    },
  ],
  [
    'a delegation past its end',
    'delegation_expired',
    async () => {
      const story = await granted({}, { expires_at: soon(60) })
      house.wait(60)
      return { story }
    },
  ],
  [
    'a delegation that was ended',
    'delegation_revoked',
    () => afterwards(async ({ delegation }) => act('DELETE', `/delegations/${delegation}`)),
  ],
  [
    'a delegation that was ended, where nobody is asked',
    'delegation_revoked',
    () =>
      afterwards(async ({ delegation }) => act('DELETE', `/delegations/${delegation}`), {
        entitlement: { consent: 'admin' },
      }),
  ],
  [
    'a delegation for once that was used',
    'delegation_consumed',
    async () => {
      const story = await granted({}, { mode: 'once' })
      assert.equal((await story.exchange()).status, 200)
      return { story }
    },
  ],
  [
    'a scope beyond the delegation',
    'scope_not_delegated',
    async () => ({ story: await granted(), ...scope('docs.write') }),
  ],
  [
    'a resource beyond the delegation',
    'resource_not_delegated',
    async () => ({
      story: await granted({ audience: TWO_RESOURCES }, { resources: [FILES] }),
      ...resource(RESOURCE),
    }),
  ],
  [
    'claims beyond what the user saw',
    'claims_not_delegated',
    () =>
      afterwards(async ({ audience, delegation }) => {
        await setDelegation(delegation, { source: 'user' })
        await act('PATCH', `/audiences/${audience.id}`, { claims: ['email', 'name'] })
      }),
  ],
  [
    'details beyond the delegation',
    'details_not_delegated',
    async () => ({
      story: await granted(
        { audience: TWO_RESOURCES },
        { authorization_details: [{ type: 'payment', actions: ['list'] }] },
      ),
      ...details([{ type: 'payment', actions: ['pay'] }]),
    }),
  ],

  [
    'an old sign-in',
    'stale_authentication',
    async () => {
      const story = await granted({ audience: { max_auth_age: 600 } })
      const auth_time = house.clock.now.toISOString()
      house.wait(301)
      return { story, asked: { auth_time } }
    },
  ],
  [
    'an old sign-in, where the first mint asks nobody',
    'stale_authentication',
    async () => {
      const story = await undelegated({
        audience: { max_auth_age: 600 },
        entitlement: { consent: 'admin' },
      })
      const auth_time = house.clock.now.toISOString()
      house.wait(301)
      return { story, asked: { auth_time } }
    },
  ],
  [
    'a trusted issuer that is not believed in when',
    'stale_authentication',
    () => upstream({}, true, { audience: { max_auth_age: 600 } }),
  ],
  [
    'a weak sign-in',
    'weak_authentication',
    async () => ({ story: await granted({ audience: { acr_values: ['urn:mfa', 'urn:key'] } }) }),
  ],
  [
    'a sign-in that is weak and old',
    'weak_authentication',
    async () => {
      const story = await granted({ audience: { acr_values: ['urn:mfa'], max_auth_age: 600 } })
      const auth_time = house.clock.now.toISOString()
      house.wait(301)
      return { story, asked: { auth_time, acr: 'urn:pwd' } }
    },
  ],
  [
    'more details than an ID-JAG holds',
    'details_too_large',
    async () => {
      const large = [{ type: 'payment', identifier: 'x'.repeat(7000) }]
      const story = await granted({ audience: TWO_RESOURCES }, { authorization_details: PAYMENT })
      return { story, ...details(large) }
    },
  ],
  [
    'more scopes than an ID-JAG holds',
    'id_jag_too_large',
    async () => {
      const scopes = many(60, 120)
      const resources = [{ identifier: RESOURCE, scopes: scopes.map((name) => ({ name })) }]
      const story = await granted({ audience: { resources }, entitlement: { scopes } }, { scopes })
      return { story, ...scope(scopes.join(' ')) }
    },
  ],
]

/** Of what a token or a proof alone can show, or the moment; docs/operators.md says what is missing then. */
const NOT_BY_NAMES = [
  'credential_ended',
  'replayed_assertion',
  'client_metadata_unreadable',
  'too_many_requests',
  'bad_dpop_proof',
  'replayed_dpop_proof',
  'dpop_nonce_needed',
  'wrong_dpop_key',
  'subject_token_expired',
  'spent_refresh_token',
  'refresh_token_revoked',
  'upstream_unavailable',
  'replayed_actor_token',
  'kept_changing',
]

type Delegated = Story & { delegation: string }

/** What would be granted, until this was done. */
async function afterwards(
  change: (story: Delegated) => Promise<unknown>,
  options: Options = {},
): Promise<{ story: Story; delegation: string }> {
  const story = await tellStory(house, options)
  const { id: delegation } = await story.delegate()
  await story.signIn()
  house.wait(0.001)
  await change({ ...story, delegation })
  return { story, delegation }
}

async function endSession({ browser }: Story): Promise<void> {
  const page = await browser.get('/oauth2/logout')
  const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1]
  await browser.post('/oauth2/logout', { csrf })
}

/** What no door does to an agent once it may exchange. */
const setAgent = ({ id }: StoryAgent, changes: object) =>
  house.deps.db.updateTable('agents').set(changes).where('id', '=', id).execute()

/** As an earlier day left it. */
const setDelegation = (id: string, changes: object) =>
  house.deps.db.updateTable('delegations').set(changes).where('id', '=', id).execute()

for (const [what, reason, arrange] of EXAMPLES) {
  test(`explains ${what}: ${reason ?? 'granted'} (TX-60)`, async () => {
    const { story, sent, as, headers, asked } = await arrange()
    const explanation = await explained(house, {
      agent_id: story.agent.id,
      user_id: story.user.id,
      audience: story.audience.issuer,
      scope: 'docs.read',
      ...asked,
    })
    assert.equal(explanation.body.reason ?? null, reason, explanation.text)
    const verdict = await answered(house, () => story.exchange(sent, as, headers))
    // What is refused by its shape alone is not written down.
    const written = reason === 'malformed_request' ? { reason } : {}
    assert.deepEqual(verdictOf(explanation.body), { ...verdict, ...written })
    if (reason !== null && reason in CONDITIONS) {
      const { rule } = CONDITIONS[reason as keyof typeof CONDITIONS]
      assert.equal(explanation.body.missing[0].rule, rule)
    }
  })
}

test('every reason that the endpoint gives has an example here, or shows in tokens and proofs alone', () => {
  const shown = EXAMPLES.flatMap(([, reason]) => reason ?? [])
  const known = Object.keys(CONDITIONS)
  assert.deepEqual(
    known.filter((reason) => ![...shown, ...NOT_BY_NAMES].includes(reason)),
    [],
  )
  assert.deepEqual(
    NOT_BY_NAMES.filter((reason) => shown.includes(reason) || !known.includes(reason)),
    [],
  )
})

test('docs/refusals.md has every reason, with its code, what is missing, and a rule that is kept', () => {
  const rows = documented('refusals').filter((line) => line.startsWith('| `'))
  const expected = Object.entries(CONDITIONS).map(([reason, { missing, rule }]) => {
    const { code } = new Refusal(reason as keyof typeof CONDITIONS)
    return `| \`${reason}\` | \`${code}\` | ${missing} | ${rule} |`
  })
  assert.deepEqual(rows, expected)
  const claims = documented('protocol').map((line) => line.split(' | ')[0] ?? '')
  const rules = new Set(Object.values(CONDITIONS).map(({ rule }) => rule))
  assert.deepEqual(
    [...rules].filter((rule) => !claims.some((ids) => new RegExp(`\\b${rule}\\b`).test(ids))),
    [],
  )
})

const documented = (name: string): string[] =>
  readFileSync(join(import.meta.dirname, `../../docs/${name}.md`), 'utf8').split('\n')

test('a refusal names the record and the values that stand in the way', async () => {
  const story = await granted({
    audience: { acr_values: ['urn:mfa', 'urn:key'], max_auth_age: 600 },
  })
  const { agent, user, audience } = story
  const asked = { agent_id: agent.id, user_id: user.id, audience: audience.issuer }
  const missing = async (members: object) =>
    (await explained(house, { ...asked, ...members })).body.missing

  const entitled = await missing({ scope: 'docs.write', actor_id: undefined })
  assert.equal(entitled[0].rule, 'GR-04')
  assert.match(entitled[0].detail, /docs\.read/)

  const weak = await missing({ scope: 'docs.read', auth_time: soon(-301) })
  assert.deepEqual(
    weak.map(({ rule, record }: { rule: string; record: string }) => [rule, record]),
    [
      ['TX-50', audience.id],
      ['TX-50', audience.id],
    ],
  )
  assert.match(weak[0].detail, /urn:mfa urn:key/)
  assert.match(weak[1].detail, /300 seconds/)
  const { length } = await missing({ scope: 'docs.read', auth_time: soon(-301), acr: 'urn:key' })
  assert.equal(length, 1)

  const { id: block } = await act('POST', '/blocks', { agent_id: agent.id, reason: 'strange' })
  assert.equal((await missing({ scope: 'docs.read' }))[0].record, block)
  await act('DELETE', `/agents/${agent.id}/entitlements/${audience.id}`)
  assert.equal((await missing({ scope: 'docs.read' }))[0].record, audience.id)
  await act('POST', `/agents/${agent.id}/suspend`, {})
  assert.equal((await missing({ scope: 'docs.read' }))[0].record, agent.id)
})

test('what would be granted says what it rests on and what would be told', async () => {
  const story = await tellStory(house, { audience: { claims: ['email'] } })
  const { id } = await story.delegate()
  const { agent, user, audience } = story
  const asked = { agent_id: agent.id, user_id: user.id, audience: audience.issuer }
  const { body } = await explained(house, asked)
  assert.deepEqual(body, { granted: true, claims: ['email'], delegation_id: id, missing: [] })

  const other = await tellStory(house, { entitlement: { consent: 'admin' } })
  const first = await explained(house, {
    agent_id: other.agent.id,
    user_id: other.user.id,
    audience: other.audience.issuer,
    scope: 'docs.write',
    auth_time: null,
  })
  assert.deepEqual(first.body, {
    granted: true,
    scope: 'docs.write',
    claims: [],
    delegation_id: null,
    missing: [],
  })
})

test('a question that is none is refused, and says where', async () => {
  const asked = { agent_id: 'agt_x', user_id: 'usr_x', audience: 'https://a.example' }
  const ask = (members: object) => house.admin('POST', '/explain', { ...asked, ...members })
  for (const [members, pointer] of [
    [{ agent_id: undefined }, '/agent_id'],
    [{ user_id: '' }, '/user_id'],
    [{ audience: [] }, '/audience'],
    [{ scope: '' }, '/scope'],
    [{ session: 'over' }, '/session'],
    [{ dpop: 'yes' }, '/dpop'],
    [{ auth_time: 'yesterday' }, '/auth_time'],
    [{ auth_time: '2026-06-30T23:59:60Z' }, '/auth_time'],
    [{ subject_token: 'x' }, '/subject_token'],
    [{ authorization_details: [{ type: 'x'.repeat(16_384) }] }, '/authorization_details'],
  ] as const) {
    assertRefused(await ask(members), 422, 'validation_failed', pointer)
  }
  assertRefused(await house.admin('GET', '/explain'), 405, 'method_not_allowed')
})

test('an administrator needs delegations:read', async () => {
  const asked = { agent_id: 'agt_x', user_id: 'usr_x', audience: 'https://a.example' }
  const ask = async (scopes: string[]) => {
    const { key } = await act('POST', '/admin-keys', { name: 'x', scopes, expires_at: soon(60) })
    return house.admin('POST', '/explain', asked, { authorization: `Bearer ${key}` })
  }
  const others = ['delegations:write', 'agents:read', 'users:read', 'audit:read']
  assertRefused(await ask(others), 403, 'insufficient_scope')
  assert.equal((await ask(['delegations:read'])).body.reason, 'unknown_client')
})

test('the size of an ID-JAG is reckoned as it would be signed (IJ-17)', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...SIGNING_ALGS),
      fc.dictionary(fc.string(), fc.string()),
      async (alg, claims) => {
        const { jws } = await house.deps.keys.sign('id_jag', alg, TYP.idJag, claims)
        assert.equal(sizeOfIdJag(alg, claims), jws.length)
      },
    ),
  )
})

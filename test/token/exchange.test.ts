import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import { openHouse } from '../support/house.ts'
import { entitle, newUser, RESOURCE, tellStory } from '../support/story.ts'

const house = await openHouse({ after })
const { issuer } = house.config
const story = await tellStory(house)
await story.delegate()

const idJagOf = (answer: { status: number; text: string; body: { access_token: string } }) => {
  assert.equal(answer.status, 200, answer.text)
  return decodeJwt(answer.body.access_token) as Record<string, unknown>
}

test('an ID token goes in and an ID-JAG comes out (TV-50, TX-40, TX-41, TX-43, IJ-01, IJ-03, IJ-08)', async () => {
  const answer = await story.exchange({ resource: RESOURCE })
  assert.equal(answer.status, 200, answer.text)
  const { access_token, ...others } = answer.body
  assert.deepEqual(others, {
    issued_token_type: 'urn:ietf:params:oauth:token-type:id-jag',
    token_type: 'N_A',
    expires_in: 300,
    scope: 'docs.read',
    resource: RESOURCE,
  })
  assert.equal(answer.headers['cache-control'], 'no-store')
  assert.equal(answer.headers.pragma, 'no-cache')
  assert.match(String(answer.headers['content-type']), /^application\/json/)

  const jwks = (await house.inject({ method: 'GET', url: '/.well-known/jwks.json' })).body
  const { payload, protectedHeader } = await jwtVerify(access_token, createLocalJWKSet(jwks), {
    issuer,
    audience: story.audience.issuer,
    typ: 'oauth-id-jag+jwt',
    algorithms: ['ES256'],
    currentDate: house.clock.now,
  })
  assert.equal(protectedHeader.typ, 'oauth-id-jag+jwt')
  assert.ok(jwks.keys.some(({ kid }: { kid: string }) => kid === protectedHeader.kid))
  const now = Math.floor(house.clock.now.getTime() / 1000)
  const { jti, auth_time, ...claims } = payload
  assert.deepEqual(claims, {
    iss: issuer,
    sub: story.user.id,
    aud: story.audience.issuer,
    client_id: 'client-at-paperclip',
    iat: now,
    exp: now + 300,
    amr: ['pwd'],
    resource: RESOURCE,
    scope: 'docs.read',
  })
  // Twelve digits of the time, then 128 random bits.
  assert.match(String(jti), /^[0-9a-f]{12}[A-Za-z0-9_-]{22}$/)
  assert.ok(Number.isInteger(auth_time) && Number(auth_time) <= now)
})

test('two successes in a row have different jti (TV-84, FL-04, IJ-06)', async () => {
  const [first, second] = [idJagOf(await story.exchange()), idJagOf(await story.exchange())]
  assert.notEqual(first.jti, second.jti)
})

test('an issuance is recorded for each ID-JAG that leaves (rule 1, FL-06)', async () => {
  const { jti } = idJagOf(await story.exchange({ resource: RESOURCE }))
  const row = await house.deps.db
    .selectFrom('issuances')
    .selectAll()
    .where('jti', '=', String(jti))
    .executeTakeFirstOrThrow()
  assert.equal(row.agent_id, story.agent.id)
  assert.equal(row.user_id, story.user.id)
  assert.equal(row.audience_id, story.audience.id)
  assert.equal(row.owner_id, story.owner.id)
  assert.deepEqual(row.scopes, ['docs.read'])
  assert.deepEqual(row.resources, [RESOURCE])
})

test('the audience with one trailing slash more is found, and aud is the registered one (TV-54, TX-05)', async () => {
  const claims = idJagOf(await story.exchange({ audience: `${story.audience.issuer}/` }))
  assert.equal(claims.aud, story.audience.issuer)
})

test('an audience registered with its slash is found without it', async () => {
  const other = await tellStory(house, { audience: { issuer: 'https://slash.paperclip.example/' } })
  await other.delegate()
  const claims = idJagOf(await other.exchange({ audience: 'https://slash.paperclip.example' }))
  assert.equal(claims.aud, 'https://slash.paperclip.example/')
})

test('an audience with a path is found by exactly its own name (IJ-05)', async () => {
  const other = await tellStory(house, {
    audience: { issuer: 'https://path.paperclip.example/as' },
  })
  await other.delegate()
  idJagOf(await other.exchange())
  const slash = await other.exchange({ audience: 'https://path.paperclip.example/as/' })
  assert.equal(slash.body.error, 'invalid_target')
})

test('two resources of one relying app are carried as a list (TV-56, TX-43)', async () => {
  const resources = ['https://one.paperclip.example/', 'https://two.paperclip.example/']
  const other = await tellStory(house, {
    audience: {
      resources: resources.map((identifier) => ({
        identifier,
        scopes: [{ name: 'docs.read' }, { name: 'docs.write' }],
      })),
    },
  })
  await other.delegate()
  const answer = await other.exchange({ resource: resources })
  assert.deepEqual(idJagOf(answer).resource, resources)
  assert.deepEqual(answer.body.resource, resources)
})

test('scopes are narrowed to what was delegated, in the claim and in the answer (TV-57)', async () => {
  const answer = await story.exchange({ scope: 'docs.read docs.write admin' })
  assert.equal(idJagOf(answer).scope, 'docs.read')
  assert.equal(answer.body.scope, 'docs.read')
})

test('claims come from the database, whatever the form says (TV-82, TX-20)', async () => {
  const claims = idJagOf(
    await story.exchange({
      sub: 'usr_evil',
      email: 'evil@evil.example',
      act: '{"sub":"evil"}',
      auth_time: '1',
      tenant: 'evil',
      acr: 'evil',
      amr: 'evil',
    }),
  )
  assert.equal(claims.sub, story.user.id)
  for (const name of ['email', 'act', 'tenant', 'acr']) assert.equal(claims[name], undefined)
  assert.deepEqual(claims.amr, ['pwd'])
})

test('an ID-JAG for an auth.md app names the provider and the verified contact (IJ-07, IJ-42)', async () => {
  const other = await tellStory(house, {
    audience: { profile: 'authmd-0.2' },
    entitlement: { client_id: undefined },
  })
  await other.delegate()
  const claims = idJagOf(
    await other.exchange({ agent_platform: 'orbit', agent_context_id: 'run_0192' }),
  )
  assert.equal(claims.client_id, `${issuer}/agent-provider.json`)
  assert.equal(claims.email, other.user.email)
  assert.equal(claims.email_verified, true)
  assert.equal(claims.agent_platform, 'orbit')
  assert.equal(claims.agent_context_id, 'run_0192')
  assert.equal(claims.phone_number, undefined)
})

test('a user without a verified contact is not asserted to an auth.md app, and is to a plain one (TV-74, TV-75)', async () => {
  const unverified = { email_verified: false }
  const authMd = await tellStory(house, { user: unverified, audience: { profile: 'authmd-0.2' } })
  await authMd.delegate()
  const refused = await authMd.exchange()
  assert.equal(refused.status, 400)
  assert.equal(refused.body.error, 'access_denied')
  assert.match(refused.body.error_description, /verified_contact_required/)

  const plain = await tellStory(house, {
    user: unverified,
    audience: { claims: ['email', 'name'] },
  })
  await plain.delegate()
  const claims = idJagOf(await plain.exchange())
  assert.equal(claims.email, undefined)
  assert.equal(claims.name, 'Kim')
})

test('a plain audience gets the claims it asks for and no other (IJ-09)', async () => {
  const other = await tellStory(house, {
    user: { phone_number: '+33612345678', phone_number_verified: true },
    audience: { claims: ['phone', 'tenant', 'act'] },
  })
  await other.delegate()
  const claims = idJagOf(await other.exchange())
  assert.equal(claims.phone_number, '+33612345678')
  assert.equal(claims.tenant, 'ten_AAAAAAAAAAAAAAAAAAAAAA')
  assert.deepEqual(claims.act, { sub: other.agent.id })
  assert.equal(claims.email, undefined)
  assert.equal(claims.name, undefined)
})

test('a plain audience that knows users by their address is told it, and nothing of a flag (IJ-10)', async () => {
  const other = await tellStory(house, { audience: { claims: ['email'] } })
  await other.delegate()
  const claims = idJagOf(await other.exchange())
  assert.equal(claims.email, other.user.email)
  for (const name of ['email_verified', 'phone_number', 'name']) {
    assert.equal(claims[name], undefined)
  }
})

test('the signing algorithm and the lifetime are those of the audience (IJ-02, IJ-04)', async () => {
  const other = await tellStory(house, {
    audience: { id_jag_signing_alg: 'RS256', id_jag_lifetime: 60 },
  })
  await other.delegate()
  const answer = await other.exchange()
  const claims = idJagOf(answer)
  assert.equal(decodeProtectedHeader(answer.body.access_token).alg, 'RS256')
  assert.equal(Number(claims.exp) - Number(claims.iat), 60)
  assert.equal(answer.body.expires_in, 60)
})

test('an MCP audience needs a resource, or a default one (OQ-07)', async () => {
  const strict = await tellStory(house, { audience: { profile: 'mcp-ema' } })
  await strict.delegate()
  assert.equal((await strict.exchange()).body.error, 'invalid_target')
  assert.equal(idJagOf(await strict.exchange({ resource: RESOURCE })).resource, RESOURCE)

  const lenient = await tellStory(house, {
    audience: { profile: 'mcp-ema', default_resources: [RESOURCE] },
  })
  await lenient.delegate()
  assert.equal(idJagOf(await lenient.exchange()).resource, RESOURCE)
})

test('default scopes stand in for a missing scope; without them there is no scope claim (TX-13)', async () => {
  const withDefaults = await tellStory(house, { audience: { default_scopes: ['docs.read'] } })
  await withDefaults.delegate()
  assert.equal(idJagOf(await withDefaults.exchange({ scope: undefined })).scope, 'docs.read')
  assert.equal(idJagOf(await story.exchange({ scope: undefined })).scope, undefined)
})

test('a refresh token is a subject too, and is not spent by it (TV-63, TX-27)', async () => {
  const { refresh_token } = await story.signIn()
  const subject = {
    subject_token: refresh_token,
    subject_token_type: 'urn:ietf:params:oauth:token-type:refresh_token',
  }
  const answer = await story.exchange(subject)
  assert.equal(idJagOf(answer).sub, story.user.id)
  assert.equal(answer.body.refresh_token, undefined)
  idJagOf(await story.exchange(subject))
})

test('the name of an inactive client never makes a record of another tenant', async () => {
  const tenant = (await house.admin('POST', '/tenants', { name: 'Other' })).body
  const stranger = await newUser(house, { tenant_id: tenant.id })
  const { status } = await house.admin('POST', '/delegations', {
    user_id: stranger.id,
    agent_id: story.agent.id,
    audience_id: story.audience.id,
    scopes: ['docs.read'],
    mode: 'always',
  })
  assert.equal(status, 422)
})

test('a consent to everything reaches what the agent is admitted to at the time, and no more', async () => {
  const files = 'https://files.paperclip.example/'
  const other = await tellStory(house, {
    audience: {
      resources: [RESOURCE, files].map((identifier) => ({
        identifier,
        scopes: [{ name: 'docs.read' }, { name: 'docs.write' }],
      })),
    },
  })
  const admitTo = (resources?: string[]) =>
    entitle(house, other.agent, other.audience, { resources })
  await other.signIn()
  const { body } = await other.exchange()
  const page = await other.browser.get(new URL(body.interaction_uri).pathname)
  assert.match(page.text, /everything of Paperclip that the agent is admitted to, now or later/)
  const choice = { decision: 'allow', mode: 'always', scope: 'docs.read' }
  assert.equal((await other.browser.submit(page, choice)).status, 200)

  assert.equal(idJagOf(await other.exchange()).resource, undefined)
  await admitTo([files])
  assert.equal(idJagOf(await other.exchange()).resource, files)
  assert.equal((await other.exchange({ resource: RESOURCE })).body.error, 'invalid_target')
  await admitTo()
  assert.equal(idJagOf(await other.exchange({ resource: RESOURCE })).resource, RESOURCE)
})

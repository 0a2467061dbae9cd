import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, test } from 'node:test'
import { decodeJwt, generateKeyPair, SignJWT } from 'jose'
import { CLIENT_ASSERTION_TYPE, GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import { authorize, authorizeUrl, browser, redirected, signIn } from '../support/browser.ts'
import { type Answer, type Form, openHouse } from '../support/house.ts'
import { assertOAuthError, assertRefusal, refusalsSince } from '../support/refusals.ts'
import {
  clientAssertion,
  clientAuthentication,
  entitle,
  newAgent,
  newAudience,
  newUser,
  RESOURCE,
  type Story,
  type StoryAgent,
  tellStory,
} from '../support/story.ts'

const DAY = 86_400
const house = await openHouse({ after }, { SESSION_LIFETIME: String(20 * DAY) })
const { issuer } = house.config

const INVALID_REQUEST = [400, 'invalid_request', null] as const
const invalidClient = (reason: string) => [401, 'invalid_client', reason] as const
const unauthorized = (reason: string) => [400, 'unauthorized_client', reason] as const
const invalidGrant = (reason: string) => [400, 'invalid_grant', reason] as const
const invalidTarget = (reason: string) => [400, 'invalid_target', reason] as const
const invalidScope = (reason: string) => [400, 'invalid_scope', reason] as const
const interaction = (reason: string) => [400, 'interaction_required', reason] as const

/** A story with its delegation and a session, in which everything would be granted. */
async function granted(options: Parameters<typeof tellStory>[1] = {}): Promise<Story> {
  const story = await tellStory(house, options)
  await story.delegate()
  await story.signIn()
  return story
}

async function act(method: string, path: string, body?: unknown): Promise<Answer> {
  const answer = await house.admin(method, path, body)
  assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${answer.text}`)
  return answer
}

const common = await granted()

// Shape: said before anybody is known, and not written down.

for (const name of ['audience', 'requested_token_type', 'subject_token_type', 'subject_token']) {
  test(`refuses a request without ${name}, or with an empty one, and names it (TV-51, TX-02)`, async () => {
    for (const value of [undefined, '']) {
      const answer = await assertRefusal(
        house,
        () => common.exchange({ [name]: value }),
        INVALID_REQUEST,
      )
      assert.equal(answer.body.error_description, `${name} is missing`)
    }
  })
}

for (const type of [
  TOKEN_TYPE.accessToken,
  TOKEN_TYPE.refreshToken,
  TOKEN_TYPE.idToken,
  'urn:ietf:params:oauth:token-type:jwt',
  'urn:ietf:params:oauth:token-type:saml2',
  'id-jag',
]) {
  test(`issues no ${type} (TV-52)`, async () => {
    const answer = await assertRefusal(
      house,
      () => common.exchange({ requested_token_type: type }),
      INVALID_REQUEST,
    )
    assert.match(answer.body.error_description, /^requested_token_type: /)
  })
}

for (const type of [
  TOKEN_TYPE.accessToken,
  TOKEN_TYPE.idJag,
  'urn:ietf:params:oauth:token-type:jwt',
  'urn:ietf:params:oauth:token-type:saml2',
  'urn:ietf:params:oauth:token-type:saml1',
  'id_token',
]) {
  test(`takes no ${type} as subject token, whatever it holds (TX-29, TX-30, SM-01)`, async () => {
    const { access_token } = await common.signIn()
    for (const subject_token of [undefined, access_token]) {
      const answer = await assertRefusal(
        house,
        () =>
          common.exchange({ subject_token_type: type, ...(subject_token && { subject_token }) }),
        INVALID_REQUEST,
      )
      assert.match(answer.body.error_description, /^subject_token_type: /)
    }
  })
}

for (const name of [
  'grant_type',
  'requested_token_type',
  'subject_token',
  'subject_token_type',
  'scope',
  'client_assertion',
  'client_assertion_type',
  'client_id',
]) {
  test(`refuses ${name} sent twice (TV-59, TX-03)`, async () => {
    const twice = ['docs.read', 'docs.read']
    const answer = await assertRefusal(
      house,
      () => common.exchange({ [name]: twice }),
      INVALID_REQUEST,
    )
    assert.equal(answer.body.error_description, `${name} is repeated`)
  })
}

test('a repeated audience that is one and the same is one audience (TX-03, TX-04)', async () => {
  const { issuer: audience } = common.audience
  assert.equal((await common.exchange({ audience: [audience, audience] })).status, 200)
})

test('refuses a body that is JSON, another type or none (TV-83, TX-01, TX-40)', async () => {
  const post = (headers: Record<string, string>, payload?: string) =>
    house.inject({ method: 'POST', url: '/oauth2/token', headers, ...(payload && { payload }) })
  const json = JSON.stringify({ grant_type: GRANT.tokenExchange })
  for (const request of [
    () => post({ 'content-type': 'application/json' }, json),
    () => post({ 'content-type': 'text/plain' }, 'grant_type=x'),
    () => post({ 'content-type': 'multipart/form-data; boundary=x' }, '--x--'),
    () => post({}),
    () => post({ 'content-type': 'application/x-www-form-urlencoded' }),
  ]) {
    await assertRefusal(house, request, INVALID_REQUEST)
  }
})

for (const method of ['GET', 'PUT', 'PATCH', 'DELETE'] as const) {
  test(`answers ${method} at the token endpoint with 405 (TV-83, TX-01)`, async () => {
    const answer = await assertRefusal(
      house,
      () => house.inject({ method, url: '/oauth2/token' }),
      [405, 'invalid_request', null],
    )
    assert.equal(answer.headers.allow, 'POST')
  })
}

test('knows four grants and says of any other that it does not', async () => {
  for (const grant_type of ['password', 'implicit', 'urn:ietf:params:oauth:grant-type']) {
    const answer = await assertRefusal(house, () => common.exchange({ grant_type }), [
      400,
      'unsupported_grant_type',
      null,
    ])
    assert.match(answer.body.error_description, /client_credentials/)
  }
  await assertRefusal(house, () => common.exchange({ grant_type: undefined }), INVALID_REQUEST)
})

for (const [name, value] of [
  ['actor_token', 'a.b.c'],
  ['actor_token_type', 'urn:ietf:params:oauth:token-type:jwt'],
] as const) {
  test(`refuses ${name} alone by name rather than ignoring it (TV-80, TX-19)`, async () => {
    const answer = await assertRefusal(
      house,
      () => common.exchange({ [name]: value }),
      INVALID_REQUEST,
    )
    assert.equal(answer.body.error_description, 'actor_token and actor_token_type go together')
  })
}

test('refuses an actor token of another type than a JWT (TX-19)', async () => {
  const actor = { actor_token: 'a.b.c', actor_token_type: TOKEN_TYPE.idToken }
  await assertRefusal(house, () => common.exchange(actor), INVALID_REQUEST)
})

test('refuses an actor token of a client for which nobody may act (TV-80, TX-19)', async () => {
  const actor = { actor_token: 'a.b.c', actor_token_type: TOKEN_TYPE.jwt }
  await assertRefusal(house, () => common.exchange(actor), [
    400,
    'invalid_request',
    'actor_tokens_off',
  ])
})

for (const [value, reason] of [
  ['{}', 'details_malformed'],
  ['[{"type":"payment"}]', 'details_unknown_type'],
]) {
  test(`refuses authorization_details=${value} (TV-81, TX-15)`, async () => {
    await assertRefusal(house, () => common.exchange({ authorization_details: value }), [
      400,
      'invalid_authorization_details',
      reason as string,
    ])
  })
}

// The client, and whether it may use this grant.

test('an unknown agent is not authenticated', async () => {
  const stranger = { ...common.agent, client_id: 'agt_unknown' }
  const answer = await assertRefusal(
    house,
    () => common.exchange({}, stranger),
    invalidClient('unknown_client'),
  )
  assert.equal(answer.headers['www-authenticate'], undefined)
})

test('a retired agent is not authenticated any more', async () => {
  const story = await granted()
  await act('POST', `/agents/${story.agent.id}/retire`, {})
  await assertRefusal(house, () => story.exchange(), invalidClient('agent_retired'))
})

test('an ended credential proves nothing any more', async () => {
  const story = await granted()
  await act('DELETE', `/agents/${story.agent.id}/credentials/${story.agent.credential_id}`)
  await assertRefusal(house, () => story.exchange(), invalidClient('bad_credentials'))
})

test('an ended secret proves nothing any more', async () => {
  const story = await granted({ agent: { token_endpoint_auth_method: 'client_secret_post' } })
  await act('DELETE', `/agents/${story.agent.id}/credentials/${story.agent.credential_id}`)
  await assertRefusal(house, () => story.exchange(), invalidClient('bad_credentials'))
})

test('a suspended agent may not exchange, and is told so', async () => {
  const story = await granted()
  await act('POST', `/agents/${story.agent.id}/suspend`, {})
  const refusal = unauthorized('agent_suspended')
  const answer = await assertRefusal(house, () => story.exchange(), refusal)
  assert.match(answer.body.error_description, /suspended/)
})

test('an agent past its end may not exchange, and is told so', async () => {
  const expires_at = new Date(house.clock.now.getTime() + 100_000).toISOString()
  const story = await granted({ agent: { expires_at } })
  assert.equal((await story.exchange()).status, 200)
  house.wait(99.999) // The last millisecond passes with the request.
  const refusal = unauthorized('agent_expired')
  const answer = await assertRefusal(house, () => story.exchange(), refusal)
  assert.match(answer.body.error_description, /past its end/)
})

for (const status of ['suspended', 'deleted']) {
  test(`an agent whose owner is ${status} may not exchange, and is told so`, async () => {
    const story = await granted()
    await act('PATCH', `/users/${story.owner.id}`, { status })
    const refusal = unauthorized('owner_inactive')
    const answer = await assertRefusal(house, () => story.exchange(), refusal)
    assert.match(answer.body.error_description, /owner/)
  })
}

test('a client without the grant may not exchange (TV-67, CA-06)', async () => {
  const story = await granted({ agent: { grant_types: [GRANT.authorizationCode] } })
  const refusal = unauthorized('grant_not_allowed')
  const answer = await assertRefusal(house, () => story.exchange(), refusal)
  assert.match(answer.body.error_description, /grant type/)
})

test('an agent is told that client_credentials is not for it, once it has proved to be one (TV-67)', async () => {
  const grant_type = 'client_credentials'
  const refused = () => common.exchange({ grant_type })
  const answer = await assertRefusal(house, refused, unauthorized('grant_not_allowed'))
  assert.match(answer.body.error_description, /receivers of Shared Signals/)
  const unproved = await common.exchange({ grant_type, client_assertion: 'a.b.c' })
  assertOAuthError(unproved, 401, 'invalid_client')
})

test('a grant taken away later is not there any more (CA-06)', async () => {
  const story = await granted()
  await act('PATCH', `/agents/${story.agent.id}`, { grant_types: [GRANT.authorizationCode] })
  await assertRefusal(house, () => story.exchange(), unauthorized('grant_not_allowed'))
})

test('a public client may not exchange (TV-67, FL-05)', async () => {
  const story = await granted({ agent: { token_endpoint_auth_method: 'none' } })
  await assertRefusal(house, () => story.exchange(), unauthorized('grant_not_allowed'))
})

test('a suspended tenant stops its agents', async () => {
  const { body: tenant } = await act('POST', '/tenants', { name: 'Orbit' })
  const owner = await newUser(house, { tenant_id: tenant.id })
  const agent = await newAgent(house, owner, { tenant_id: tenant.id })
  await act('PATCH', `/tenants/${tenant.id}`, { status: 'suspended' })
  await assertRefusal(house, () => common.exchange({}, agent), unauthorized('tenant_suspended'))
  await act('PATCH', `/tenants/${tenant.id}`, { status: 'active' })
  const refusal = invalidGrant('wrong_subject_audience')
  await assertRefusal(house, () => common.exchange({}, agent), refusal)
})

// The subject token.

test('refuses an ID token issued to another client (TV-61, TX-22)', async () => {
  const other = await newAgent(house, common.owner)
  await entitle(house, other, common.audience)
  await common.delegate({ agent_id: other.id })
  await assertRefusal(
    house,
    () => common.exchange({}, other),
    invalidGrant('wrong_subject_audience'),
  )
})

test('refuses an ID token of another issuer (TV-61, TX-21)', async () => {
  const { id_token } = await common.signIn()
  const { privateKey } = await generateKeyPair('ES256')
  for (const [iss, reason] of [
    ['https://other.example', 'issuer_not_trusted'],
    [issuer, 'bad_subject_token'],
  ] as const) {
    const subject_token = await new SignJWT({ ...decodeJwt(id_token), iss })
      .setProtectedHeader({ alg: 'ES256', kid: 'theirs', typ: 'JWT' })
      .sign(privateKey)
    await assertRefusal(house, () => common.exchange({ subject_token }), invalidGrant(reason))
  }
})

test('refuses an ID token from the second it expires (TV-61, TX-21)', async () => {
  const story = await granted()
  house.wait(599)
  assert.equal((await story.exchange()).status, 200)
  house.wait(1)
  await assertRefusal(house, () => story.exchange(), invalidGrant('subject_token_expired'))
})

const subjectsOf = async (story: Story): Promise<[string, Form][]> => {
  const { id_token, refresh_token } = await story.signIn()
  return [
    ['an ID token', { subject_token: id_token, subject_token_type: TOKEN_TYPE.idToken }],
    [
      'a refresh token',
      { subject_token: refresh_token, subject_token_type: TOKEN_TYPE.refreshToken },
    ],
  ]
}

for (const [what, end, reason] of [
  [
    'whose session ended by signing out',
    async ({ browser }) => {
      const page = await browser.get('/oauth2/logout')
      const form = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1]
      await browser.post('/oauth2/logout', { csrf: form })
    },
    'session_ended',
  ],
  [
    'whose user has a new password',
    ({ user }) => act('PATCH', `/users/${user.id}`, { password: 'another horse, another staple' }),
    'session_ended',
  ],
  [
    'whose user is suspended',
    ({ user }) => act('PATCH', `/users/${user.id}`, { status: 'suspended' }),
    'user_inactive',
  ],
  [
    'whose user is deleted',
    ({ user }) => act('PATCH', `/users/${user.id}`, { status: 'deleted' }),
    'user_inactive',
  ],
  [
    'of a user who was suspended and is active again',
    async ({ user }) => {
      await act('PATCH', `/users/${user.id}`, { status: 'suspended' })
      await act('PATCH', `/users/${user.id}`, { status: 'active' })
    },
    'session_ended',
  ],
  [
    'of a user whose access was revoked',
    ({ user }) => act('POST', '/revocations', { user_id: user.id, reason: 'lost laptop' }),
    'session_ended',
  ],
  [
    'of an agent whose access was revoked',
    ({ agent }) => act('POST', '/revocations', { agent_id: agent.id, reason: 'strange' }),
    'refresh_token_revoked',
  ],
] as [string, (story: Story) => Promise<unknown>, string][]) {
  test(`refuses an ID token and a refresh token ${what} (TV-61, TX-24, TX-26)`, async () => {
    const story = await granted()
    const subjects = await subjectsOf(story)
    await end(story)
    for (const [, subject] of subjects) {
      await assertRefusal(house, () => story.exchange(subject), invalidGrant(reason))
    }
  })
}

test('refuses what is no refresh token of this client (TX-26)', async () => {
  const story = await granted()
  const theirs = (await story.signIn()).refresh_token
  for (const subject_token of ['unknown', theirs, (await common.signIn()).id_token]) {
    const subject = { subject_token, subject_token_type: TOKEN_TYPE.refreshToken }
    await assertRefusal(house, () => common.exchange(subject), invalidGrant('bad_subject_token'))
  }
  const subject = { subject_token: theirs, subject_token_type: TOKEN_TYPE.refreshToken }
  assert.equal((await story.exchange(subject)).status, 200)
})

async function refreshed({ agent }: Story, refresh_token: string) {
  const answer = await house.form('/oauth2/token', {
    grant_type: GRANT.refreshToken,
    refresh_token,
    ...(await clientAuthentication(house, agent)),
  })
  assert.equal(answer.status, 200, answer.text)
  return answer.body as { id_token: string; refresh_token: string }
}

test('a spent refresh token is refused and ends its family (TV-62, TX-27)', async () => {
  const story = await granted()
  const first = await story.signIn()
  const second = await refreshed(story, first.refresh_token)
  const by = (subject_token: string) => () =>
    story.exchange({ subject_token, subject_token_type: TOKEN_TYPE.refreshToken })
  assert.equal((await by(second.refresh_token)()).status, 200)

  house.wait(1)
  const from = house.clock.now
  assertOAuthError(await by(first.refresh_token)(), 400, 'invalid_grant')
  assert.deepEqual(
    (await refusalsSince(house, from)).map(({ reason }) => reason),
    ['spent_refresh_token'],
  )
  const events = await house.admin(
    'GET',
    `/audit-events?type=refresh_token.reused&agent_id=${story.agent.id}`,
  )
  assert.equal(events.body.data.length, 1)
  for (const request of [
    by(second.refresh_token),
    by(first.refresh_token),
    () => story.exchange({ subject_token: second.id_token }),
  ]) {
    await assertRefusal(house, request, invalidGrant('refresh_token_revoked'))
  }
})

test('whoever replays a client assertion cannot end a family with it (rule 6)', async () => {
  const story = await granted()
  const first = await story.signIn()
  const second = await refreshed(story, first.refresh_token)
  const replayed = {
    client_assertion_type: CLIENT_ASSERTION_TYPE,
    client_assertion: await clientAssertion(house, story.agent),
  }
  assert.equal((await story.exchange(replayed)).status, 200)
  const spent = {
    subject_token: first.refresh_token,
    subject_token_type: TOKEN_TYPE.refreshToken,
    ...replayed,
  }
  await assertRefusal(house, () => story.exchange(spent), invalidClient('replayed_assertion'))
  await refreshed(story, second.refresh_token)
})

test('whoever replays a client assertion opens no question with it (rule 6)', async () => {
  const story = await granted()
  const replayed = {
    client_assertion_type: CLIENT_ASSERTION_TYPE,
    client_assertion: await clientAssertion(house, story.agent),
  }
  assert.equal((await story.exchange(replayed)).status, 200)
  const question = { scope: 'docs.write' }
  const refusal = invalidClient('replayed_assertion')
  await assertRefusal(house, () => story.exchange({ ...question, ...replayed }), refusal)
  house.wait(60)
  const { body } = await story.exchange(question)
  assert.equal(body.expires_in, 600, 'the question is a new one')
})

test('whoever replays a client assertion makes no policy delegation with it (rule 6)', async () => {
  const story = await tellStory(house, { entitlement: { consent: 'admin' } })
  await story.signIn()
  const replayed = {
    client_assertion_type: CLIENT_ASSERTION_TYPE,
    client_assertion: await clientAssertion(house, story.agent),
  }
  const wrong = { scope: 'admin', ...replayed }
  await assertRefusal(house, () => story.exchange(wrong), invalidScope('scope_not_in_catalogue'))
  const refusal = invalidClient('replayed_assertion')
  await assertRefusal(house, () => story.exchange(replayed), refusal)
  assert.deepEqual(await delegationsOf(story), [])
  assert.equal((await story.exchange()).status, 200)
})

// The target: one wording for whatever is wrong with it.

const TARGETS: [string, string, () => Promise<() => Promise<Answer>>][] = [
  [
    'two different audiences (TV-53, TX-04)',
    'several_audiences',
    async () => () =>
      common.exchange({ audience: [common.audience.issuer, 'https://other.example'] }),
  ],
  [
    'an audience nobody knows (TV-53, TX-07)',
    'unknown_audience',
    async () => () => common.exchange({ audience: 'https://unknown.example' }),
  ],
  [
    'our own issuer (TV-53, TX-07, FL-02)',
    'unknown_audience',
    async () => () => common.exchange({ audience: issuer }),
  ],
  [
    'an audience in other letters (IJ-05)',
    'unknown_audience',
    async () => () => common.exchange({ audience: common.audience.issuer.toUpperCase() }),
  ],
  [
    'an audience by its id instead of its issuer',
    'unknown_audience',
    async () => () => common.exchange({ audience: common.audience.id }),
  ],
  [
    'an audience of another tenant',
    'unknown_audience',
    async () => {
      const { body } = await act('POST', '/tenants', { name: randomUUID() })
      const theirs = { issuer: `https://${randomUUID()}.example`, tenant_id: body.id }
      await newAudience(house, theirs)
      return () => common.exchange({ audience: theirs.issuer })
    },
  ],
  [
    'a suspended audience',
    'audience_inactive',
    async () => {
      const story = await granted()
      await act('POST', `/audiences/${story.audience.id}/suspend`, {})
      return story.exchange
    },
  ],
  [
    'a retired audience',
    'unknown_audience',
    async () => {
      const story = await granted()
      await act('POST', `/audiences/${story.audience.id}/retire`, {})
      return story.exchange
    },
  ],
  [
    'an audience that the agent has no entitlement for',
    'no_entitlement',
    async () => {
      const story = await tellStory(house, { entitlement: null })
      await story.signIn()
      return story.exchange
    },
  ],
  [
    'an audience whose entitlement was ended',
    'no_entitlement',
    async () => {
      const story = await granted()
      await act('DELETE', `/agents/${story.agent.id}/entitlements/${story.audience.id}`)
      return story.exchange
    },
  ],
  [
    'an audience whose entitlement has run out',
    'no_entitlement',
    async () => {
      const expires_at = new Date(house.clock.now.getTime() + 60_000).toISOString()
      const story = await granted({ entitlement: { expires_at } })
      assert.equal((await story.exchange()).status, 200)
      house.wait(59.999)
      return story.exchange
    },
  ],
  [
    'an audience that does not know the agent by a client_id (TV-85, IJ-41)',
    'no_client_mapping',
    async () => {
      const story = await granted({ entitlement: { client_id: null } })
      return story.exchange
    },
  ],
  [
    'a relative resource (TV-55, TX-08)',
    'resource_not_registered',
    async () => () => common.exchange({ resource: '/docs' }),
  ],
  [
    'a resource with a fragment (TV-55, TX-08)',
    'resource_not_registered',
    async () => () => common.exchange({ resource: `${RESOURCE}#x` }),
  ],
  [
    'a resource of another relying app (TV-55, TX-09)',
    'resource_not_registered',
    async () => () => common.exchange({ resource: 'https://api.other.example/' }),
  ],
  [
    'one resource of the relying app and one of another (TX-09)',
    'resource_not_registered',
    async () => () => common.exchange({ resource: [RESOURCE, 'https://api.other.example/'] }),
  ],
  [
    'a resource beyond the entitlement',
    'resource_not_entitled',
    async () => {
      const files = 'https://files.paperclip.example/'
      const story = await granted({
        audience: {
          resources: [
            { identifier: RESOURCE, scopes: [{ name: 'docs.read' }, { name: 'docs.write' }] },
            { identifier: files, scopes: [{ name: 'files.read' }] },
          ],
        },
        entitlement: { resources: [RESOURCE] },
      })
      return () => story.exchange({ resource: files })
    },
  ],
  [
    'no resource where the audience needs one (TX-10)',
    'resource_required',
    async () => {
      const story = await granted({ audience: { profile: 'mcp-ema' } })
      return story.exchange
    },
  ],
]
const told = new Set<string>()

for (const [what, reason, arrange] of TARGETS) {
  test(`refuses ${what}`, async () => {
    const request = await arrange()
    await common.signIn()
    const answer = await assertRefusal(house, () => request(), invalidTarget(reason))
    told.add(answer.text)
  })
}

test('tells the same of every wrong target (TX-61)', () => {
  assert.equal(told.size, 1, [...told].join('\n'))
})

// The scope.

for (const [scope, reason] of [
  ['admin', 'scope_not_in_catalogue'],
  ['DOCS.READ', 'scope_not_in_catalogue'],
  ['docs.read  docs.write', 'scope_malformed'],
  [' docs.read', 'scope_malformed'],
  ['docs.read\tdocs.write', 'scope_malformed'],
  ['"docs.read"', 'scope_malformed'],
  ['dócs.read', 'scope_malformed'],
] as const) {
  test(`refuses the scope ${JSON.stringify(scope)} (TV-58, TX-12)`, async () => {
    await assertRefusal(house, () => common.exchange({ scope }), invalidScope(reason))
  })
}

test('refuses a scope beyond the entitlement, and narrows to what is within (TX-12)', async () => {
  const story = await granted({ entitlement: { scopes: ['docs.read'] } })
  await assertRefusal(
    house,
    () => story.exchange({ scope: 'docs.write' }),
    invalidScope('scope_not_entitled'),
  )
  const answer = await story.exchange({ scope: 'admin docs.write docs.read' })
  assert.equal(answer.body.scope, 'docs.read')
})

test('a scope that the audience dropped from its catalogue is not granted any more', async () => {
  const story = await granted()
  await act('PATCH', `/audiences/${story.audience.id}`, {
    resources: [{ identifier: RESOURCE, scopes: [{ name: 'docs.write' }] }],
  })
  await assertRefusal(house, () => story.exchange(), invalidScope('scope_not_in_catalogue'))
})

// Consent.

/** What comes with interaction_required: where to send the user, and for how long. */
function questionOf({ body }: Answer): { uri: string; expires_in: number } {
  const { interaction_uri: uri, expires_in } = body
  assert.ok(String(uri).startsWith(`${issuer}/consent/int_`), uri)
  assert.equal(new URL(uri).href, uri)
  assert.equal(typeof expires_in, 'number')
  assert.ok(expires_in > 0 && expires_in <= 600)
  return { uri, expires_in }
}

test('without a delegation the user has to be asked; asking again early asks the same (TV-70, GR-01)', async () => {
  const story = await tellStory(house)
  await story.signIn()
  const ask = async (overrides: Form = {}) =>
    questionOf(
      await assertRefusal(house, () => story.exchange(overrides), interaction('no_delegation')),
    )
  const first = await ask()
  assert.equal(first.expires_in, 600)
  house.wait(100)
  const again = await ask()
  assert.equal(again.uri, first.uri)
  assert.equal(again.expires_in, 500)
  assert.notEqual((await ask({ scope: 'docs.write' })).uri, first.uri)
  assert.equal((await ask({ scope: 'docs.read admin' })).uri, first.uri)
  house.wait(500)
  await story.signIn()
  assert.notEqual((await ask()).uri, first.uri)
})

for (const [what, reason, arrange] of [
  [
    'ended by an administrator (TV-71)',
    'delegation_revoked',
    async (story) => {
      const { id } = await story.delegate()
      assert.equal((await story.exchange()).status, 200)
      await act('DELETE', `/delegations/${id}`)
    },
  ],
  [
    'past its end (TV-71)',
    'delegation_expired',
    async (story) => {
      const expires_at = new Date(house.clock.now.getTime() + 60_000).toISOString()
      await story.delegate({ expires_at })
      assert.equal((await story.exchange()).status, 200)
      house.wait(59.999)
    },
  ],
  [
    'for once, and used (GR-02)',
    'delegation_consumed',
    async (story) => {
      await story.delegate({ mode: 'once' })
      assert.equal((await story.exchange()).status, 200)
    },
  ],
  [
    'for other scopes (GR-04)',
    'scope_not_delegated',
    async (story) => story.delegate({ scopes: ['docs.write'] }),
  ],
  [
    'ended by a revocation of the audience',
    'delegation_revoked',
    async (story) => {
      await story.delegate()
      await act('POST', '/revocations', { audience_id: story.audience.id, reason: 'breach' })
    },
  ],
] as [string, string, (story: Story) => Promise<unknown>][]) {
  test(`a delegation ${what} leaves the user to be asked`, async () => {
    const story = await tellStory(house)
    await story.signIn()
    await arrange(story)
    const answer = await assertRefusal(house, () => story.exchange(), interaction(reason))
    questionOf(answer)
  })
}

test('a delegation for another resource leaves the user to be asked', async () => {
  const files = 'https://files.paperclip.example/'
  const story = await tellStory(house, {
    audience: {
      resources: [
        { identifier: RESOURCE, scopes: [{ name: 'docs.read' }, { name: 'docs.write' }] },
        { identifier: files, scopes: [{ name: 'docs.read' }] },
      ],
    },
  })
  await story.delegate({ resources: [files] })
  await story.signIn()
  const answer = await assertRefusal(
    house,
    () => story.exchange({ resource: RESOURCE }),
    interaction('resource_not_delegated'),
  )
  questionOf(answer)
})

test('the delegation of one user is not that of another (GR-04)', async () => {
  const story = await granted()
  const other = await newUser(house)
  const visitor = browser(house)
  await signIn(visitor, other)
  const code = await authorize(visitor, story.agent)
  const { body } = await house.form('/oauth2/token', {
    grant_type: GRANT.authorizationCode,
    ...code,
    ...(await clientAuthentication(house, story.agent)),
  })
  const answer = await assertRefusal(
    house,
    () => story.exchange({ subject_token: body.id_token }),
    interaction('no_delegation'),
  )
  questionOf(answer)
})

// Consent by the administrator.

type Listed = { id: string; source: string; status: string; scopes: string[] }
const delegationsOf = async ({ user }: Story): Promise<Listed[]> =>
  (await act('GET', `/delegations?user_id=${user.id}`)).body.data

test('with consent by the administrator the first mint makes a delegation that is there to see', async () => {
  const story = await tellStory(house, { entitlement: { consent: 'admin' } })
  await story.signIn()
  assert.deepEqual(await delegationsOf(story), [])
  assert.equal((await story.exchange()).status, 200)
  assert.equal((await story.exchange({ scope: 'docs.write' })).status, 200)
  const [delegation, ...others] = await delegationsOf(story)
  assert.deepEqual(others, [])
  assert.equal(delegation?.source, 'policy')
  assert.equal(delegation?.status, 'active')
  assert.deepEqual(delegation?.scopes, ['docs.read', 'docs.write'])
})

test('a policy delegation that was ended is not made again by a mint, but by a later entitlement', async () => {
  const story = await tellStory(house, { entitlement: { consent: 'admin' } })
  await story.signIn()
  await story.exchange()
  const [made] = await delegationsOf(story)
  await act('DELETE', `/delegations/${made?.id}`)
  for (let again = 0; again < 2; again += 1) {
    const refusal = interaction('delegation_revoked')
    questionOf(await assertRefusal(house, () => story.exchange(), refusal))
  }
  // A change of the same entitlement is no new one.
  house.wait(1)
  await entitle(house, story.agent, story.audience, { consent: 'admin', scopes: ['docs.read'] })
  await assertRefusal(house, () => story.exchange(), interaction('delegation_revoked'))

  await act('DELETE', `/agents/${story.agent.id}/entitlements/${story.audience.id}`)
  house.wait(1)
  await entitle(house, story.agent, story.audience, { consent: 'admin' })
  assert.equal((await story.exchange()).status, 200)
  const all = await delegationsOf(story)
  assert.deepEqual(
    all.map(({ source, status }) => `${source} ${status}`),
    ['policy active', 'policy revoked'],
  )
})

test('an administrator may bring back by hand what was ended', async () => {
  const story = await tellStory(house, { entitlement: { consent: 'admin' } })
  await story.signIn()
  await story.exchange()
  await act('DELETE', `/delegations/${(await delegationsOf(story))[0]?.id}`)
  await assertRefusal(house, () => story.exchange(), interaction('delegation_revoked'))
  await story.delegate()
  assert.equal((await story.exchange()).status, 200)
})

test('a revocation by user bars policy delegations of that user, and of nobody else (rule 4)', async () => {
  const story = await tellStory(house, { entitlement: { consent: 'admin' } })
  await act('POST', '/revocations', { user_id: story.user.id, reason: 'left' })
  await story.signIn()
  const refusal = interaction('no_delegation')
  questionOf(await assertRefusal(house, () => story.exchange(), refusal))
  house.wait(1)
  await act('DELETE', `/agents/${story.agent.id}/entitlements/${story.audience.id}`)
  house.wait(1)
  await entitle(house, story.agent, story.audience, { consent: 'admin' })
  await assertRefusal(house, () => story.exchange(), interaction('no_delegation'))

  const other = await newUser(house)
  const visitor = browser(house)
  await signIn(visitor, other)
  const { body } = await house.form('/oauth2/token', {
    grant_type: GRANT.authorizationCode,
    ...(await authorize(visitor, story.agent)),
    ...(await clientAuthentication(house, story.agent)),
  })
  assert.equal((await story.exchange({ subject_token: body.id_token })).status, 200)
})

test('a revocation by agent ends the entitlement that asks nobody (rule 4)', async () => {
  const story = await tellStory(house, { entitlement: { consent: 'admin' } })
  await story.signIn()
  await story.exchange()
  await act('POST', '/revocations', { agent_id: story.agent.id, reason: 'strange' })
  await story.signIn()
  await assertRefusal(house, () => story.exchange(), invalidTarget('no_entitlement'))
})

// Freshness and contact.

test('a sign-in too old for the audience needs a fresher one, however fresh the token is (TV-68, TX-18, TX-50, TX-52)', async () => {
  const story = await granted({ audience: { profile: 'authmd-0.2' } })
  const first = await story.signIn()
  house.wait(3301)
  const { id_token, refresh_token } = await refreshed(story, first.refresh_token)
  const refusal = [400, 'insufficient_user_authentication', 'stale_authentication'] as const
  for (const subject of [
    { subject_token: id_token },
    { subject_token: refresh_token, subject_token_type: TOKEN_TYPE.refreshToken },
  ]) {
    const { body } = await assertRefusal(house, () => story.exchange(subject), refusal)
    assert.equal(body.max_age, 3300)
    assert.equal(body.interaction_uri, undefined)
  }
  // The same, and an unknown audience or a scope that nobody grants: that answers (TV-69, TX-51).
  const stale = { subject_token: id_token }
  await assertRefusal(
    house,
    () => story.exchange({ ...stale, audience: 'https://unknown.example' }),
    invalidTarget('unknown_audience'),
  )
  await assertRefusal(
    house,
    () => story.exchange({ ...stale, scope: 'admin' }),
    invalidScope('scope_not_in_catalogue'),
  )
  await act('DELETE', `/delegations/${(await delegationsOf(story))[0]?.id}`)
  await assertRefusal(house, () => story.exchange(stale), interaction('delegation_revoked'))
})

test('signing in again with the max_age told makes the exchange succeed (TX-50, TX-53)', async () => {
  const story = await granted({ audience: { max_auth_age: 1000 } })
  const { refresh_token } = await story.signIn()
  house.wait(701)
  const { body } = await story.exchange({
    subject_token: refresh_token,
    subject_token_type: TOKEN_TYPE.refreshToken,
  })
  assert.equal(body.error, 'insufficient_user_authentication')
  const page = await story.browser.get(
    authorizeUrl(story.agent, { max_age: String(body.max_age), verifier: 'v'.repeat(43) }),
  )
  const back = await story.browser.submit(page, {
    email: story.user.email,
    password: 'correct horse battery staple',
  })
  const { body: tokens } = await house.form('/oauth2/token', {
    grant_type: GRANT.authorizationCode,
    code: redirected(back, story.agent).get('code') as string,
    redirect_uri: story.agent.redirect_uri,
    code_verifier: 'v'.repeat(43),
    ...(await clientAuthentication(house, story.agent)),
  })
  assert.equal((await story.exchange({ subject_token: tokens.id_token })).status, 200)
})

test('a user without a verified contact is denied to an auth.md audience, delegation or not (TV-74)', async () => {
  const story = await granted({
    user: { email_verified: false },
    audience: { profile: 'authmd-0.2' },
  })
  const refusal = [400, 'access_denied', 'unverified_contact'] as const
  const answer = await assertRefusal(house, () => story.exchange(), refusal)
  assert.match(answer.body.error_description, /^verified_contact_required/)
  await act('DELETE', `/delegations/${(await delegationsOf(story))[0]?.id}`)
  await assertRefusal(house, () => story.exchange(), refusal)
})

// TX-60: of several faults, the earliest answers.

/** What is wrong at each step; two of them at once make a request that the earlier one answers. */
const FAULTS: [
  string,
  (story: Story) => Promise<Form>,
  readonly [number, string, string | null],
][] = [
  ['shape', async () => ({ requested_token_type: 'nonsense' }), INVALID_REQUEST],
  [
    'client',
    async ({ agent }) => ({
      client_assertion: await clientAssertion(house, agent, { aud: 'https://elsewhere.example' }),
    }),
    invalidClient('bad_credentials'),
  ],
  ['subject', async () => ({ subject_token: 'nonsense' }), invalidGrant('bad_subject_token')],
  [
    'target',
    async () => ({ audience: 'https://unknown.example' }),
    invalidTarget('unknown_audience'),
  ],
  ['scope', async () => ({ scope: 'admin' }), invalidScope('scope_not_in_catalogue')],
  ['delegation', async () => ({ scope: 'docs.write' }), interaction('scope_not_delegated')],
]

test('of two faults the earlier step answers (TX-60, TV-69)', async () => {
  const story = await granted()
  for (const [at, [earlier, wrong, refusal]] of FAULTS.entries()) {
    for (const [later, alsoWrong] of FAULTS.slice(at)) {
      const faults = { ...(await alsoWrong(story)), ...(await wrong(story)) }
      await assertRefusal(house, () => story.exchange(faults), refusal).catch((error) => {
        error.message = `${earlier} before ${later}: ${error.message}`
        throw error
      })
    }
  }
})

test('whether the client may use the grant comes after who it is and before everything else (TX-60)', async () => {
  const story = await granted()
  await act('POST', `/agents/${story.agent.id}/suspend`, {})
  for (const [step, wrong, refusal] of FAULTS) {
    const earlier = step === 'shape' || step === 'client'
    const expected = earlier ? refusal : unauthorized('agent_suspended')
    const faults = await wrong(story)
    await assertRefusal(house, () => story.exchange(faults), expected)
  }
})

test('freshness comes last, before minting (TX-60, TX-51, TX-18)', async () => {
  const story = await granted({ audience: { max_auth_age: 600 } })
  house.wait(400)
  for (const [, wrong, refusal] of FAULTS) {
    const faults = await wrong(story)
    await assertRefusal(house, () => story.exchange(faults), refusal)
  }
  const stale = [400, 'insufficient_user_authentication', 'stale_authentication'] as const
  await assertRefusal(house, () => story.exchange(), stale)
})

test('who does not authenticate learns nothing of users, audiences or grants (TX-61)', async () => {
  const story = await granted({ agent: { token_endpoint_auth_method: 'client_secret_post' } })
  const wrong: StoryAgent = { ...story.agent, client_secret: 'wrong' }
  const answers = await Promise.all([
    story.exchange({}, wrong),
    story.exchange({ audience: 'https://unknown.example' }, wrong),
    story.exchange({ subject_token: 'nonsense' }, wrong),
    story.exchange({ scope: 'admin' }, wrong),
    story.exchange({}, { ...wrong, client_id: 'agt_unknown' }),
  ])
  for (const { status, text } of answers) {
    assert.equal(`${status} ${text}`, `401 ${answers[0]?.text}`)
  }
})

// Last, for this lets weeks pass.

test('refuses a refresh token that nobody used for fourteen days (TX-26, OP-23)', async () => {
  const story = await granted()
  const { refresh_token } = await story.signIn()
  const subject = { subject_token: refresh_token, subject_token_type: TOKEN_TYPE.refreshToken }
  house.wait(14 * DAY - 1)
  assert.equal((await story.exchange(subject)).status, 200)
  house.wait(1)
  await assertRefusal(house, () => story.exchange(subject), invalidGrant('subject_token_expired'))
})

test('refuses an ID token and a refresh token whose session has run out (TX-24)', async () => {
  const story = await granted()
  let { refresh_token } = await story.signIn()
  house.wait(10 * DAY)
  refresh_token = (await refreshed(story, refresh_token)).refresh_token
  house.wait(10 * DAY - 1)
  const last = await refreshed(story, refresh_token)
  const subjects = [
    { subject_token: last.id_token },
    { subject_token: last.refresh_token, subject_token_type: TOKEN_TYPE.refreshToken },
  ]
  for (const subject of subjects) assert.equal((await story.exchange(subject)).status, 200)
  house.wait(1)
  for (const subject of subjects) {
    await assertRefusal(house, () => story.exchange(subject), invalidGrant('session_ended'))
  }
})

/** Clients that are known by their metadata document, at the doors that clients and their users come to. */
import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { decodeJwt } from 'jose'
import { createOutbound } from '../../src/http/outbound.ts'
import { GRANT, TOKEN_TYPE, TYP } from '../../src/oauth/names.ts'
import { authorize, authorizeUrl, browser, redirected } from '../support/browser.ts'
import { openClientSite, type PublishedClient } from '../support/client-site.ts'
import { events } from '../support/enrol.ts'
import { type Answer, type Form, openHouse } from '../support/house.ts'
import { clientAssertion, clientAuthentication, entitle, tellStory } from '../support/story.ts'

const house = await openHouse({ after }, { DELEGATE_TOKENS: 'on' })
const story = await tellStory(house)
await story.signIn()
const { audience, owner, browser: visitor } = story

const inSeconds = (seconds: number) =>
  new Date(house.clock.now.getTime() + seconds * 1000).toISOString()
async function allow(members: object) {
  const answer = await house.admin('POST', '/client-metadata-rules', {
    owner_id: owner.id,
    purpose: 'plans',
    agent_expires_at: inSeconds(90 * 86_400),
    ...members,
  })
  assert.equal(answer.status, 201, answer.text)
  return answer.body
}
const end = async ({ id }: { id: string }) => {
  const answer = await house.admin('DELETE', `/client-metadata-rules/${id}`)
  assert.equal(answer.status, 204, answer.text)
}
const site = await openClientSite({ after })

/** A client that a rule for its URL lets come, entitled and delegated to. */
async function enrolled(members: object = {}) {
  const client = await site.publish(members)
  const rule = await allow({ url: client.url })
  client.id = rule.agent_id
  await entitle(house, client, audience, { client_id: undefined })
  await story.delegate({ agent_id: client.id })
  return { client, rule }
}
/** The user is signed in by the story. */
const tokensOf = (client: PublishedClient) => story.signIn(client)
/** The same of one that came by its host: the user is asked, and goes on. */
async function confirmedTokensOf(client: PublishedClient) {
  const code = await authorize(visitor, client, { scope: 'openid offline_access' }, (page) =>
    visitor.submit(page, { decision: 'allow' }),
  )
  const { status, text, body } = await house.form('/oauth2/token', {
    grant_type: GRANT.authorizationCode,
    ...code,
    ...(await clientAuthentication(house, client)),
  })
  assert.equal(status, 200, text)
  return body
}
const exchange = (client: PublishedClient, subject_token: string, others: Form = {}) =>
  story.exchange({ subject_token, ...others }, client)
const agentsOf = async (client_id: string) =>
  (await house.admin('GET', `/agents?${new URLSearchParams({ client_id })}`)).body.data

function assertInvalidClient(answer: Answer, says: RegExp): void {
  assert.equal(answer.status, 401, answer.text)
  assert.equal(answer.body.error, 'invalid_client')
  assert.match(answer.body.error_description, says)
}
const NOT_ALLOWED = /administrator has to allow the URL/
const UNREADABLE = /could not be read/

describe('a client that a rule lets come by its URL', () => {
  test('signs users in, and exchanges what it gets, under that name (DS-40, IJ-40)', async () => {
    const { client } = await enrolled()
    const code = await authorize(visitor, client, { scope: 'openid offline_access delegate' })
    const redeemed = await house.form('/oauth2/token', {
      grant_type: GRANT.authorizationCode,
      ...code,
      ...(await clientAuthentication(house, client)),
    })
    assert.equal(redeemed.status, 200, redeemed.text)
    const { id_token, access_token, refresh_token } = redeemed.body
    assert.equal(decodeJwt(id_token).aud, client.url)
    assert.equal(decodeJwt(access_token).client_id, client.url)

    const answer = await exchange(client, id_token)
    assert.equal(answer.status, 200, answer.text)
    assert.equal(decodeJwt(answer.body.access_token).client_id, client.url)
    assert.equal(decodeJwt(answer.body.access_token).aud, audience.issuer)

    const userinfo = await house.inject({
      method: 'GET',
      url: '/oauth2/userinfo',
      headers: { authorization: `Bearer ${access_token}` },
    })
    assert.equal(userinfo.status, 200, userinfo.text)
    for (const [token, type] of [
      [refresh_token, 'refresh_token'],
      [access_token, 'access_token'],
    ]) {
      const subject_token_type = `urn:ietf:params:oauth:token-type:${type}`
      const answer = await exchange(client, token, { subject_token_type })
      assert.equal(answer.status, 200, answer.text)
    }
    const door = await house.inject({
      method: 'POST',
      url: '/id-jag',
      headers: { authorization: `Bearer ${access_token}`, 'content-type': 'application/json' },
      payload: JSON.stringify({ audience: audience.issuer, scope: 'docs.read' }),
    })
    assert.equal(door.status, 200, door.text)
    assert.equal(decodeJwt(door.body.assertion).client_id, client.url)

    const refreshed = await house.form('/oauth2/token', {
      grant_type: GRANT.refreshToken,
      refresh_token,
      ...(await clientAuthentication(house, client)),
    })
    assert.equal(refreshed.status, 200, refreshed.text)
    assert.equal(decodeJwt(refreshed.body.id_token).aud, client.url)
    const given = await house.form('/oauth2/revoke', {
      token: refreshed.body.refresh_token,
      ...(await clientAuthentication(house, client)),
    })
    assert.equal(given.status, 200, given.text)
    assert.equal(client.page.asked, 1, 'its document was read when the rule was made')

    const issuances = (await house.admin('GET', `/issuances?agent_id=${client.id}`)).body.data
    assert.equal(issuances.length, 4)
  })

  test('may have another name at the audience (IJ-40)', async () => {
    const { client } = await enrolled()
    await entitle(house, client, audience, { client_id: 'planner' })
    const { id_token } = await tokensOf(client)
    const { body } = await exchange(client, id_token)
    assert.equal(decodeJwt(body.access_token).client_id, 'planner')
  })

  test('publishes its keys in the document or at its jwks_uri (CA-03)', async () => {
    const { client } = await enrolled()
    const keys = await site.publish()
    keys.page.body = JSON.stringify({ keys: [client.jwk] })
    client.say({ jwks: undefined, jwks_uri: keys.url })
    house.wait(300)
    await tokensOf(client)
    assert.equal(keys.page.asked, 1)
  })

  test('proves itself by a key alone, that of its document (CA-03, DS-42)', async () => {
    const { client } = await enrolled()
    const other = await site.publish()
    const ask = (fields: Form, headers?: Record<string, string>) =>
      house.form('/oauth2/token', { grant_type: GRANT.refreshToken, ...fields }, headers)
    const refused = async (fields: Form, headers?: Record<string, string>) =>
      assertInvalidClient(await ask(fields, headers), /Client authentication failed/)
    await refused({ client_id: client.url })
    await refused({ client_id: client.url, client_secret: 's3cret' })
    const basic = `${encodeURIComponent(client.url)}:s3cret`
    await refused({}, { authorization: `Basic ${Buffer.from(basic).toString('base64')}` })
    await refused(await clientAuthentication(house, { ...client, privateKey: other.privateKey }))
    await refused(await clientAuthentication(house, { ...client, client_id: client.id }))
    await refused({ client_id: client.id })
    for (const claims of [{ iss: client.id }, { aud: 'https://elsewhere.example' }]) {
      const { client_assertion_type } = await clientAuthentication(house, client)
      const client_assertion = await clientAssertion(house, client, claims)
      await refused({ client_assertion_type, client_assertion })
    }
  })

  test('is not known at the pages by the id of its record', async () => {
    const { client } = await enrolled()
    const page = await visitor.get(authorizeUrl({ ...client, client_id: client.id }))
    assert.equal(page.status, 400)
    assert.match(page.text, /Unknown application/)
  })

  test('gets its assertion accepted once (CA-03)', async () => {
    const { client } = await enrolled()
    const { id_token } = await tokensOf(client)
    const proof = await clientAuthentication(house, client)
    assert.equal((await exchange(client, id_token, proof)).status, 200)
    assertInvalidClient(await exchange(client, id_token, proof), /Client authentication failed/)
  })

  test('returns to an address that it lists, exactly (DS-49)', async () => {
    const loopback = 'http://127.0.0.1:4711/callback'
    const { client } = await enrolled({ redirect_uris: [loopback] })
    const code = await authorize(visitor, { ...client, redirect_uri: loopback })
    assert.ok(code)
    for (const redirect_uri of [
      'http://127.0.0.1:4712/callback',
      `${loopback}/`,
      'https://a.example/',
    ]) {
      const page = await visitor.get(authorizeUrl({ ...client, redirect_uri }))
      assert.equal(page.status, 400)
      assert.match(page.text, /Wrong return address/)
    }
  })

  test('is asked for with its host when the user is asked (DS-45)', async () => {
    const { client } = await enrolled()
    const page = await visitor.get(authorizeUrl(client, { prompt: 'consent' }))
    assert.equal(page.status, 200, page.text)
    assert.ok(page.text.includes(`Orbit Planner (${site.host})`), page.text)
  })

  test('may be public, for the code flow alone', async () => {
    const { client } = await enrolled({ token_endpoint_auth_method: 'none', jwks: undefined })
    const publicClient = { ...client, privateKey: undefined }
    const { id_token } = await story.signIn(publicClient)
    assert.equal(decodeJwt(id_token).aud, client.url)
    const answer = await story.exchange({ subject_token: id_token }, publicClient)
    assert.equal(answer.body.error, 'unauthorized_client', answer.text)
  })

  test('acts for another client, by a token that its published key signed (TX-19)', async () => {
    const { client: actor, rule } = await enrolled()
    const { client } = await enrolled()
    const { id_token } = await tokensOf(client)
    const pair = { agent_id: client.id, actor_id: actor.id }
    assert.equal((await house.admin('POST', '/actor-permissions', pair)).status, 201)
    const act = async (as: PublishedClient, claims: object = {}) =>
      exchange(client, id_token, {
        actor_token: await clientAssertion(house, as, {
          client_id: client.url,
          header: { typ: TYP.actorToken },
          ...claims,
        }),
        actor_token_type: TOKEN_TYPE.jwt,
      })
    const answer = await act(actor)
    assert.equal(answer.status, 200, answer.text)
    assert.deepEqual(decodeJwt(answer.body.access_token).act, {
      sub: actor.id,
      act: { sub: client.id },
    })
    const refused = [
      await act({ ...actor, client_id: actor.id }),
      await act({ ...actor, privateKey: client.privateKey }),
      await act({ ...actor, client_id: `${actor.url}x` }),
      await act(actor, { client_id: client.id }),
    ]
    for (const { body, text } of refused) assert.equal(body.error, 'invalid_grant', text)
    const supposed = {
      agent_id: client.id,
      actor_id: actor.id,
      user_id: story.user.id,
      audience: audience.issuer,
      scope: 'docs.read',
    }
    assert.equal((await house.admin('POST', '/explain', supposed)).body.granted, true)
    await end(rule)
    assert.equal((await act(actor)).body.error, 'invalid_grant')
    assert.equal((await house.admin('POST', '/explain', supposed)).body.granted, false)
  })

  test('is suspended, ended and retired like any other', async () => {
    const { client } = await enrolled()
    const { id_token } = await tokensOf(client)
    await house.admin('POST', `/agents/${client.id}/suspend`, {})
    const suspended = await exchange(client, id_token)
    assert.equal(suspended.body.error, 'unauthorized_client')
    await house.admin('POST', `/agents/${client.id}/retire`, {})
    assertInvalidClient(await exchange(client, id_token), /Client authentication failed/)
    const page = await visitor.get(authorizeUrl(client))
    assert.match(page.text, /Unknown application/)
  })
})

describe('the permission is asked for at every request', () => {
  test('an ended rule refuses the client everywhere; a new one takes it back', async () => {
    const { client, rule } = await enrolled()
    const { id_token, access_token, refresh_token } = await tokensOf(client)
    const code = await authorize(visitor, client)
    await end(rule)
    assertInvalidClient(await exchange(client, id_token), NOT_ALLOWED)
    for (const fields of [
      { grant_type: GRANT.authorizationCode, ...code },
      { grant_type: GRANT.refreshToken, refresh_token },
    ]) {
      const proof = await clientAuthentication(house, client)
      assertInvalidClient(await house.form('/oauth2/token', { ...fields, ...proof }), NOT_ALLOWED)
    }
    const revoked = await house.form('/oauth2/revoke', {
      token: refresh_token,
      ...(await clientAuthentication(house, client)),
    })
    assertInvalidClient(revoked, NOT_ALLOWED)
    const userinfo = await house.inject({
      method: 'GET',
      url: '/oauth2/userinfo',
      headers: { authorization: `Bearer ${access_token}` },
    })
    assert.equal(userinfo.status, 401)
    const page = await visitor.get(authorizeUrl(client))
    assert.match(page.text, /Unknown application/)
    const [event] = await events(house, 'token.refused')
    assert.equal(event?.reason, 'client_metadata_not_allowed')
    const { data } = (await house.admin('GET', `/agents?status=active&limit=200`)).body
    assert.ok(
      data.some(({ id }: { id: string }) => id === client.id),
      'the agent stays',
    )

    await allow({ url: client.url })
    assert.equal((await exchange(client, id_token)).status, 200)
  })

  test('a rule past its end refuses the client', async () => {
    const client = await site.publish()
    const rule = await allow({ url: client.url, expires_at: inSeconds(60) })
    client.id = rule.agent_id
    const { refresh_token } = await tokensOf(client)
    const refresh = async (token: string) =>
      house.form('/oauth2/token', {
        grant_type: GRANT.refreshToken,
        refresh_token: token,
        ...(await clientAuthentication(house, client)),
      })
    house.wait(59)
    const before = await refresh(refresh_token)
    assert.equal(before.status, 200, before.text)
    house.wait(1)
    assertInvalidClient(await refresh(before.body.refresh_token), NOT_ALLOWED)
  })

  test('explain says what is missing', async () => {
    const { client, rule } = await enrolled()
    await end(rule)
    const { body } = await house.admin('POST', '/explain', {
      agent_id: client.id,
      user_id: story.user.id,
      audience: audience.issuer,
      scope: 'docs.read',
    })
    assert.equal(body.granted, false)
    assert.equal(body.reason, 'client_metadata_not_allowed')
  })

  /** What is answered when a rule ends right before the facts are read, or right after. */
  async function whileReading(
    when: 'before' | 'after',
    rule: { id: string },
    ask: () => Promise<Answer>,
  ) {
    const { hot } = house.deps
    const { query } = hot
    hot.query = (async (what: { name: string }) => {
      hot.query = query
      assert.equal(what.name, 'gather_facts')
      if (when === 'before') await end(rule)
      const read = await (query as (what: { name: string }) => Promise<unknown>).call(hot, what)
      if (when === 'after') await end(rule)
      return read
    }) as typeof query
    return ask()
  }
  for (const when of ['before', 'after'] as const) {
    test(`no grant is honoured whose rule ends right ${when} the facts are read (design rule 3)`, async () => {
      const { client } = await enrolled()
      const { id_token, refresh_token } = await tokensOf(client)
      const code = await authorize(visitor, client)
      const token = async (fields: Form) =>
        house.form('/oauth2/token', { ...fields, ...(await clientAuthentication(house, client)) })
      const asks: (() => Promise<Answer>)[] = [
        () => token({ grant_type: GRANT.authorizationCode, ...code }),
        () => token({ grant_type: GRANT.refreshToken, refresh_token }),
        () => exchange(client, id_token),
      ]
      for (const ask of asks) {
        const query = new URLSearchParams({ url: client.url, status: 'active' })
        const { data } = (await house.admin('GET', `/client-metadata-rules?${query}`)).body
        assert.equal(data.length, 1)
        assertInvalidClient(await whileReading(when, data[0], ask), NOT_ALLOWED)
        await allow({ url: client.url })
        assert.equal((await ask()).status, 200, 'nothing was spent')
      }
    })
  }

  test('an exchange under way when the rule ends is not recorded (design rule 3)', async () => {
    const { client, rule } = await enrolled()
    const { id_token } = await tokensOf(client)
    const { keys } = house.deps
    const sign = keys.sign.bind(keys)
    keys.sign = async (...what) => {
      keys.sign = sign
      await end(rule)
      return sign(...what)
    }
    assertInvalidClient(await exchange(client, id_token), NOT_ALLOWED)
    const issuances = (await house.admin('GET', `/issuances?agent_id=${client.id}`)).body.data
    assert.deepEqual(issuances, [])
  })
})

describe('a client that a rule lets come by its host', () => {
  test('has an agent from its first assertion that holds, under the rule (DS-43)', async () => {
    const here = await openClientSite({ after })
    const client = await here.publish()
    const rule = await allow({ host: here.host, environment: 'staging' })
    const ask = async (as: PublishedClient) =>
      house.form('/oauth2/token', {
        grant_type: GRANT.refreshToken,
        refresh_token: 'none',
        ...(await clientAuthentication(house, as)),
      })
    const thief = await here.publish()
    assertInvalidClient(
      await ask({ ...client, privateKey: thief.privateKey }),
      /Client authentication failed/,
    )
    const named = await house.form('/oauth2/token', {
      grant_type: GRANT.refreshToken,
      client_id: client.url,
    })
    assertInvalidClient(named, /Client authentication failed/)
    assert.deepEqual(await agentsOf(client.url), [])

    const first = await ask(client)
    assert.equal(first.body.error, 'invalid_grant', first.text)
    const [agent, ...others] = await agentsOf(client.url)
    assert.deepEqual(others, [])
    assert.deepEqual(
      [agent.status, agent.owner_id, agent.purpose, agent.environment, agent.expires_at],
      ['active', owner.id, 'plans', 'staging', rule.agent_expires_at],
    )
    const [event] = await events(house, 'agent.created')
    assert.equal(event?.agent_id, agent.id)
    assert.deepEqual(event?.detail, { client_metadata_rule_id: rule.id })
    assert.equal(event?.actor_kind, 'agent')
    assert.ok(event?.request_id)
    assert.equal(client.page.asked, 1)
  })

  test('has one from its first authorization request that it lists, and works like any other', async () => {
    const here = await openClientSite({ after })
    const client = await here.publish()
    await allow({ host: here.host })
    const wrong = { ...client, redirect_uri: 'https://elsewhere.example/cb' }
    assert.match((await visitor.get(authorizeUrl(wrong))).text, /Wrong return address/)
    assert.deepEqual(await agentsOf(client.url), [])

    const { id_token } = await confirmedTokensOf(client)
    const [agent] = await agentsOf(client.url)
    client.id = agent.id
    await entitle(house, client, audience, { client_id: undefined })
    await story.delegate({ agent_id: client.id })
    assert.equal((await exchange(client, id_token)).status, 200)
  })

  test('signs nobody in unasked: no administrator enrolled it (design §3.2)', async () => {
    const here = await openClientSite({ after })
    const client = await here.publish()
    await allow({ host: here.host })
    for (let time = 0; time < 2; time += 1) {
      const page = await visitor.get(authorizeUrl(client))
      assert.match(page.text, /Sign in to/)
      const denied = redirected(await visitor.submit(page, { decision: 'deny' }), client)
      assert.equal(denied.get('error'), 'access_denied')
    }
    const silent = redirected(await visitor.get(authorizeUrl(client, { prompt: 'none' })), client)
    assert.equal(silent.get('error'), 'consent_required')
    await allow({ url: client.url })
    assert.ok(redirected(await visitor.get(authorizeUrl(client)), client).get('code'))
  })

  test('has one agent, however many of its first requests come at once', async () => {
    const here = await openClientSite({ after })
    const client = await here.publish()
    await allow({ host: here.host })
    const requests = Array.from({ length: 6 }, () => browser(house).get(authorizeUrl(client)))
    for (const { status, url } of await Promise.all(requests)) {
      assert.equal(status, 200)
      assert.match(url, /^\/sign-in/)
    }
    const [agent, ...others] = await agentsOf(client.url)
    assert.deepEqual(others, [])
    const { length } = (await events(house, 'agent.created')).filter(
      ({ agent_id }) => agent_id === agent.id,
    )
    assert.equal(length, 1)
    assert.equal(client.page.asked, 1)
  })

  test('gets no second agent once its first was retired', async () => {
    const here = await openClientSite({ after })
    const client = await here.publish()
    await allow({ host: here.host })
    const { id_token } = await confirmedTokensOf(client)
    const [agent] = await agentsOf(client.url)
    await house.admin('POST', `/agents/${agent.id}/retire`, {})
    assertInvalidClient(await exchange(client, id_token), /Client authentication failed/)
    assert.match((await visitor.get(authorizeUrl(client))).text, /Unknown application/)
    assert.deepEqual(
      (await agentsOf(client.url)).map(({ id }: { id: string }) => id),
      [agent.id],
    )
  })

  test('is nobody with a query, under another host, or by an ended rule', async () => {
    const here = await openClientSite({ after })
    const rule = await allow({ host: here.host })
    const query = await here.publish({}, '/client.json?echo')
    const elsewhere = await (await openClientSite({ after })).publish()
    for (const client of [query, elsewhere]) {
      assertInvalidClient(await exchange(client, 'any'), NOT_ALLOWED)
      assert.equal(client.page.asked, 0, 'nobody is asked for what no rule allows')
    }
    const client = await here.publish()
    await end(rule)
    assertInvalidClient(await exchange(client, 'any'), NOT_ALLOWED)
    assert.equal(client.page.asked, 0)
  })

  test('is not let in where its owner cannot answer for it, or its time is over', async () => {
    const here = await openClientSite({ after })
    const client = await here.publish()
    const rule = await allow({ host: here.host, agent_expires_at: inSeconds(60) })
    await house.admin('PATCH', `/users/${owner.id}`, { status: 'suspended' })
    const refused = await exchange(client, 'any')
    await house.admin('PATCH', `/users/${owner.id}`, { status: 'active' })
    assert.equal(refused.body.error, 'unauthorized_client', refused.text)
    assert.match(refused.body.error_description, /no active owner/)
    house.wait(60)
    const late = await exchange(client, 'any')
    assert.match(late.body.error_description, /past its end/, late.text)
    assert.deepEqual(await agentsOf(client.url), [])
    await end(rule)
  })

  test('is of the rule for its URL first', async () => {
    const here = await openClientSite({ after })
    const client = await here.publish()
    await allow({ host: here.host, purpose: 'any' })
    const { agent_id } = await allow({ url: client.url, purpose: 'this one' })
    await tokensOf(client)
    const [agent] = await agentsOf(client.url)
    assert.equal(agent.id, agent_id)
    assert.equal(agent.purpose, 'this one')
  })
})

describe('a document', () => {
  test('is read once while it is fresh, and followed when it changes (DS-44, DS-46)', async () => {
    const { client } = await enrolled()
    client.page.headers = { 'cache-control': 'max-age=600' }
    house.wait(300)
    const { id_token } = await tokensOf(client)
    assert.equal(client.page.asked, 2)
    house.wait(200)
    await exchange(client, id_token)
    assert.equal(client.page.asked, 2)

    const redirect_uris = [client.redirect_uri, 'https://new.example/callback']
    client.say({ client_name: 'Orbit Writer', redirect_uris })
    await client.rekey()
    const changed = await exchange(client, id_token)
    assert.equal(changed.status, 200, `a kid that it did not have is looked for: ${changed.text}`)
    assert.equal(client.page.asked, 3)
    const [agent] = await agentsOf(client.url)
    assert.equal(agent.name, 'Orbit Writer')
    assert.deepEqual(agent.redirect_uris, redirect_uris)
    const [event, ...more] = (await events(house, 'agent.client_metadata_changed')).filter(
      ({ agent_id }) => agent_id === client.id,
    )
    assert.deepEqual(event?.detail, { changed: ['keys', 'name', 'redirect_uris'] })
    assert.equal(event?.actor_kind, 'system')
    assert.deepEqual(more, [])
    assert.equal((await exchange(client, id_token)).status, 200)
  })

  test('is written down once by requests that come at once with its change (DS-46)', async () => {
    const { client } = await enrolled()
    const { id_token } = await tokensOf(client)
    await client.rekey()
    house.wait(300)
    const answers = await Promise.all(Array.from({ length: 5 }, () => exchange(client, id_token)))
    for (const answer of answers) assert.equal(answer.status, 200, answer.text)
    const changes = (await events(house, 'agent.client_metadata_changed')).filter(
      ({ agent_id }) => agent_id === client.id,
    )
    assert.equal(changes.length, 1)
  })

  test('takes its old key with it (DS-46)', async () => {
    const { client } = await enrolled()
    const { id_token } = await tokensOf(client)
    const before = { ...client }
    await client.rekey()
    house.wait(300)
    assertInvalidClient(await exchange(before, id_token), /Client authentication failed/)
  })

  const BAD: [what: string, change: (client: PublishedClient) => object][] = [
    ['redirects', ({ url }) => ({ status: 302, headers: { location: url } })],
    ['is longer than 5 KiB by a byte', ({ page }) => ({ body: page.body.padEnd(5121) })],
    ['names another client', ({ page }) => ({ body: page.body.replace('/client', '/other') })],
    ['holds a secret', ({ page }) => ({ body: page.body.replace('{', '{"client_secret":"s",') })],
    ['holds a private key', ({ page }) => ({ body: page.body.replace('"kty"', '"d":"AA","kty"') })],
    ['is gone', () => ({ status: 410 })],
    ['is no object', ({ page }) => ({ body: `[${page.body}]` })],
  ]
  for (const [what, change] of BAD) {
    test(`that ${what} is refused, and not remembered (TV-100, DS-43, DS-44)`, async () => {
      const { client } = await enrolled()
      const { id_token } = await tokensOf(client)
      const good = { ...client.page }
      Object.assign(client.page, change(client))
      house.wait(300)
      const { asked } = client.page
      assertInvalidClient(await exchange(client, id_token), UNREADABLE)
      assertInvalidClient(await exchange(client, id_token), UNREADABLE)
      assert.equal(client.page.asked, asked + 2)
      const page = await visitor.get(authorizeUrl(client))
      assert.equal(page.status, 400)
      assert.match(page.text, /cannot be recognised/)
      const { status, headers, body } = good
      Object.assign(client.page, { status, headers, body })
      assert.equal((await exchange(client, id_token)).status, 200)
    })
  }

  test('of 5 KiB is read (DS-43)', async () => {
    const { client } = await enrolled()
    client.page.body = client.page.body.padEnd(5120)
    house.wait(300)
    await tokensOf(client)
  })

  test('whose host has a special-use address is not fetched, nor remembered (TV-100, DR-31)', async () => {
    const { outbound } = house.deps
    const asked: string[] = []
    const addresses: Record<string, string> = {
      'metadata.example': '169.254.169.254',
      'mapped.example': '::ffff:10.0.0.1',
    }
    house.deps.outbound = createOutbound({
      allow: [],
      allowLoopbackHttp: false,
      lookup: async (host) => {
        asked.push(host)
        return ['93.184.215.14', addresses[host] ?? '']
      },
    })
    try {
      for (const host of Object.keys(addresses)) {
        await allow({ host })
        const client = { ...(await site.publish()), client_id: `https://${host}/client.json` }
        assertInvalidClient(await exchange(client, 'any'), UNREADABLE)
        assertInvalidClient(await exchange(client, 'any'), UNREADABLE)
        assert.deepEqual(asked.splice(0), [host, host])
        assert.deepEqual(await agentsOf(client.client_id), [])
        const named = await house.admin('POST', '/client-metadata-rules', {
          url: client.client_id,
          owner_id: owner.id,
          purpose: 'plans',
          agent_expires_at: inSeconds(60),
        })
        assert.equal(named.status, 422)
        assert.match(named.body.detail, /special-use network/)
        assert.deepEqual(asked.splice(0), [host])
      }
    } finally {
      house.deps.outbound = outbound
    }
  })

  test('at http is nobody’s where that is not on this machine (TV-100, DS-40)', async () => {
    const client = { ...(await site.publish()), client_id: 'http://agents.example/client.json' }
    assertInvalidClient(await exchange(client, 'any'), /Client authentication failed/)
    assert.match((await visitor.get(authorizeUrl(client))).text, /Unknown application/)
  })

  test('that cannot be had is asked for so often in a minute, and the next caller waits', async () => {
    const { client } = await enrolled()
    const { id_token } = await tokensOf(client)
    client.page.status = 503
    house.wait(300)
    const { asked } = client.page
    for (let n = 0; n < 30; n += 1) {
      assertInvalidClient(await exchange(client, id_token), UNREADABLE)
    }
    const answer = await exchange(client, id_token)
    assert.equal(answer.status, 429, answer.text)
    assert.equal(answer.body.error, 'temporarily_unavailable')
    assert.ok(Number(answer.headers['retry-after']) > 0)
    assert.equal(answer.headers['www-authenticate'], undefined)
    const page = await visitor.get(authorizeUrl(client))
    assert.equal(page.status, 429)
    assert.ok(Number(page.headers['retry-after']) > 0)
    assert.equal(client.page.asked, asked + 30)
    client.page.status = 200
    house.wait(60)
    assert.equal((await exchange(client, id_token)).status, 200)
  })
})

test('the metadata say that clients may come this way, and not which (DS-06, DS-12)', async () => {
  const { body } = await house.inject({
    method: 'GET',
    url: '/.well-known/oauth-authorization-server',
  })
  assert.equal(body.client_id_metadata_document_supported, true)
  assert.ok(!JSON.stringify(body).includes(site.host))
})

test('a client of our own ids pays nothing: its facts are one statement as before', async () => {
  const { hot, pool } = house.deps
  await story.signIn()
  await story.delegate()
  const query = hot.query
  const asked: string[] = []
  hot.query = ((what: { name: string }) => {
    asked.push(what.name)
    return (query as (what: { name: string }) => unknown).call(hot, what)
  }) as typeof query
  const connected = () => asked.push('a connection for something else')
  pool.on('acquire', connected)
  try {
    const answer = await story.exchange()
    assert.equal(answer.status, 200, answer.text)
    assert.deepEqual(asked, ['gather_facts', 'record_issuances_plain'])
    assert.equal(decodeJwt(answer.body.access_token).client_id, 'client-at-paperclip')
  } finally {
    hot.query = query
    pool.off('acquire', connected)
  }
})

/** Client metadata rules at the admin door; what they let clients do is in agents/client-metadata.test.ts. */
import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { sql } from 'kysely'
import { newId } from '../../src/db/ids.ts'
import { looksLikeMetadataUrl } from '../../src/oauth/client-metadata.ts'
import { GRANT } from '../../src/oauth/names.ts'
import { openClientSite } from '../support/client-site.ts'
import { type Answer, openHouse } from '../support/house.ts'
import { makeUser } from '../support/parties.ts'
import { assertRefused } from '../support/refused.ts'

const house = await openHouse({ after })
const { db, pool } = house.deps
const site = await openClientSite({ after })

const owner = await makeUser(house)
const { tenant_id } = owner
const { body: tenant } = await house.admin('POST', '/tenants', { name: 'Elsewhere' })
const stranger = await makeUser(house, { tenant_id: tenant.id })

const inSeconds = (seconds: number) =>
  new Date(house.clock.now.getTime() + seconds * 1000).toISOString()
const given = (members: object) => ({
  owner_id: owner.id,
  purpose: 'Books business trips',
  agent_expires_at: inSeconds(86_400),
  ...members,
})
const allow = (members: object, headers?: Record<string, string>) =>
  house.admin('POST', '/client-metadata-rules', given(members), headers)
async function allowed(members: object) {
  const answer = await allow(members)
  assert.equal(answer.status, 201, answer.text)
  return answer.body
}
const end = (id: string) => house.admin('DELETE', `/client-metadata-rules/${id}`)
const list = async (query: Record<string, string>) => {
  const path = `/client-metadata-rules?${new URLSearchParams(query)}`
  const { body, text } = await house.admin('GET', path)
  assert.ok(body.data, text)
  return body.data
}
const agentsOf = async (client_id: string) =>
  (await house.admin('GET', `/agents?${new URLSearchParams({ client_id })}`)).body.data
const agentOf = async (id: string) => (await house.admin('GET', `/agents/${id}`)).body
const eventsOf = (agent_id: string) =>
  db
    .selectFrom('audit_events')
    .select(['type', 'actor_id', 'user_id', 'detail'])
    .where('agent_id', '=', agent_id)
    .orderBy(sql`xid`)
    .execute()

describe('a client metadata rule', () => {
  test('for a URL has its document read, and its agent made at once (DS-43)', async () => {
    const client = await site.publish()
    const rule = await allowed({
      url: client.url,
      environment: 'production',
      expires_at: inSeconds(60),
      reason: 'Ticket 4711',
      tenant_id,
    })
    const { agent_id, ...said } = rule
    assert.match(rule.id, /^cmr_[\w-]{22}$/)
    assert.deepEqual(said, {
      id: rule.id,
      tenant_id,
      url: client.url,
      host: null,
      owner_id: owner.id,
      purpose: 'Books business trips',
      environment: 'production',
      agent_expires_at: inSeconds(86_400),
      reason: 'Ticket 4711',
      status: 'active',
      created_at: inSeconds(0),
      created_by: 'environment',
      expires_at: inSeconds(60),
      ended_at: null,
    })
    assert.deepEqual(await agentOf(agent_id), {
      id: agent_id,
      client_id: client.url,
      tenant_id,
      name: 'Orbit Planner',
      purpose: 'Books business trips',
      owner_id: owner.id,
      environment: 'production',
      expires_at: inSeconds(86_400),
      token_endpoint_auth_method: 'private_key_jwt',
      jwks_uri: null,
      redirect_uris: [client.redirect_uri],
      grant_types: Object.values(GRANT),
      id_token_signed_response_alg: 'RS256',
      dpop_bound_access_tokens: false,
      status: 'active',
      status_reason: null,
      last_used_at: null,
      created_at: inSeconds(0),
      updated_at: inSeconds(0),
    })
    const detail = { client_metadata_rule_id: rule.id }
    assert.deepEqual(await eventsOf(agent_id), [
      { type: 'agent.created', actor_id: 'environment', user_id: owner.id, detail },
    ])
  })

  test('names its agent after the host where the document has no name', async () => {
    const client = await site.publish({ client_name: undefined })
    const { agent_id } = await allowed({ url: client.url })
    assert.equal((await agentOf(agent_id)).name, site.host)
  })

  test('for a public client is for the code flow alone', async () => {
    const client = await site.publish({ token_endpoint_auth_method: 'none', jwks: undefined })
    const { agent_id } = await allowed({ url: client.url })
    const { token_endpoint_auth_method, grant_types } = await agentOf(agent_id)
    assert.equal(token_endpoint_auth_method, 'none')
    assert.deepEqual(grant_types, [GRANT.authorizationCode, GRANT.refreshToken])
  })

  test('for a host asks nobody, and makes no agent', async () => {
    const other = await openClientSite({ after })
    const client = await other.publish()
    const rule = await allowed({ host: other.host })
    assert.equal(rule.url, null)
    assert.equal(rule.host, other.host)
    assert.ok(!('agent_id' in rule))
    assert.equal(client.page.asked, 0)
    assert.deepEqual(await agentsOf(client.url), [])
  })

  test('is listed by what it names', async () => {
    const client = await site.publish()
    const host = 'planner.orbit.example'
    house.wait(1)
    const by_url = await allowed({ url: client.url })
    house.wait(1)
    const by_host = await allowed({ host })
    assert.deepEqual((await list({ url: client.url })).map(idOf), [by_url.id])
    assert.deepEqual((await list({ host })).map(idOf), [by_host.id])
    assert.deepEqual((await list({ owner_id: owner.id, limit: '2' })).map(idOf), [
      by_host.id,
      by_url.id,
    ])
    assert.deepEqual(await list({ host, status: 'expired' }), [])
    assert.deepEqual(await list({ tenant_id: tenant.id }), [])
  })

  test('is the only live one for its URL or host; past its end it stands in nobody’s way', async () => {
    const client = await site.publish()
    const named: Record<string, string>[] = [{ url: client.url }, { host: 'one.orbit.example' }]
    for (const what of named) {
      const [member = ''] = Object.keys(what)
      const first = await allowed({ ...what, expires_at: inSeconds(60) })
      assertRefused(await allow(what), 409, 'already_exists', `/${member}`)
      house.wait(60)
      const second = await allowed(what)
      assert.equal(
        (await list(what)).find(({ id }: { id: string }) => id === first.id).status,
        'ended',
      )
      assert.equal((await end(second.id)).status, 204)
      assert.equal((await end(second.id)).status, 204)
      assert.notEqual((await allowed(what)).id, second.id)
    }
  })

  test('is the same one for the same Idempotency-Key', async () => {
    const client = await site.publish()
    const headers = { 'idempotency-key': 'one-rule' }
    const first = await allow({ url: client.url }, headers)
    const again = await allow({ url: client.url }, headers)
    assert.equal(again.status, 201, again.text)
    assert.deepEqual(again.body, first.body)
  })

  test('ended, keeps its agent; made anew, gives it back what it says then', async () => {
    const client = await site.publish()
    const { id, agent_id } = await allowed({ url: client.url })
    await house.admin('POST', `/agents/${agent_id}/suspend`, { reason: 'wait' })
    assert.equal((await end(id)).status, 204)
    assert.equal((await agentOf(agent_id)).status, 'suspended')

    house.wait(1)
    const heir = await makeUser(house)
    client.say({ client_name: 'Orbit Writer' })
    const next = { owner_id: heir.id, purpose: 'writes', agent_expires_at: inSeconds(10) }
    const again = await allowed({ url: client.url, ...next })
    assert.equal(again.agent_id, agent_id)
    const { owner_id, purpose, expires_at, name, status } = await agentOf(agent_id)
    assert.deepEqual({ owner_id, purpose, agent_expires_at: expires_at }, next)
    assert.deepEqual({ name, status }, { name: 'Orbit Writer', status: 'suspended' })
    const updated = (await eventsOf(agent_id)).find(({ type }) => type === 'agent.updated')
    assert.equal(updated?.user_id, heir.id)
    assert.deepEqual(updated?.detail, {
      changed: ['name', 'purpose', 'owner_id', 'expires_at'],
      client_metadata_rule_id: again.id,
    })
  })

  test('after its agent was retired, makes another', async () => {
    const client = await site.publish()
    const { id, agent_id } = await allowed({ url: client.url })
    await house.admin('POST', `/agents/${agent_id}/retire`, {})
    await end(id)
    const again = await allowed({ url: client.url })
    assert.notEqual(again.agent_id, agent_id)
    assert.equal((await agentOf(agent_id)).status, 'retired')
    assert.equal((await agentOf(again.agent_id)).status, 'active')
  })

  test('takes no agent from another tenant', async () => {
    const client = await site.publish()
    const { id, agent_id } = await allowed({ url: client.url })
    await end(id)
    const elsewhere = { url: client.url, owner_id: stranger.id }
    assertRefused(await allow(elsewhere), 409, 'already_exists', '/url')
    assert.deepEqual((await list({ url: client.url })).map(idOf), [id])
    await house.admin('POST', `/agents/${agent_id}/retire`, {})
    const rule = await allowed(elsewhere)
    assert.equal(rule.tenant_id, tenant.id)
    assert.equal((await agentOf(rule.agent_id)).tenant_id, tenant.id)
  })

  test('that never was cannot be ended', async () => {
    assertRefused(await end('cmr_unknown'), 404, 'not_found')
  })
})

const idOf = ({ id }: { id: string }) => id

const client = await site.publish()
const REFUSED: [why: string, members: object, code: string, pointer: string][] = [
  ['without url and host', {}, 'validation_failed', ''],
  ['with url and host', { url: client.url, host: site.host }, 'validation_failed', ''],
  ['for a URL without a path', { url: 'https://a.example/' }, 'validation_failed', '/url'],
  ['for a URL with a fragment', { url: `${client.url}#a` }, 'validation_failed', '/url'],
  ['for http elsewhere (TV-100)', { url: 'http://a.example/c' }, 'validation_failed', '/url'],
  ['for a host in capitals', { host: 'A.example' }, 'validation_failed', '/host'],
  ['for all hosts', { host: '*' }, 'validation_failed', '/host'],
  ['for a URL as a host', { host: client.url }, 'validation_failed', '/host'],
  ['of nobody', { url: client.url, owner_id: 'usr_unknown' }, 'validation_failed', '/owner_id'],
  [
    'in another tenant',
    { host: 'a.example', tenant_id: tenant.id },
    'validation_failed',
    '/tenant_id',
  ],
  ['without purpose', { host: 'a.example', purpose: ' ' }, 'validation_failed', '/purpose'],
  [
    'for agents that have ended',
    { host: 'a.example', agent_expires_at: inSeconds(0) },
    'validation_failed',
    '/agent_expires_at',
  ],
  [
    'without an end of its agents',
    { host: 'a.example', agent_expires_at: undefined },
    'validation_failed',
    '/agent_expires_at',
  ],
]
for (const [why, members, code, pointer] of REFUSED) {
  test(`a rule ${why} is refused, and leaves nothing behind`, async () => {
    assertRefused(await allow(members), 422, code, pointer)
    assert.deepEqual(await list({ host: 'a.example' }), [])
    assert.deepEqual(await agentsOf(client.url), [])
  })
}

test('a rule for the agents of a suspended user is refused', async () => {
  const gone = await makeUser(house, { status: 'suspended' })
  const answer = await allow({ host: 'a.example', owner_id: gone.id })
  assertRefused(answer, 422, 'owner_inactive', '/owner_id')
})

const BAD: [what: string, change: (client: { url: string }) => object, says: RegExp][] = [
  ['is missing', () => ({ status: 404, body: 'secret words' }), /did not answer with status 200/],
  [
    'redirects (TV-100)',
    ({ url }) => ({ status: 302, headers: { location: `${url}/elsewhere` } }),
    /redirect/,
  ],
  ['is longer than 5 KiB (TV-100)', () => ({ body: 'x'.repeat(5121) }), /too large/],
  ['is no JSON', () => ({ body: 'secret words' }), /not a JSON object/],
  [
    'names another client (TV-100)',
    ({ url }) => ({ body: `{"client_id":"${url}x"}` }),
    /client_id/,
  ],
]
for (const [what, change, says] of BAD) {
  test(`a rule for a document that ${what} is refused with the reason, and nothing is stored (DR-36)`, async () => {
    const client = await site.publish()
    Object.assign(client.page, change(client))
    const answer = await allow({ url: client.url })
    assertRefused(answer, 422, 'validation_failed', '/url')
    assert.match(answer.body.detail, says)
    assert.doesNotMatch(answer.text, /secret words|ECONN|elsewhere/)
    assert.deepEqual(await list({ url: client.url }), [])
    assert.deepEqual(await agentsOf(client.url), [])
  })
}

test('ending a rule gives the agents that came of it another version, and no others (design rule 3)', async () => {
  const here = await openClientSite({ after })
  const clients = [await here.publish(), await here.publish(), await site.publish()]
  const rules: { id: string; agent_id: string }[] = []
  for (const { url } of clients) rules.push(await allowed({ url }))
  const by_host = await allowed({ host: here.host })
  const versions = async () => {
    const { rows } = await sql<{ version: string; says: object }>`
      select xmin::text as version, to_jsonb(agents) as says from agents
      where id in (${sql.join(rules.map(({ agent_id }) => agent_id))}) order by id`.execute(db)
    return new Map(
      rows.map(({ version, says }) => [(says as { id: string }).id, { version, says }]),
    )
  }
  const changed = async (before: Awaited<ReturnType<typeof versions>>) => {
    const now = await versions()
    for (const [id, { says }] of before) assert.deepEqual(now.get(id)?.says, says)
    return rules.flatMap(({ agent_id }, at) =>
      before.get(agent_id)?.version === now.get(agent_id)?.version ? [] : [at],
    )
  }
  house.wait(1)
  const first = await versions()
  await end(by_host.id)
  assert.deepEqual(await changed(first), [0, 1])
  const second = await versions()
  await end(rules[2]?.id ?? '')
  assert.deepEqual(await changed(second), [2])
})

test('ending a rule waits for a mint that holds an agent which came of it', async () => {
  const client = await site.publish()
  const rule = await allowed({ url: client.url })
  let ending: Promise<Answer> | undefined
  await db.transaction().execute(async (tx) => {
    await sql`select from agents where id = ${rule.agent_id} for share`.execute(tx)
    ending = end(rule.id)
    await untilSomebodyWaits()
  })
  assert.equal((await ending)?.status, 204)
})

/** Until some statement of this database waits for a row lock. */
async function untilSomebodyWaits(): Promise<void> {
  for (;;) {
    const { rows } = await pool.query(
      `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    )
    if (rows.length > 0) return
  }
}

test('a document whose keys lie where nobody may be called is refused at once (DR-31)', async () => {
  for (const jwks_uri of ['https://10.0.0.1/keys', 'https://[::ffff:a9fe:a9fe]/keys']) {
    const client = await site.publish({ jwks: undefined, jwks_uri })
    const answer = await allow({ url: client.url })
    assertRefused(answer, 422, 'validation_failed', '/url')
    assert.match(answer.body.errors[0].detail, /whose jwks_uri cannot be called: the host has no/)
  }
})

test('no agent is given an id that looks like a URL (DS-47)', async () => {
  for (let n = 0; n < 100; n += 1) assert.ok(!looksLikeMetadataUrl(newId('agt')))
  const client = await site.publish()
  const { agent_id } = await allowed({ url: client.url })
  const renamed = db.updateTable('agents').set({ id: client.url }).where('id', '=', agent_id)
  await assert.rejects(renamed.execute(), /agents_id_check/)
})

test('what its document says of an agent is not for administrators to change, the rest is', async () => {
  const client = await site.publish()
  const { agent_id } = await allowed({ url: client.url })
  const change = (members: object) => house.admin('PATCH', `/agents/${agent_id}`, members)
  for (const [member, value] of Object.entries({
    name: 'Another',
    jwks_uri: 'https://a.example/keys',
    redirect_uris: null,
    grant_types: [GRANT.tokenExchange],
    id_token_signed_response_alg: 'ES256',
    dpop_bound_access_tokens: true,
  })) {
    assertRefused(await change({ [member]: value }), 422, 'validation_failed', `/${member}`)
  }
  const answer = await change({ purpose: 'something else' })
  assert.equal(answer.status, 200, answer.text)
  assert.equal(answer.body.client_id, client.url)
  const added = await house.admin('POST', `/agents/${agent_id}/credentials`, { jwk: client.jwk })
  assertRefused(added, 422, 'validation_failed', '/jwk')
  const secret = await house.admin('POST', `/agents/${agent_id}/credentials`, {})
  assertRefused(secret, 422, 'validation_failed', '/jwk')
})

test('an agent that publishes its own document has none here (DS-50)', async () => {
  const client = await site.publish()
  const { agent_id } = await allowed({ url: client.url })
  const answer = await house.inject({ method: 'GET', url: `/agents/${agent_id}/client.json` })
  assert.equal(answer.status, 404)
})

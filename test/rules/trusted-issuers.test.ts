/** Trusted issuers and their accounts at the admin door; what exchanges make of them is in token/upstream.test.ts. */
import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { sql } from 'kysely'
import { startIssuer } from '../support/fake-issuer.ts'
import { type Answer, openHouse } from '../support/house.ts'
import { makeParties, makeUser } from '../support/parties.ts'
import { assertRefused } from '../support/refused.ts'

const house = await openHouse({ after })
const { db, pool } = house.deps

const of = await makeParties(house)
const { agent_id, user_id, tenant_id } = of
const { agent_id: other_id } = await makeParties(house)
const { body: tenant } = await house.admin('POST', '/tenants', { name: 'Elsewhere' })
const here = { tenant_id: tenant.id as string }
const elsewhere = await makeParties(house, {
  user: here,
  agent: { ...here, owner_id: (await makeUser(house, here)).id },
  audience: here,
  entitlement: here,
})

let count = 0
const newIssuer = () => `https://login-${++count}.orbit.example`
/** A registration with nothing wrong with it, of an issuer that is nowhere. */
const registration = (body: object = {}) => ({
  issuer: newIssuer(),
  jwks_uri: 'https://keys.orbit.example/jwks.json',
  clients: [{ client_id: 'orbit-web', agent_ids: [agent_id] }],
  provisioning: 'link',
  ...body,
})
const trust = (body: object = {}, headers?: Record<string, string>) =>
  house.admin('POST', '/trusted-issuers', registration(body), headers)
async function trusted(body: object = {}) {
  const answer = await trust(body)
  assert.equal(answer.status, 201, answer.text)
  return answer.body
}
const end = (id: string) => house.admin('DELETE', `/trusted-issuers/${id}`)
const list = (query: Record<string, string> = {}) =>
  house.admin('GET', `/trusted-issuers?${new URLSearchParams(query)}`)
const idsOf = async (query: Record<string, string>) => {
  const { body, text } = await list(query)
  assert.ok(body.data, text)
  return body.data.map(({ id }: { id: string }) => id)
}
const inSeconds = (seconds: number) =>
  new Date(house.clock.now.getTime() + seconds * 1000).toISOString()
const eventsOf = async (id: string) => {
  const events = await db
    .selectFrom('audit_events')
    .select(['type', 'actor_id', 'tenant_id', 'user_id', 'agent_id', 'detail'])
    .where(sql<boolean>`type ~ '^(trusted_issuer|upstream_account)[.]'`)
    .orderBy(sql`xid`)
    .execute()
  return events.filter(({ detail }) => detail?.trusted_issuer_id === id)
}

describe('a trusted issuer', () => {
  test('says whose ID tokens are taken, from whom, and what of them is believed', async () => {
    const body = registration({
      clients: [
        { client_id: 'orbit-web', agent_ids: [agent_id, other_id] },
        { client_id: 'orbit app', agent_ids: [agent_id] },
      ],
      claim_mapping: { external_id: 'employee_number', name: 'display_name' },
      provisioning: 'create',
      trust_auth_time: true,
      trust_contacts: true,
      expires_at: inSeconds(60),
      reason: 'Ticket 4711',
      tenant_id,
    })
    const made = await trusted(body)
    assert.match(made.id, /^tis_[\w-]{22}$/)
    assert.deepEqual(made, {
      ...body,
      id: made.id,
      claim_mapping: {
        external_id: 'employee_number',
        email: 'email',
        email_verified: 'email_verified',
        phone_number: 'phone_number',
        phone_number_verified: 'phone_number_verified',
        name: 'display_name',
      },
      status: 'active',
      created_at: house.clock.now.toISOString(),
      created_by: 'environment',
      ended_at: null,
    })
    assert.deepEqual((await list({ issuer: body.issuer })).body.data, [made])
  })

  test('is believed in nothing but who its subjects are unless it is said', async () => {
    const { trust_auth_time, trust_contacts, claim_mapping, expires_at } = await trusted()
    assert.deepEqual([trust_auth_time, trust_contacts, expires_at], [false, false, null])
    assert.equal(claim_mapping.external_id, 'sub')
  })

  test('belongs to the tenant of its agents, and each tenant trusts for itself', async () => {
    const issuer = newIssuer()
    const clients = [{ client_id: 'orbit-web', agent_ids: [elsewhere.agent_id] }]
    const one = await trusted({ issuer })
    const other = await trusted({ issuer, clients })
    assert.equal(one.tenant_id, tenant_id)
    assert.equal(other.tenant_id, tenant.id)
    assert.deepEqual(await idsOf({ issuer, tenant_id }), [one.id])
  })

  test('is registered once while the trust lasts, and anew after its end', async () => {
    const issuer = newIssuer()
    const first = await trusted({ issuer })
    assertRefused(await trust({ issuer }), 409, 'already_exists', '/issuer')
    assert.equal((await end(first.id)).status, 204)
    house.wait(1)
    const second = await trusted({ issuer, expires_at: inSeconds(60) })
    house.wait(59)
    assertRefused(await trust({ issuer }), 409, 'already_exists', '/issuer')
    house.wait(1)
    const third = await trusted({ issuer })
    assert.deepEqual(await idsOf({ issuer, status: 'ended' }), [second.id, first.id])
    assert.deepEqual(await idsOf({ issuer, status: 'active' }), [third.id])
    const types = (await eventsOf(second.id)).map(({ type }) => type)
    assert.deepEqual(types, ['trusted_issuer.created', 'trusted_issuer.ended'])
  })

  test('is registered once also when two register it at a time', async () => {
    const issuer = newIssuer()
    const answers = await Promise.all([trust({ issuer }), trust({ issuer }), trust({ issuer })])
    assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 409, 409])
  })

  test('is the same one for the same Idempotency-Key', async () => {
    const headers = { 'idempotency-key': 'one-issuer' }
    const body = registration()
    const [first, again] = [await trust(body, headers), await trust(body, headers)]
    assert.equal(again.status, 201)
    assert.deepEqual(again.body, first.body)
  })

  test('ends once, leaves its row, and is in the audit log without its reason', async () => {
    const made = await trusted({ reason: 'Kim left' })
    assert.equal((await end(made.id)).status, 204)
    const ended_at = house.clock.now.toISOString()
    house.wait(1)
    assert.equal((await end(made.id)).status, 204)
    const [row] = (await list({ issuer: made.issuer })).body.data
    assert.deepEqual(row, { ...made, status: 'ended', ended_at })
    const detail = { trusted_issuer_id: made.id }
    const event = { actor_id: 'environment', tenant_id, user_id: null, agent_id: null, detail }
    assert.deepEqual(await eventsOf(made.id), [
      { type: 'trusted_issuer.created', ...event },
      { type: 'trusted_issuer.ended', ...event },
    ])
    assertRefused(await end('tis_unknown'), 404, 'not_found')
  })

  test('ends only after a mint that holds it', async () => {
    const made = await trusted()
    let ending: Promise<Answer> | undefined
    await db.transaction().execute(async (tx) => {
      await sql`select from trusted_issuers where id = ${made.id} for share`.execute(tx)
      ending = end(made.id)
      await untilSomebodyWaits()
    })
    assert.equal((await ending)?.status, 204)
  })
})

const retired = await makeParties(house, { agent: { status: 'retired' } })
const listing = (...agent_ids: string[]) => ({ clients: [{ client_id: 'orbit-web', agent_ids }] })
const REFUSED: [why: string, body: object, pointer: string][] = [
  ['by http', { issuer: 'http://login.orbit.example' }, '/issuer'],
  ['that is no URL', { issuer: 'login.orbit.example' }, '/issuer'],
  ['with a query', { issuer: 'https://login.orbit.example/?a=b' }, '/issuer'],
  ['with a fragment', { issuer: 'https://login.orbit.example/#a' }, '/issuer'],
  ['with userinfo', { issuer: 'https://kim@login.orbit.example' }, '/issuer'],
  ['that is endless', { issuer: `https://login.orbit.example/${'a'.repeat(500)}` }, '/issuer'],
  ['that is this server', { issuer: house.config.issuer }, '/issuer'],
  ['that is this server, spelt otherwise', { issuer: 'http://LOCALHOST:4000/' }, '/issuer'],
  ['with keys by http', { jwks_uri: 'http://keys.orbit.example/' }, '/jwks_uri'],
  ['with keys at no URL', { jwks_uri: 'keys' }, '/jwks_uri'],
  ['with keys at a private address', { jwks_uri: 'https://10.0.0.1/jwks' }, '/jwks_uri'],
  ['with keys at metadata', { jwks_uri: 'https://[::ffff:a9fe:a9fe]/' }, '/jwks_uri'],
  ['with keys at a strange port', { jwks_uri: 'https://8.8.8.8:8443/' }, '/jwks_uri'],
  ['without clients', { clients: [] }, '/clients'],
  ['with a client without agents', listing(), '/clients/0/agent_ids'],
  ['with an agent twice', listing(agent_id, agent_id), '/clients/0/agent_ids'],
  ['with an unknown agent', listing(agent_id, 'agt_unknown'), '/clients/0/agent_ids/1'],
  ['with a retired agent', listing(agent_id, retired.agent_id), '/clients/0/agent_ids/1'],
  ["with another tenant's agent", listing(agent_id, elsewhere.agent_id), '/clients/0/agent_ids/1'],
  [
    'with a client twice',
    { clients: [agent_id, other_id].map((id) => ({ client_id: 'a', agent_ids: [id] })) },
    '/clients/1/client_id',
  ],
  [
    'with a client of a line break',
    { clients: [{ client_id: 'a\nb', agent_ids: [agent_id] }] },
    '/clients/0/client_id',
  ],
  ['of another tenant than its agents', { tenant_id: tenant.id }, '/tenant_id'],
  ['with an unknown claim', { claim_mapping: { locale: 'locale' } }, '/claim_mapping/locale'],
  ['with a claim without a name', { claim_mapping: { email: '' } }, '/claim_mapping/email'],
  ['that provisions otherwise', { provisioning: 'merge' }, '/provisioning'],
  ['that does not say what it provisions', { provisioning: undefined }, '/provisioning'],
  ['with an end that has come', { expires_at: inSeconds(0) }, '/expires_at'],
  ['with an unknown member', { secret: 'x' }, '/secret'],
]
for (const [why, body, pointer] of REFUSED) {
  test(`a trusted issuer ${why} is refused, and leaves nothing behind`, async () => {
    const before = await idsOf({ limit: '200' })
    assertRefused(await trust(body), 422, 'validation_failed', pointer)
    assert.deepEqual(await idsOf({ limit: '200' }), before)
  })
}

describe('without a jwks_uri', () => {
  test('an issuer is registered when its discovery document can be read', async () => {
    const { issuer, site } = await startIssuer({ after }, house)
    const { jwks_uri } = await trusted({ issuer, jwks_uri: undefined })
    assert.equal(jwks_uri, null)
    assert.equal(site.discovery.asked, 1)
    assert.equal(site.jwks.asked, 0)
  })

  test('a slash at the end of the issuer is not doubled, and stays part of it', async () => {
    const { issuer, site, jwksUri } = await startIssuer({ after }, house)
    const slashed = `${issuer}/`
    const answer = await trust({ issuer: slashed, jwks_uri: undefined })
    assertRefused(answer, 422, 'validation_failed', '/issuer')
    site.discovery.body = JSON.stringify({ issuer: slashed, jwks_uri: jwksUri })
    assert.equal((await trusted({ issuer: slashed, jwks_uri: undefined })).issuer, slashed)
  })

  const FAULTS: [string, (of: { issuer: string; jwksUri: string }) => object, RegExp][] = [
    ['is missing', () => ({ status: 404 }), /did not answer with status 200/],
    [
      'is elsewhere',
      ({ jwksUri }) => ({ status: 302, headers: { location: jwksUri } }),
      /redirect/,
    ],
    ['is no JSON', () => ({ body: '<secret page>' }), /not a JSON object/],
    ['is endless', () => ({ body: `{"a":"${'x'.repeat(256 * 1024)}"}` }), /too large/],
    [
      'speaks of another issuer',
      ({ jwksUri }) => ({
        body: JSON.stringify({ issuer: 'https://a.example', jwks_uri: jwksUri }),
      }),
      /another issuer, of another origin/,
    ],
    [
      'speaks of an issuer beside it',
      ({ issuer, jwksUri }) => ({
        body: JSON.stringify({ issuer: `${issuer}/t`, jwks_uri: jwksUri }),
      }),
      /another issuer, https?:\/\/[^ ]+\/t;/,
    ],
    ['names no issuer', ({ jwksUri }) => ({ body: `{"jwks_uri":"${jwksUri}"}` }), /of no issuer/],
    ['names no keys', ({ issuer }) => ({ body: `{"issuer":"${issuer}"}` }), /no jwks_uri/],
    [
      'names keys by http',
      ({ issuer }) => ({ body: JSON.stringify({ issuer, jwks_uri: 'http://keys.example/' }) }),
      /no jwks_uri/,
    ],
    [
      'names keys at a private address',
      ({ issuer }) => ({ body: JSON.stringify({ issuer, jwks_uri: 'https://10.0.0.1/jwks' }) }),
      /its jwks_uri cannot be called: the host has no address that may be called/,
    ],
  ]
  for (const [what, fault, words] of FAULTS) {
    test(`an issuer whose discovery document ${what} is refused at once (DR-36)`, async () => {
      const upstream = await startIssuer({ after }, house)
      const { issuer } = upstream
      Object.assign(upstream.site.discovery, fault(upstream))
      const answer = await trust({ issuer, jwks_uri: undefined })
      assertRefused(answer, 422, 'validation_failed', '/issuer')
      assert.match(answer.body.errors[0].detail, words)
      assert.doesNotMatch(answer.text, /secret page|a\.example/)
      assert.deepEqual(await idsOf({ issuer }), [])
    })
  }

  for (const issuer of ['https://10.0.0.1', 'https://169.254.169.254', 'https://[fd00::1]']) {
    test(`${issuer} is not asked (DR-31)`, async () => {
      const answer = await trust({ issuer, jwks_uri: undefined })
      assertRefused(answer, 422, 'validation_failed', '/issuer')
      assert.match(answer.body.errors[0].detail, /no address that may be called/)
    })
  }
})

describe('an account at a trusted issuer', () => {
  const accounts = (id: string) => `/trusted-issuers/${id}/accounts`
  const link = (id: string, body: object, headers?: Record<string, string>) =>
    house.admin('POST', accounts(id), { user_id, subject: 'kim', ...body }, headers)
  const unlink = (id: string, subject: string) =>
    house.admin('DELETE', `${accounts(id)}/${encodeURIComponent(subject)}`)
  const linked = async (id: string, query: Record<string, string> = {}) => {
    const answer = await house.admin('GET', `${accounts(id)}?${new URLSearchParams(query)}`)
    assert.equal(answer.status, 200, answer.text)
    return answer.body
  }
  const versionOf = async (id: string) => {
    const { rows } = await sql<{ version: string; says: object }>`
      select xmin::text as version, to_jsonb(u) as says from users u where id = ${id}`.execute(db)
    assert.ok(rows[0])
    return rows[0]
  }

  test('is linked to a user and unlinked again, which gives the user another version', async () => {
    const { id } = await trusted()
    const made = await link(id, {})
    assert.equal(made.status, 201, made.text)
    const account = {
      subject: 'kim',
      user_id,
      created_at: house.clock.now.toISOString(),
      created_by: 'environment',
    }
    assert.deepEqual(made.body, account)
    assert.deepEqual(await linked(id), { data: [account], next_cursor: null })
    const before = await versionOf(user_id)
    const answer = await unlink(id, 'kim')
    assert.equal(answer.status, 204)
    assert.equal(answer.text, '')
    assert.deepEqual((await linked(id)).data, [])
    const then = await versionOf(user_id)
    assert.notEqual(then.version, before.version)
    assert.deepEqual(then.says, before.says)
    assert.equal((await unlink(id, 'kim')).status, 204)
    assert.equal((await versionOf(user_id)).version, then.version)
  })

  test('is in the audit log without its subject', async () => {
    const { id } = await trusted()
    await link(id, { subject: 'kim.reyes@orbit.example' })
    await unlink(id, 'kim.reyes@orbit.example')
    const event = {
      actor_id: 'environment',
      tenant_id,
      user_id,
      agent_id: null,
      detail: { trusted_issuer_id: id },
    }
    const [, ...events] = await eventsOf(id)
    assert.deepEqual(events, [
      { type: 'upstream_account.linked', ...event },
      { type: 'upstream_account.unlinked', ...event },
    ])
    const { rows } = await sql`select from audit_events e where e::text like '%kim.reyes%'`.execute(
      db,
    )
    assert.equal(rows.length, 0)
  })

  test('is one user’s, who may have several', async () => {
    const { id } = await trusted()
    const other = await makeUser(house)
    await link(id, {})
    assertRefused(await link(id, { user_id: other.id }), 409, 'already_exists', '/subject')
    assertRefused(await link(id, {}), 409, 'already_exists', '/subject')
    assert.equal((await link(id, { subject: 'Kim' })).status, 201)
    assert.equal((await link(id, { subject: 'olu', user_id: other.id })).status, 201)
    const { data } = await linked(id, { user_id })
    assert.deepEqual(data.map(({ subject }: { subject: string }) => subject).sort(), ['Kim', 'kim'])
    assert.equal((await linked(id, { subject: 'olu' })).data[0].user_id, other.id)
  })

  test('may have any subject that OpenID Connect allows, and more', async () => {
    const { id } = await trusted()
    for (const subject of ['a/b?c#d', '..%2f', 'x'.repeat(255), '🙂'.repeat(255), ' ', 'a b:c|d']) {
      assert.equal((await link(id, { subject })).status, 201, subject)
      assert.equal((await linked(id, { subject })).data.length, 1)
      assert.equal((await unlink(id, subject)).status, 204)
      assert.equal((await linked(id, { subject })).data.length, 0, subject)
    }
    for (const subject of ['', 'x'.repeat(256), 'a\tb', 'a\u0000b', '\ud800']) {
      assertRefused(await link(id, { subject }), 422, 'validation_failed', '/subject')
    }
  })

  test('is listed page by page, newest first', async () => {
    const { id } = await trusted()
    const subjects = ['one two', 'x'.repeat(255), 'ü', 'four']
    for (const subject of subjects) {
      house.wait(1)
      assert.equal((await link(id, { subject })).status, 201)
    }
    const seen: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const page = await linked(id, { limit: '1', ...(cursor && { cursor }) })
      seen.push(...page.data.map(({ subject }: { subject: string }) => subject))
      cursor = page.next_cursor
    }
    assert.deepEqual(seen, subjects.toReversed())
  })

  test('outlives the registration, and is there when the issuer is registered anew', async () => {
    const issuer = newIssuer()
    const first = await trusted({ issuer })
    await link(first.id, {})
    await end(first.id)
    assertRefused(await link(first.id, { subject: 'olu' }), 409, 'invalid_transition')
    const second = await trusted({ issuer })
    assert.equal((await linked(second.id)).data[0].user_id, user_id)
    assert.equal((await unlink(first.id, 'kim')).status, 204)
    assert.deepEqual((await linked(second.id)).data, [])
  })

  test('is the same one for the same Idempotency-Key, whose memory has none of it', async () => {
    const { id } = await trusted()
    const headers = { 'idempotency-key': 'one-account' }
    const body = { subject: 'somebody-in-particular' }
    const [first, again] = [await link(id, body, headers), await link(id, body, headers)]
    assert.equal(again.status, 201)
    assert.deepEqual(again.body, first.body)
    const { rows } =
      await sql`select from idempotency_keys k where k::text like '%somebody-in-particular%'`.execute(
        db,
      )
    assert.equal(rows.length, 0)
  })

  test('is refused for users who are none, gone, or of another tenant', async () => {
    const { id } = await trusted()
    const deleted = await makeUser(house, {
      status: 'deleted',
      deleted_at: house.clock.now,
      email: null,
      name: null,
    })
    for (const user_id of ['usr_unknown', deleted.id, elsewhere.user_id]) {
      assertRefused(await link(id, { user_id }), 422, 'validation_failed', '/user_id')
    }
    assert.deepEqual((await linked(id)).data, [])
  })

  test('is not there for an issuer that never was', async () => {
    assertRefused(await link('tis_unknown', {}), 404, 'not_found')
    assertRefused(await unlink('tis_unknown', 'kim'), 404, 'not_found')
    assertRefused(await house.admin('GET', accounts('tis_unknown')), 404, 'not_found')
  })

  test('is unlinked only after a mint that holds its user', async () => {
    const { id } = await trusted()
    await link(id, {})
    let unlinking: Promise<Answer> | undefined
    await db.transaction().execute(async (tx) => {
      await sql`select from users where id = ${user_id} for share`.execute(tx)
      unlinking = unlink(id, 'kim')
      await untilSomebodyWaits()
    })
    assert.equal((await unlinking)?.status, 204)
  })
})

test('trusted issuers need the scopes of rules', async () => {
  const { id } = await trusted()
  const keyWith = async (...scopes: string[]) => {
    const expires_at = inSeconds(3600)
    const { body } = await house.admin('POST', '/admin-keys', { name: 'k', scopes, expires_at })
    return { authorization: `Bearer ${body.key}` }
  }
  const [reader, writer] = [await keyWith('rules:read'), await keyWith('rules:write')]
  const paths = ['/trusted-issuers', `/trusted-issuers/${id}/accounts`]
  for (const path of paths) {
    assert.equal((await house.admin('GET', path, undefined, reader)).status, 200)
    assertRefused(await house.admin('GET', path, undefined, writer), 403, 'insufficient_scope')
    assertRefused(await house.admin('POST', path, {}, reader), 403, 'insufficient_scope')
    assertRefused(await house.admin('POST', path, {}, writer), 422, 'validation_failed')
  }
  for (const path of [`/trusted-issuers/${id}`, `/trusted-issuers/${id}/accounts/kim`]) {
    const ending = await house.admin('DELETE', path, undefined, reader)
    assertRefused(ending, 403, 'insufficient_scope')
    assert.equal((await house.admin('DELETE', path, undefined, writer)).status, 204)
  }
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

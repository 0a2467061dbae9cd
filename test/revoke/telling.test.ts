// Who has to hear of an ending, and who need not: the outbox as each ending leaves it (rule 4, GR-07, GR-08, EV-14).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeJwt } from 'jose'
import { GRANT } from '../../src/oauth/names.ts'
import { tellExpired } from '../../src/revoke/tell-expired.ts'
import { authorize } from '../support/browser.ts'
import { openHouse } from '../support/house.ts'
import {
  clientAuthentication,
  entitle,
  newAgent,
  newAudience,
  type Story,
  tellStory,
} from '../support/story.ts'
import { ENDPOINT, type Minted, scenes } from './minted.ts'

const house = await openHouse({ after })
const { db } = house.deps
const { minted, mint, sibling, eventsAt, arrive, act, revoke } = scenes(house)

const reuse = async ({ agent, tokens }: Minted) => {
  const refresh = async () =>
    house.form('/oauth2/token', {
      grant_type: GRANT.refreshToken,
      refresh_token: tokens.refresh_token,
      ...(await clientAuthentication(house, agent)),
    })
  assert.equal((await refresh()).status, 200)
  assert.equal((await refresh()).body.error, 'invalid_grant')
}

const TRIGGERS: [what: string, end: (of: Minted) => Promise<unknown>, cause?: string][] = [
  ['the user stops it', stopByUser, 'delegation_ended'],
  [
    'an administrator ends it',
    (of) => act('DELETE', `/delegations/${of.delegation}`),
    'delegation_ended',
  ],
  ['all of its agent is revoked', ({ agent }) => revoke({ agent_id: agent.id })],
  ['all of its user is revoked', ({ user }) => revoke({ user_id: user.id })],
  ['all of its audience is revoked', ({ audience }) => revoke({ audience_id: audience.id })],
  ['all of its owner is revoked', ({ owner }) => revoke({ owner_id: owner.id })],
  [
    'its user is suspended',
    ({ user }) => act('PATCH', `/users/${user.id}`, { status: 'suspended' }),
  ],
  ['its user is deleted', ({ user }) => act('PATCH', `/users/${user.id}`, { status: 'deleted' })],
  ['its owner is gone', ({ owner }) => act('PATCH', `/users/${owner.id}`, { status: 'suspended' })],
  ['its agent is suspended', ({ agent }) => act('POST', `/agents/${agent.id}/suspend`, {})],
  ['its agent is retired', ({ agent }) => act('POST', `/agents/${agent.id}/retire`, {})],
  [
    'its audience is suspended',
    ({ audience }) => act('POST', `/audiences/${audience.id}/suspend`, {}),
  ],
  [
    'its audience is retired',
    ({ audience }) => act('POST', `/audiences/${audience.id}/retire`, {}),
  ],
  [
    'its entitlement is ended',
    ({ agent, audience }) => act('DELETE', `/agents/${agent.id}/entitlements/${audience.id}`),
    'entitlement_ended',
  ],
  ['a refresh token of its agent comes back', reuse, 'refresh_token_reused'],
  ['an authorization code of its agent comes back', redeemTwice, 'code_reused'],
  [
    'a spent refresh token is exchanged',
    async (of) => {
      const { agent, tokens } = of
      await house.form('/oauth2/token', {
        grant_type: GRANT.refreshToken,
        refresh_token: tokens.refresh_token,
        ...(await clientAuthentication(house, agent)),
      })
      const answer = await of.exchange({
        subject_token: tokens.refresh_token,
        subject_token_type: 'urn:ietf:params:oauth:token-type:refresh_token',
      })
      assert.equal(answer.body.error, 'invalid_grant')
    },
    'refresh_token_reused',
  ],
]

async function redeemTwice({ browser, agent }: Minted): Promise<void> {
  const code = await authorize(browser, agent)
  const redeem = async () =>
    house.form('/oauth2/token', {
      grant_type: GRANT.authorizationCode,
      ...code,
      ...(await clientAuthentication(house, agent)),
    })
  assert.equal((await redeem()).status, 200)
  assert.equal((await redeem()).body.error, 'invalid_grant')
}

async function stopByUser({ browser, delegation }: Minted): Promise<void> {
  const path = `/account/delegations/${delegation}/stop`
  const { text } = await browser.get('/account')
  const [, form = ''] = text.split(`action="${path}"`)
  const [, name = '', value = ''] = /name="([^"]+)" value="([^"]+)"/.exec(form) ?? []
  const visit = await browser.post(path, { [name]: value })
  assert.match(visit.text, /The agent was stopped/)
}

for (const [what, end, cause = 'revocation'] of TRIGGERS) {
  test(`the audience is told once when ${what} (GR-07)`, async () => {
    const story = await minted()
    await end(story)
    const [event, ...more] = await eventsAt(story)
    assert.ok(event)
    assert.deepEqual(more, [])
    assert.equal(event.cause, cause)
    assert.equal(event.status, 'queued')
    const { sub, aud, events } = decodeJwt(event.jws ?? '')
    assert.deepEqual([sub, aud], [story.user.id, story.audience.issuer])
    assert.deepEqual(Object.values(events as object), [{}])
    await end(story).catch(() => {})
    assert.equal((await eventsAt(story)).length, 1, 'again, while it waits')
  })
}

const TENANT_STOPS: Record<string, (tenant_id: string) => Promise<string>> = {
  'all of its tenant is revoked': async (tenant_id) => (await revoke({ tenant_id })).id,
  'its tenant is suspended': async (tenant_id) =>
    (await act('PATCH', `/tenants/${tenant_id}`, { status: 'suspended' })).revocation_id,
}
for (const [what, stop] of Object.entries(TENANT_STOPS)) {
  test(`the audience is told once when ${what}, and nobody elsewhere (GR-07)`, async () => {
    const { id: tenant_id } = await act('POST', '/tenants', { name: 'Orbit' })
    const story = await minted({ tenant_id })
    const elsewhere = await minted()
    const revocation_id = await stop(tenant_id)
    const { events } = await act('GET', `/revocations/${revocation_id}`)
    assert.deepEqual(events, { delivered: 0, pending: 1, failed: 0 })
    const [event, ...more] = await eventsAt(story)
    assert.deepEqual([event?.revocation_id, event?.sub], [revocation_id, story.user.id])
    assert.deepEqual(more, [])
    assert.deepEqual(await eventsAt(elsewhere), [])
    await stop(tenant_id)
    assert.equal((await eventsAt(story)).length, 1, 'again, while it waits')
  })
}

test('where nothing was ever minted nobody is told, nor who has no endpoint (GR-08)', async () => {
  const story = await tellStory(house, { audience: { events_endpoint: ENDPOINT } })
  const { id } = await story.delegate()
  await act('DELETE', `/delegations/${id}`)
  assert.deepEqual(await eventsAt(story), [])

  const deaf = await minted({ audience: { events_dialect: 'none' } })
  assert.equal((await revoke({ agent_id: deaf.agent.id })).events_queued, 0)
  assert.deepEqual(await eventsAt(deaf), [])
})

const inAMinute = () => new Date(house.clock.now.getTime() + 60_000).toISOString()
for (const [what, delegation] of [
  ['a spent `once`', () => ({ mode: 'once' })],
  ['one that is past its end', () => ({ expires_at: inAMinute() })],
] as const) {
  test(`a kill switch reaches ${what}: its event is queued`, async () => {
    const story = await minted({ delegation: delegation() })
    house.wait(61)
    const revoked = await revoke({ agent_id: story.agent.id })
    assert.deepEqual([revoked.delegations_revoked, revoked.events_queued], [0, 1])
    const [event] = await eventsAt(story)
    assert.equal(event?.revocation_id, revoked.id)
  })
}

test('what was minted before a new consent replaced it counts, though that queued nothing (rule 2)', async () => {
  const story = await minted()
  const { id } = await story.delegate({ scopes: ['docs.read', 'docs.write'] })
  assert.deepEqual(await eventsAt(story), [])
  await act('DELETE', `/delegations/${id}`)
  assert.equal((await eventsAt(story)).length, 1)
})

test('an accepted event is not repeated until something else was minted, whatever the clocks say', async () => {
  const story = await minted()
  const first = await revoke({ user_id: story.user.id })
  await arrive(story)
  const again = await revoke({ user_id: story.user.id })
  assert.deepEqual([first.events_queued, again.events_queued], [1, 0])
  // All of this happens at one instant of the clock.
  await story.delegate()
  const { id_token } = await signInAgain(story)
  await mint(story, undefined, id_token)
  assert.equal((await revoke({ user_id: story.user.id })).events_queued, 1)
})

test('an event that failed is owed still', async () => {
  const story = await minted()
  await revoke({ agent_id: story.agent.id })
  await arrive(story, 'failed')
  assert.equal((await revoke({ agent_id: story.agent.id })).events_queued, 1)
})

test('an event on its way proves a later revocation as well', async () => {
  const story = await minted()
  await act('DELETE', `/delegations/${story.delegation}`)
  const revoked = await revoke({ agent_id: story.agent.id })
  assert.deepEqual([revoked.events_queued, revoked.status], [0, 'queued'])
  const proof = async () => {
    const { events, last_acknowledged_at, seconds_to_last_acknowledgement } = await act(
      'GET',
      `/revocations/${revoked.id}`,
    )
    return { events, last_acknowledged_at, seconds_to_last_acknowledgement }
  }
  assert.deepEqual(await proof(), {
    events: { delivered: 0, pending: 1, failed: 0 },
    last_acknowledged_at: null,
    seconds_to_last_acknowledgement: null,
  })
  house.wait(7)
  await arrive(story)
  assert.deepEqual(await proof(), {
    events: { delivered: 1, pending: 0, failed: 0 },
    last_acknowledged_at: house.clock.now.toISOString(),
    seconds_to_last_acknowledgement: 7,
  })
})

test('a revocation waits while any of its events does, and then has failed if one of them has', async () => {
  const { id: tenant_id } = await act('POST', '/tenants', { name: 'Two apps' })
  const [one, other] = [await minted({ tenant_id }), await minted({ tenant_id })]
  const { id, status, created_at } = await revoke({ tenant_id })
  assert.deepEqual([status, created_at], ['queued', house.clock.now.toISOString()])
  const now = async () => (await act('GET', `/revocations/${id}`)).status
  await arrive(one, 'failed')
  assert.equal(await now(), 'queued')
  await arrive(other)
  assert.equal(await now(), 'failed')
  const again = { status: 'queued', failed_at: null, next_attempt_at: house.clock.now } as const
  await db
    .updateTable('event_deliveries')
    .set(again)
    .where('audience_id', '=', one.audience.id)
    .execute()
  assert.equal(await now(), 'queued')
  await arrive(one)
  assert.equal(await now(), 'delivered')
})

test('what failed, was sent again and then dropped for a newer consent has failed', async () => {
  const story = await minted()
  const { id } = await revoke({ agent_id: story.agent.id })
  const { now } = house.clock
  await db
    .updateTable('event_deliveries')
    .set({ status: 'superseded', superseded_at: now, resent_at: now, next_attempt_at: null })
    .where('audience_id', '=', story.audience.id)
    .execute()
  const { events } = await act('GET', `/revocations/${id}`)
  assert.deepEqual(events, { delivered: 0, pending: 0, failed: 1 })
})

test('no ID-JAG is minted while an event of its pair waits, and a new consent has it tried at once (EV-14)', async () => {
  const story = await minted()
  await act('DELETE', `/delegations/${story.delegation}`)
  house.wait(1)
  await db
    .updateTable('event_deliveries')
    .set({ next_attempt_at: new Date(house.clock.now.getTime() + 600_000), attempts: 4 })
    .where('audience_id', '=', story.audience.id)
    .execute()
  await story.delegate()
  const [event] = await eventsAt(story)
  assert.ok(event?.next_attempt_at && event.next_attempt_at <= house.clock.now)

  const waiting = await story.exchange()
  assert.deepEqual([waiting.status, waiting.body.error], [503, 'temporarily_unavailable'])
  assert.match(String(waiting.headers['retry-after']), /^[1-9]\d?$/)
  const refused = await db
    .selectFrom('audit_events')
    .select('reason')
    .where('type', '=', 'token.refused')
    .where('user_id', '=', story.user.id)
    .execute()
  assert.deepEqual(refused, [{ reason: 'revocation_pending' }])

  await arrive(story)
  await mint(story)
})

test('what was given up no longer holds a mint up (EV-14)', async () => {
  const story = await minted()
  await act('DELETE', `/delegations/${story.delegation}`)
  await story.delegate()
  assert.equal((await story.exchange()).status, 503)
  await arrive(story, 'failed')
  await mint(story)
})

test('a `once` is not spent by an exchange that has to wait (EV-14)', async () => {
  const story = await minted()
  await act('DELETE', `/delegations/${story.delegation}`)
  await story.delegate({ mode: 'once' })
  assert.equal((await story.exchange()).status, 503)
  await arrive(story)
  await mint(story)
})

test('one of two agents falls with the other, and the administrator is told which (GR-08)', async () => {
  const story = await minted()
  const other = await sibling(story)
  await mint(story, other.agent, other.id_token)
  const revoked = await revoke({ agent_id: story.agent.id })
  const interrupts = [
    {
      delegation_id: other.id,
      user_id: story.user.id,
      agent_id: other.agent.id,
      audience_id: story.audience.id,
    },
  ]
  assert.deepEqual(revoked.interrupts, interrupts)
  assert.deepEqual((await act('GET', `/revocations/${revoked.id}`)).interrupts, interrupts)
  const waiting = await story.exchange({ subject_token: other.id_token }, other.agent)
  assert.equal(waiting.status, 503)
  await arrive(story)
  await mint(story, other.agent, other.id_token)
})

test('an event of a revocation that another one replaced interrupts nothing (GR-08)', async () => {
  const story = await minted()
  const other = await sibling(story)
  const { id } = await revoke({ agent_id: story.agent.id })
  const interrupts = async () => (await act('GET', `/revocations/${id}`)).interrupts
  assert.equal((await interrupts())?.[0].delegation_id, other.id)
  const [event] = await eventsAt(story)
  await db
    .updateTable('event_deliveries')
    .set({ status: 'superseded', superseded_at: house.clock.now, next_attempt_at: null })
    .where('id', '=', event?.id ?? '')
    .execute()
  assert.equal(await interrupts(), undefined)
})

test('an audience that understands it is told of one agent, and its sibling goes on', async () => {
  const story = await minted({ audience: { event_names_agent: true } })
  const other = await sibling(story)
  await mint(story, other.agent, other.id_token)
  const revoked = await revoke({ agent_id: story.agent.id })
  assert.equal(revoked.interrupts, undefined)
  const [event, ...more] = await eventsAt(story)
  assert.deepEqual(more, [])
  const { events } = decodeJwt(event?.jws ?? '') as { events: object }
  assert.deepEqual(Object.values(events), [
    { 'urn:agent-idp:agent': { sub: story.agent.id, client_id: 'client-at-paperclip' } },
  ])
  await mint(story, other.agent, other.id_token)

  await story.delegate()
  await story.signIn()
  assert.equal((await story.exchange()).status, 503)
  await arrive(story)
  await mint(story)
  // By user both are ended, each by its own event.
  assert.equal((await revoke({ user_id: story.user.id })).events_queued, 2)
})

test('an audience that is told of one agent learns who that is from the ID-JAG', async () => {
  const story = await tellStory(house, {
    audience: { events_endpoint: ENDPOINT, event_names_agent: true },
  })
  await story.delegate()
  const { body } = await story.exchange()
  assert.deepEqual(decodeJwt(body.access_token).act, { sub: story.agent.id })
})

test('an audience that waits for the last agent is told then, of all of them (GR-08)', async () => {
  const story = await minted({ audience: { notify_when: 'last' } })
  const other = await sibling(story)
  await act('DELETE', `/delegations/${story.delegation}`)
  assert.deepEqual(await eventsAt(story), [])
  await act('DELETE', `/delegations/${other.id}`)
  assert.equal((await eventsAt(story)).length, 1, 'though the last one never minted')
})

test('a revocation has not arrived while an audience that waits for the last agent is not told (EV-13)', async () => {
  const story = await minted({ audience: { notify_when: 'last' } })
  const other = await sibling(story)
  const answer = await revoke({ agent_id: story.agent.id })
  assert.deepEqual([answer.status, answer.events_queued, answer.events_withheld], ['queued', 0, 1])
  const status = async () => (await act('GET', `/revocations/${answer.id}`)).status
  assert.equal(await status(), 'queued')
  await act('DELETE', `/delegations/${other.id}`)
  assert.equal(await status(), 'queued', 'it is on its way')
  await arrive(story)
  assert.equal(await status(), 'delivered')
})

test('a refresh token that comes back is told of at once, whoever waits for the last ending', async () => {
  const story = await minted({ audience: { notify_when: 'last' } })
  await reuse(story)
  assert.equal((await eventsAt(story)).length, 1)
})

test('so is a code that comes back', async () => {
  const story = await minted({ audience: { notify_when: 'last' } })
  await redeemTwice(story)
  assert.equal((await eventsAt(story)).length, 1)
})

test('the end by time tells nobody, but an audience that asked for it (GR-09)', async () => {
  const expires_at = new Date(house.clock.now.getTime() + 600_000).toISOString()
  const quiet = await minted({ delegation: { expires_at } })
  const told = await minted({ delegation: { expires_at }, audience: { notify_expiry: true } })
  const live = await minted({ audience: { notify_expiry: true } })
  assert.equal(await tellExpired(house.deps), 0)
  house.wait(601)
  assert.equal(await tellExpired(house.deps), 1)
  assert.equal(await tellExpired(house.deps), 0)
  assert.deepEqual([await eventsAt(quiet), await eventsAt(live)], [[], []])
  const [event, ...more] = await eventsAt(told)
  assert.deepEqual([event?.cause, more], ['expired', []])
  const { data } = await act('GET', `/delegations?user_id=${told.user.id}`)
  assert.deepEqual([data[0].status, data[0].revoked_at], ['expired', null])
})

test('an agent past its end is told of where time is, and what it held is over', async () => {
  const expires_at = new Date(house.clock.now.getTime() + 600_000).toISOString()
  const story = await minted({ agent: { expires_at }, audience: { notify_expiry: true } })
  house.wait(601)
  assert.equal(await tellExpired(house.deps), 1)
  const { data } = await act('GET', `/delegations?user_id=${story.user.id}`)
  assert.equal(data[0].status, 'revoked')
  assert.equal((await eventsAt(story)).length, 1)
})

test('what has run out and is given another end before it was ended lives on (GR-09)', async () => {
  const end = (seconds: number) =>
    new Date(house.clock.now.getTime() + seconds * 1000).toISOString()
  const [agentEnds, entitlementEnds] = [
    await minted({ agent: { expires_at: end(600) }, audience: { notify_expiry: true } }),
    await minted({ audience: { notify_expiry: true } }),
  ]
  const { agent, audience } = entitlementEnds
  await entitle(house, agent, audience, { expires_at: end(600) })
  house.wait(601)
  let telling: Promise<number> | undefined
  await db.transaction().execute(async (tx) => {
    const ids = [agentEnds.delegation, entitlementEnds.delegation]
    await tx.selectFrom('delegations').select('id').where('id', 'in', ids).forUpdate().execute()
    telling = tellExpired(house.deps)
    await untilSomebodyWaits()
    await act('PATCH', `/agents/${agentEnds.agent.id}`, { expires_at: end(600) })
    // A `PUT` would make a new one, and end what is held here.
    const later = { expires_at: new Date(end(600)) }
    await db
      .updateTable('entitlements')
      .set(later)
      .where('agent_id', '=', agent.id)
      .where('audience_id', '=', audience.id)
      .execute()
  })
  assert.equal(await telling, 0)
  for (const story of [agentEnds, entitlementEnds]) {
    assert.deepEqual(await eventsAt(story), [])
    await story.signIn()
    await mint(story)
  }
})

async function untilSomebodyWaits(): Promise<void> {
  for (;;) {
    const { rows } = await house.deps.pool.query(
      `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    )
    if (rows.length > 0) return
  }
}

test('who was waiting for the last agent is told when that one ends by time', async () => {
  const expires_at = new Date(house.clock.now.getTime() + 600_000).toISOString()
  const story = await minted({ audience: { notify_when: 'last' } })
  const other = await newAgent(house, story.owner)
  await entitle(house, other, story.audience)
  await story.delegate({ agent_id: other.id, expires_at })
  await act('DELETE', `/delegations/${story.delegation}`)
  assert.deepEqual(await eventsAt(story), [])
  house.wait(601)
  await tellExpired(house.deps)
  assert.equal((await eventsAt(story)).length, 1)
})

test('an ending does not wait for a key: what cannot be signed is queued all the same', async () => {
  const story = await minted()
  const { keys } = house.deps
  const { sign } = keys
  keys.sign = () => Promise.reject(new Error('the custody is away'))
  try {
    assert.equal((await revoke({ agent_id: story.agent.id })).events_queued, 1)
  } finally {
    keys.sign = sign
  }
  const [event] = await eventsAt(story)
  assert.deepEqual([event?.status, event?.jws, event?.kid], ['queued', null, null])
})

/** Somewhere else, after being signed out everywhere. */
async function signInAgain(story: Story) {
  story.browser.cookies.clear()
  return story.signIn()
}

test('the end of a `once` that was the last is told of too, though nobody ends it (GR-08)', async () => {
  const story = await minted({ audience: { notify_when: 'last' } })
  const other = await newAgent(house, story.owner)
  await entitle(house, other, story.audience)
  await story.delegate({ agent_id: other.id, mode: 'once' })
  const { id_token } = await story.signIn(other)
  await act('DELETE', `/delegations/${story.delegation}`)
  await tellExpired(house.deps)
  assert.deepEqual(await eventsAt(story), [], 'the other one may still come')
  await mint(story, other, id_token)
  await tellExpired(house.deps)
  assert.equal((await eventsAt(story)).length, 1)
  await arrive(story)
  await tellExpired(house.deps)
  assert.equal((await eventsAt(story)).length, 1)
})

test('an administrator who has users asked from now on ends what asked nobody, and it is told of', async () => {
  const story = await tellStory(house, {
    audience: { events_endpoint: ENDPOINT },
    entitlement: { consent: 'admin' },
  })
  await mint(story)
  await entitle(house, story.agent, story.audience, { consent: 'user' })
  assert.equal((await eventsAt(story)).length, 1)
})

test('an event about all agents proves the end of each of them', async () => {
  const story = await minted()
  const other = await sibling(story)
  await mint(story, other.agent, other.id_token)
  await revoke({ agent_id: story.agent.id })
  await act('PATCH', `/audiences/${story.audience.id}`, { event_names_agent: true })
  const revoked = await revoke({ user_id: story.user.id })
  assert.equal(revoked.events_queued, 0)
  const { events } = await act('GET', `/revocations/${revoked.id}`)
  assert.deepEqual(events, { delivered: 0, pending: 1, failed: 0 })
})

test('an old delegation that is ended takes nothing from a newer one of the same three', async () => {
  const story = await minted({ delegation: { mode: 'once' } })
  const { id } = await story.delegate()
  await mint(story)
  await act('DELETE', `/delegations/${story.delegation}`)
  assert.deepEqual(await eventsAt(story), [])
  await act('DELETE', `/delegations/${id}`)
  assert.equal((await eventsAt(story)).length, 1)
})

test('an agent whose end is moved acts again where users are not asked', async () => {
  const expires_at = new Date(house.clock.now.getTime() + 600_000).toISOString()
  const story = await tellStory(house, {
    agent: { expires_at },
    audience: { events_endpoint: ENDPOINT, notify_expiry: true },
    entitlement: { consent: 'admin' },
  })
  await mint(story)
  house.wait(601)
  assert.equal(await tellExpired(house.deps), 1)
  await arrive(story)
  const later = new Date(house.clock.now.getTime() + 600_000).toISOString()
  await act('PATCH', `/agents/${story.agent.id}`, { expires_at: later })
  await story.signIn()
  await mint(story)
})

test('thousands end in one call, each with its line in the log and its event', async () => {
  const story = await minted()
  const { rows } = await house.deps.pool.query(
    `with made as (
       insert into users (id, created_at, updated_at)
       select 'usr_' || lpad(n::text, 22, '0'), $2, $2 from generate_series(1, 6000) n returning id),
     allowed as (
       insert into delegations select (jsonb_populate_record(d, jsonb_build_object(
         'id', 'dlg_' || substr(made.id, 5), 'user_id', made.id, 'sub_asserted', made.id))).*
       from delegations d, made where d.id = $1 returning id, user_id)
     insert into issuances select (jsonb_populate_record(i, jsonb_build_object(
       'jti', 'many-' || allowed.id, 'user_id', allowed.user_id, 'delegation_id', allowed.id,
       'xid', pg_current_xact_id()::text))).*
     from issuances i, allowed where i.delegation_id = $1 returning jti`,
    [story.delegation, house.clock.now],
  )
  assert.equal(rows.length, 6000)
  // As the database does by itself where so many came one by one.
  await house.deps.pool.query('analyze delegations, issuances, event_deliveries')
  const revoked = await revoke({ agent_id: story.agent.id })
  assert.deepEqual([revoked.delegations_revoked, revoked.events_queued], [6001, 6001])
  const { data } = await act(
    'GET',
    `/audit-events?agent_id=${story.agent.id}&type=delegation.revoked&limit=1`,
  )
  assert.equal(data.length, 1)
  // While all of these wait, the same call is proved by them.
  const again = await revoke({ agent_id: story.agent.id })
  const { events } = await act('GET', `/revocations/${again.id}`)
  assert.deepEqual([again.events_queued, events.pending], [0, 6001])
})

test('the user reads whether the service knows that an agent was stopped', async () => {
  const story = await minted()
  await stopByUser(story)
  const page = async () => (await story.browser.get('/account')).text
  assert.match(await page(), /stopped by you .*; Paperclip is being told/)
  house.wait(60)
  await arrive(story)
  assert.match(await page(), /; Paperclip confirmed .* that it knows/)

  const other = await minted()
  await stopByUser(other)
  await arrive(other, 'failed')
  const { text } = await other.browser.get('/account')
  assert.match(text, /; Paperclip could not be told: ask it to end/)
})

test('an issuer that is registered anew is told once, where it is registered now', async () => {
  const story = await minted()
  await act('POST', `/audiences/${story.audience.id}/retire`, {})
  await arrive(story, 'failed')
  const audience = await newAudience(house, {
    issuer: story.audience.issuer,
    events_endpoint: 'https://chat.example/events-now',
  })
  await entitle(house, story.agent, audience)
  await story.delegate({ audience_id: audience.id })
  await story.signIn()
  await mint(story)
  assert.equal((await revoke({ user_id: story.user.id })).events_queued, 1)
  const [event, ...more] = await eventsAt({ audience })
  assert.deepEqual([event?.endpoint, more], ['https://chat.example/events-now', []])
  await arrive({ audience })
  assert.equal((await revoke({ user_id: story.user.id })).events_queued, 0)
  assert.equal((await eventsAt(story)).length, 1)
})

test('an issuer that is registered anew without an endpoint is told where it was known', async () => {
  const story = await minted()
  await act('POST', `/audiences/${story.audience.id}/retire`, {})
  await arrive(story, 'failed')
  const audience = await newAudience(house, { issuer: story.audience.issuer })
  assert.equal((await revoke({ user_id: story.user.id })).events_queued, 1)
  const [event] = (await eventsAt(story)).filter(({ status }) => status === 'queued')
  assert.equal(event?.endpoint, ENDPOINT)
  assert.deepEqual(await eventsAt({ audience }), [])
})

test('what was given before an issuer was registered anew counts at the last ending too', async () => {
  const story = await minted()
  await act('POST', `/audiences/${story.audience.id}/retire`, {})
  await arrive(story, 'failed')
  const audience = await newAudience(house, {
    issuer: story.audience.issuer,
    events_endpoint: ENDPOINT,
    notify_when: 'last',
  })
  assert.equal((await revoke({ user_id: story.user.id })).events_queued, 1)
  assert.equal((await eventsAt({ audience })).length, 1)
})

test('an agent that could not come any more keeps nobody waiting for the last ending', async () => {
  const story = await minted({ audience: { notify_when: 'last' } })
  const soon = new Date(house.clock.now.getTime() + 60_000).toISOString()
  const other = await newAgent(house, story.owner, { expires_at: soon })
  await entitle(house, other, story.audience)
  await story.delegate({ agent_id: other.id })
  house.wait(61)
  await act('DELETE', `/delegations/${story.delegation}`)
  assert.equal((await eventsAt(story)).length, 1)
})

test('an audience that no longer waits for the last ending is told of what it waited for', async () => {
  const story = await minted({ audience: { notify_when: 'last' } })
  const other = await sibling(story)
  await mint(story, other.agent, other.id_token)
  await act('DELETE', `/delegations/${story.delegation}`)
  await act('PATCH', `/audiences/${story.audience.id}`, { event_names_agent: true })
  await tellExpired(house.deps)
  const [event, ...more] = await eventsAt(story)
  assert.deepEqual([event?.agent_id, more], [story.agent.id, []])
})

test('when an owner is gone, what others signed in for their agents has ended too', async () => {
  const story = await minted()
  await act('PATCH', `/users/${story.owner.id}`, { status: 'suspended' })
  await act('PATCH', `/users/${story.owner.id}`, { status: 'active' })
  const answer = await house.form('/oauth2/token', {
    grant_type: GRANT.refreshToken,
    refresh_token: story.tokens.refresh_token,
    ...(await clientAuthentication(house, story.agent)),
  })
  assert.equal(answer.body.error, 'invalid_grant')
})

test('an agent that acted for another one is told of with it', async () => {
  const story = await minted()
  const actor = await newAgent(house, story.owner)
  await house.deps.pool.query(
    `insert into issuances select (jsonb_populate_record(i, jsonb_build_object(
       'jti', 'acted-' || i.jti, 'actor_ids', array[$1::text], 'xid', pg_current_xact_id()::text))).*
     from issuances i where delegation_id = $2`,
    [actor.id, story.delegation],
  )
  const revoked = await revoke({ agent_id: actor.id })
  assert.deepEqual([revoked.delegations_revoked, revoked.events_queued], [0, 1])
  assert.equal((await eventsAt(story)).length, 1)
})

test('an event on its way before tells the user too, and one that was dropped tells nothing', async () => {
  const story = await minted()
  const other = await sibling(story)
  await mint(story, other.agent, other.id_token)
  await act('DELETE', `/delegations/${other.id}`)
  house.wait(60)
  await stopByUser(story)
  const [event, ...more] = await eventsAt(story)
  assert.deepEqual(more, [], 'it says that both have ended')
  const stopped = async () => {
    const { text } = await story.browser.get('/account')
    return /stopped by you .*/.exec(text)?.[0] ?? assert.fail()
  }
  const set = (columns: object) =>
    db
      .updateTable('event_deliveries')
      .set(columns)
      .where('id', '=', event?.id ?? '')
      .execute()
  assert.match(await stopped(), /; Paperclip is being told/)
  house.wait(60)
  const { now } = house.clock
  await set({ status: 'failed', failed_at: now, next_attempt_at: null })
  assert.match(await stopped(), /; Paperclip could not be told/)
  await set({ status: 'delivered', delivered_at: now, failed_at: null })
  assert.match(await stopped(), /; Paperclip confirmed .* that it knows/)
  await set({ status: 'superseded', superseded_at: now, delivered_at: null })
  assert.doesNotMatch(await stopped(), /; Paperclip/)
})

test('of several events the user reads of the one that arrived, and then of the one on its way', async () => {
  const story = await minted()
  await stopByUser(story)
  const page = async () => (await story.browser.get('/account')).text
  await arrive(story, 'failed')
  assert.match(await page(), /; Paperclip could not be told/)
  house.wait(60)
  await revoke({ agent_id: story.agent.id })
  assert.match(await page(), /; Paperclip is being told/)
  await arrive(story)
  assert.match(await page(), /; Paperclip confirmed .* that it knows/)
})

test('a revocation that waits for the last ending says so, and is proved by the event that comes then', async () => {
  const story = await minted({ audience: { notify_when: 'last' } })
  const other = await sibling(story)
  const revoked = await revoke({ agent_id: story.agent.id })
  assert.deepEqual([revoked.events_queued, revoked.events_withheld], [0, 1])
  const proof = async () => {
    const { events, events_withheld } = await act('GET', `/revocations/${revoked.id}`)
    return [events.pending, events.delivered, events_withheld]
  }
  assert.deepEqual(await proof(), [0, 0, 1])
  await act('DELETE', `/delegations/${other.id}`)
  assert.deepEqual(await proof(), [1, 0, undefined])
  await arrive(story)
  assert.deepEqual(await proof(), [0, 1, undefined])
})

import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { sql } from 'kysely'
import { newId } from '../../src/db/ids.ts'
import { openInteraction } from '../../src/delegations/interaction.ts'
import { beginFamily } from '../../src/sessions/rotate.ts'
import { openHouse } from '../support/house.ts'
import { makeParties, type Parties, signedIn } from '../support/parties.ts'
import { assertRefused } from '../support/refused.ts'

const house = await openHouse({ after })
const { db } = house.deps

type Case = Parties & {
  delegation_id: string
  interaction_id: string
  session_id: string
  family_id: string
  code: Buffer
}

/** Parties with one of everything that a revocation can end. */
async function everything(changes: Parameters<typeof makeParties>[1] = {}): Promise<Case> {
  const of = await makeParties(house, changes)
  const { user_id, agent_id, audience_id, tenant_id } = of
  const made = await house.admin('POST', '/delegations', {
    user_id,
    agent_id,
    audience_id,
    scopes: ['chat.read'],
    mode: 'always',
  })
  assert.equal(made.status, 201, made.text)
  const asked = await openInteraction(house.deps, { ...of, scopes: ['chat.write'], resources: [] })
  const { session_id } = await signedIn(house, of)
  const now = house.deps.now()
  const family = await beginFamily(
    db,
    { tenant_id, agent_id, user_id, session_id, scope: ['openid', 'offline_access'] },
    { now, lifetime: 3600, withToken: true },
  )
  const code = Buffer.from(newId('int'))
  await db
    .insertInto('authorization_codes')
    .values({
      hash: code,
      tenant_id,
      agent_id,
      user_id,
      session_id,
      redirect_uri: 'https://scribe.example/callback',
      code_challenge: 'c'.repeat(43),
      scope: ['openid'],
      created_at: now,
      expires_at: new Date(now.getTime() + 60_000),
    })
    .execute()
  return {
    ...of,
    delegation_id: made.body.id,
    interaction_id: asked.id,
    session_id,
    family_id: family.id,
    code,
  }
}

/** What of it still lives. */
async function living(of: Case): Promise<string[]> {
  const [entitlement, delegation, interaction, session, family, code] = await Promise.all([
    db
      .selectFrom('entitlements')
      .select('ended_at')
      .where('id', '=', of.entitlement_id)
      .executeTakeFirstOrThrow(),
    db
      .selectFrom('delegations')
      .select('status')
      .where('id', '=', of.delegation_id)
      .executeTakeFirstOrThrow(),
    db
      .selectFrom('interactions')
      .select('status')
      .where('id', '=', of.interaction_id)
      .executeTakeFirstOrThrow(),
    db
      .selectFrom('sessions')
      .select('ended_at')
      .where('id', '=', of.session_id)
      .executeTakeFirstOrThrow(),
    db
      .selectFrom('refresh_token_families')
      .select('ended_at')
      .where('id', '=', of.family_id)
      .executeTakeFirstOrThrow(),
    db
      .selectFrom('authorization_codes')
      .select('consumed_at')
      .where('hash', '=', of.code)
      .executeTakeFirstOrThrow(),
  ])
  return [
    entitlement.ended_at === null && 'entitlement',
    delegation.status === 'active' && 'delegation',
    interaction.status === 'open' && 'interaction',
    session.ended_at === null && 'session',
    family.ended_at === null && 'family',
    code.consumed_at === null && 'code',
  ].filter((name) => name !== false)
}

const ALL = ['entitlement', 'delegation', 'interaction', 'session', 'family', 'code']

async function revoke(named: object) {
  const answer = await house.admin('POST', '/revocations', { ...named, reason: 'Key leaked' })
  assert.equal(answer.status, 202, answer.text)
  return answer.body
}

const eventsOf = (types: string[], delegation_id?: string) => {
  const query = db.selectFrom('audit_events').selectAll().where('type', 'in', types).orderBy('id')
  return (
    delegation_id === undefined ? query : query.where('delegation_id', '=', delegation_id)
  ).execute()
}

describe('a revocation', () => {
  test('by agent ends what the agent holds, and leaves the user signed in', async () => {
    const [of, other] = [await everything(), await everything()]
    const revoked = await revoke({ agent_id: of.agent_id })
    assert.deepEqual(revoked, {
      id: revoked.id,
      delegations_revoked: 1,
      refresh_tokens_revoked: 1,
      events_queued: 0,
      created_at: house.clock.now.toISOString(),
      status: 'delivered',
    })
    assert.deepEqual(await living(of), ['entitlement', 'session'])
    assert.deepEqual(await living(other), ALL)
  })

  test('by user ends sessions too, and bars what nobody asks the user for', async () => {
    const [of, other] = [await everything(), await everything()]
    const revoked = await revoke({ user_id: of.user_id })
    assert.equal(revoked.delegations_revoked, 1)
    assert.equal(revoked.refresh_tokens_revoked, 1)
    assert.deepEqual(await living(of), ['entitlement'])
    assert.deepEqual(await living(other), ALL)
    const { policy_barred_at } = await db
      .selectFrom('users')
      .select('policy_barred_at')
      .where('id', '=', of.user_id)
      .executeTakeFirstOrThrow()
    assert.deepEqual(policy_barred_at, house.clock.now)
  })

  test('by audience ends delegations there, and no sign-in', async () => {
    const [of, other] = [await everything(), await everything()]
    const revoked = await revoke({ audience_id: of.audience_id })
    assert.equal(revoked.delegations_revoked, 1)
    assert.equal(revoked.refresh_tokens_revoked, 0)
    assert.deepEqual(await living(of), ['entitlement', 'session', 'family', 'code'])
    assert.deepEqual(await living(other), ALL)
  })

  test('by owner ends what all agents of that owner hold', async () => {
    const first = await everything()
    const second = await everything({ agent: { owner_id: first.owner_id } })
    const other = await everything()
    const revoked = await revoke({ owner_id: first.owner_id })
    assert.equal(revoked.delegations_revoked, 2)
    assert.equal(revoked.refresh_tokens_revoked, 2)
    assert.deepEqual(await living(first), ['entitlement', 'session'])
    assert.deepEqual(await living(second), ['entitlement', 'session'])
    assert.deepEqual(await living(other), ALL)
  })

  test('by tenant ends everything in it, and nothing elsewhere', async () => {
    const tenant = (await house.admin('POST', '/tenants', { name: 'Leaving' })).body.id as string
    const here = { tenant_id: tenant }
    const owner = await house.admin('POST', '/users', { name: 'Owner', tenant_id: tenant })
    const of = await everything({
      user: here,
      agent: { ...here, owner_id: owner.body.id },
      audience: here,
      entitlement: here,
    })
    const other = await everything()
    const revoked = await revoke({ tenant_id: tenant })
    assert.equal(revoked.delegations_revoked, 1)
    assert.equal(revoked.refresh_tokens_revoked, 1)
    assert.deepEqual(await living(of), ['entitlement'])
    assert.deepEqual(await living(other), ALL)
  })

  for (const name of ['agent_id', 'audience_id', 'owner_id'] as const) {
    test(`by ${name} ends the entitlements that ask no user`, async () => {
      const of = await everything({ entitlement: { consent: 'admin' } })
      await revoke({ [name]: of[name] })
      assert.ok(!(await living(of)).includes('entitlement'))
      const [event] = await eventsOf(['entitlement.ended']).then((rows) =>
        rows.filter(({ agent_id }) => agent_id === of.agent_id),
      )
      assert.equal(event?.audience_id, of.audience_id)
    })
  }

  test('leaves what was consumed or had run out as it was', async () => {
    const of = await everything()
    const past = new Date(house.clock.now.getTime() - 1000)
    await db
      .updateTable('delegations')
      .set({ expires_at: past })
      .where('id', '=', of.delegation_id)
      .execute()
    assert.equal((await revoke({ agent_id: of.agent_id })).delegations_revoked, 0)
    const row = await db
      .selectFrom('delegations')
      .selectAll()
      .where('id', '=', of.delegation_id)
      .executeTakeFirstOrThrow()
    assert.equal(row.status, 'expired')
    assert.equal(row.revoked_at, null)
  })

  test('is in the log with its counts and each delegation, and without its reason', async () => {
    const of = await everything()
    const revoked = await revoke({ agent_id: of.agent_id })
    const requested = (await eventsOf(['revocation.requested'])).find(
      ({ agent_id }) => agent_id === of.agent_id,
    )
    assert.equal(requested?.agent_id, of.agent_id)
    assert.equal(requested?.actor_kind, 'admin')
    assert.deepEqual(requested?.detail, {
      revocation_id: revoked.id,
      by: 'agent_id',
      delegations_revoked: 1,
      refresh_tokens_revoked: 1,
      events_queued: 0,
      entitlements_ended: 0,
      actor_permissions_ended: 0,
    })
    const [ended, ...more] = await eventsOf(['delegation.revoked'], of.delegation_id)
    assert.equal(more.length, 0)
    assert.equal(ended?.user_id, of.user_id)
    assert.deepEqual(ended?.at, house.clock.now)
    assert.deepEqual(ended?.detail, { revocation_id: revoked.id })
    const log = JSON.stringify(await db.selectFrom('audit_events').selectAll().execute())
    assert.ok(!log.includes('Key leaked'))
  })

  test('can be read again, with its reason, and is in the list', async () => {
    const of = await everything()
    const { id } = await revoke({ agent_id: of.agent_id })
    const { body } = await house.admin('GET', `/revocations/${id}`)
    const record = {
      id,
      agent_id: of.agent_id,
      user_id: null,
      audience_id: null,
      owner_id: null,
      tenant_id: null,
      reason: 'Key leaked',
      admin_key_id: 'environment',
      delegations_revoked: 1,
      refresh_tokens_revoked: 1,
      events_queued: 0,
      created_at: house.clock.now.toISOString(),
    }
    assert.deepEqual(body, {
      ...record,
      status: 'delivered',
      events: { delivered: 0, pending: 0, failed: 0 },
      last_acknowledged_at: null,
      seconds_to_last_acknowledgement: null,
    })
    const { data } = (await house.admin('GET', '/revocations?limit=200')).body
    assert.deepEqual(
      data.find((one: { id: string }) => one.id === id),
      record,
    )
  })

  test('of a thousand delegations is one call', async () => {
    const of = await makeParties(house)
    const at = house.deps.now()
    const users = Array.from({ length: 1500 }, () => newId('usr'))
    await db
      .insertInto('users')
      .values(users.map((id) => ({ id, created_at: at, updated_at: at })))
      .execute()
    await db
      .insertInto('delegations')
      .values(
        users.map((user_id) => ({
          id: newId('dlg'),
          user_id,
          agent_id: of.agent_id,
          audience_id: of.audience_id,
          scopes: ['chat.read'],
          claims: [],
          mode: 'always' as const,
          source: 'user' as const,
          sub_asserted: user_id,
          created_at: at,
        })),
      )
      .execute()
    assert.equal((await revoke({ agent_id: of.agent_id })).delegations_revoked, 1500)
    const { count } = await db
      .selectFrom('audit_events')
      .select((eb) => eb.fn.countAll<string>().as('count'))
      .where('type', '=', 'delegation.revoked')
      .where('agent_id', '=', of.agent_id)
      .executeTakeFirstOrThrow()
    assert.equal(Number(count), 1500)
  })

  test('is the same one for the same Idempotency-Key', async () => {
    const of = await everything()
    const send = () =>
      house.admin(
        'POST',
        '/revocations',
        { agent_id: of.agent_id, reason: 'twice' },
        { 'idempotency-key': `revoke-${of.agent_id}` },
      )
    const [first, again] = [await send(), await send()]
    assert.equal(again.status, 202)
    assert.deepEqual(again.body, first.body)
  })

  test('is the same one for a key that an earlier release has answered, without what it did not say', async () => {
    const { agent_id } = await everything()
    const key = `upgraded-${agent_id}`
    const send = () =>
      house.admin('POST', '/revocations', { agent_id, reason: 'x' }, { 'idempotency-key': key })
    const { status: _status, created_at: _at, ...first } = (await send()).body
    await db
      .updateTable('idempotency_keys')
      .set({ answer: sql`answer - 'status' - 'created_at'` })
      .where('key', '=', key)
      .execute()
    const again = await send()
    assert.deepEqual([again.status, again.body], [202, first])
  })

  test('is refused unless it names exactly one record', async () => {
    const of = await makeParties(house)
    const { agent_id, user_id } = of
    const send = (body: object) => house.admin('POST', '/revocations', body)
    assertRefused(await send({ reason: 'none' }), 422, 'validation_failed')
    assertRefused(await send({ agent_id, user_id, reason: 'two' }), 422, 'validation_failed')
  })

  test('is refused for a record that does not exist', async () => {
    for (const name of ['agent_id', 'user_id', 'audience_id', 'owner_id', 'tenant_id']) {
      const answer = await house.admin('POST', '/revocations', { [name]: 'nobody', reason: 'x' })
      assertRefused(answer, 422, 'validation_failed', `/${name}`)
    }
  })

  test('is refused without a reason', async () => {
    const { agent_id } = await makeParties(house)
    const send = (body: object) => house.admin('POST', '/revocations', body)
    assertRefused(await send({ agent_id }), 422, 'validation_failed', '/reason')
    for (const reason of ['', '   ', ' \r\n\t', '\u202eyek', '\u200b', 'a\u2028b', 'a\bb']) {
      assertRefused(await send({ agent_id, reason }), 422, 'validation_failed', '/reason')
    }
  })

  test('takes a reason as a tool hands it on, with its tabs and line ends', async () => {
    const { agent_id } = await makeParties(house)
    for (const reason of ['INC-1\n', 'INC-1\r\nKey leaked', 'INC-1\tKey leaked']) {
      const answer = await house.admin('POST', '/revocations', { agent_id, reason })
      assert.equal(answer.status, 202, answer.text)
      const { body } = await house.admin('GET', `/revocations/${answer.body.id}`)
      assert.equal(body.reason, reason)
    }
    const { status, body } = await house.admin('POST', `/agents/${agent_id}/suspend`, {
      reason: 'INC-1\n',
    })
    assert.deepEqual([status, body.status_reason], [200, 'INC-1\n'])
  })

  test('that nobody asked for is not found', async () => {
    assertRefused(await house.admin('GET', '/revocations/rev_none'), 404, 'not_found')
  })
})

describe('ending one delegation', () => {
  test('revokes it, once', async () => {
    const of = await everything()
    const end = () => house.admin('DELETE', `/delegations/${of.delegation_id}`)
    assert.equal((await end()).status, 204)
    assert.equal((await end()).status, 204)
    const [row] = (await house.admin('GET', `/delegations?user_id=${of.user_id}`)).body.data
    assert.equal(row.status, 'revoked')
    assert.equal(row.end_reason, 'admin')
    assert.equal(row.revoked_at, house.clock.now.toISOString())
    assert.equal((await eventsOf(['delegation.revoked'], of.delegation_id)).length, 1)
    assert.deepEqual(await living(of), ['entitlement', 'interaction', 'session', 'family', 'code'])
  })

  test('of nobody is not found', async () => {
    assertRefused(await house.admin('DELETE', '/delegations/dlg_none'), 404, 'not_found')
  })
})

describe('ending an entitlement', () => {
  test('ends the delegations under it, and a later one revives none', async () => {
    const of = await everything()
    const path = `/agents/${of.agent_id}/entitlements/${of.audience_id}`
    assert.equal((await house.admin('DELETE', path)).status, 204)
    assert.equal((await house.admin('DELETE', path)).status, 204)
    assert.deepEqual(await living(of), ['session', 'family', 'code'])
    const again = await house.admin('PUT', path, {
      client_id: 'scribe-at-chat',
      scopes: ['chat.read'],
      consent: 'user',
    })
    assert.equal(again.status, 201, again.text)
    const [row] = (await house.admin('GET', `/delegations?user_id=${of.user_id}`)).body.data
    assert.equal(row.status, 'revoked')
    assert.equal(row.end_reason, 'entitlement_ended')
  })

  test('that never was is not found', async () => {
    const { agent_id } = await makeParties(house)
    const { audience_id } = await makeParties(house)
    const answer = await house.admin('DELETE', `/agents/${agent_id}/entitlements/${audience_id}`)
    assertRefused(answer, 404, 'not_found')
  })
})

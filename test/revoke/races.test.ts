import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { grantDelegation } from '../../src/delegations/grant.ts'
import { openInteraction } from '../../src/delegations/interaction.ts'
import { lockParties } from '../../src/delegations/lock.ts'
import { revoke } from '../../src/revoke/end.ts'
import { beginFamily } from '../../src/sessions/rotate.ts'
import { type Answer, openHouse } from '../support/house.ts'
import { hiddenFields, makeParties, type Parties, signedIn } from '../support/parties.ts'

const house = await openHouse({ after })
const { db } = house.deps

const liveOf = ({ user_id }: { user_id: string }) =>
  db
    .selectFrom('delegations')
    .select('id')
    .where('user_id', '=', user_id)
    .where('status', '=', 'active')
    .execute()

const ALLOW = { decision: 'allow', mode: 'always', scope: 'chat.read' }

/** A user at the page of an open question, who can answer at once. */
async function atThePage(of: Parties, scopes = ['chat.read']) {
  const { id } = await openInteraction(house.deps, { ...of, scopes, resources: [] })
  const user = await signedIn(house, of)
  const path = `/consent/${id}`
  const hidden = hiddenFields(await user.get(path))
  return { answer: () => user.postBare(path, { ...ALLOW, scope: scopes, ...hidden }) }
}

test('a double click grants one delegation', async () => {
  for (let round = 0; round < 20; round += 1) {
    const of = await makeParties(house)
    const { answer } = await atThePage(of)
    const answers = await Promise.all(Array.from({ length: 6 }, answer))
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 409, 409, 409, 409, 409])
    const made = await db
      .selectFrom('delegations')
      .select('id')
      .where('user_id', '=', of.user_id)
      .execute()
    assert.equal(made.length, 1)
  }
})

test('two questions answered at once leave one live delegation, the one that was said last', async () => {
  for (let round = 0; round < 20; round += 1) {
    const of = await makeParties(house)
    const pages = [await atThePage(of), await atThePage(of, ['chat.write'])]
    const answers = await Promise.all(pages.map(({ answer }) => answer()))
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200],
    )
    assert.equal((await liveOf(of)).length, 1)
  }
})

test('a consent and a revocation at once leave no delegation, whoever is first', async () => {
  const seen = new Set<number>()
  for (let round = 0; round < 60; round += 1) {
    const of = await makeParties(house)
    const { answer } = await atThePage(of)
    const named = (['agent_id', 'user_id', 'audience_id', 'owner_id'] as const)[round % 4]
    assert.ok(named)
    const stop = () => house.admin('POST', '/revocations', { [named]: of[named], reason: 'race' })
    const [consent, revocation] =
      round % 2
        ? await Promise.all([answer(), stop()])
        : (await Promise.all([stop(), answer()])).reverse()
    seen.add(consent?.status ?? 0)
    assert.equal(revocation?.status, 202)
    // By user, the session may end before the form is read: that leads to the sign-in page.
    assert.ok([200, 410, 303].includes(consent?.status ?? 0), consent?.text)
    assert.equal((await liveOf(of)).length, 0, `by ${named}: ${consent?.status}`)
  }
  assert.ok(seen.has(410), 'no revocation was first')
})

test('a consent that holds its locks makes the revocation wait, and is ended by it', async () => {
  const of = await makeParties(house)
  let stopped: Promise<Answer> | undefined
  let answered = false
  await db.transaction().execute(async (tx) => {
    const locked = await lockParties(tx, of, house.deps.now())
    assert.ok(locked.live)
    stopped = house.admin('POST', '/revocations', { agent_id: of.agent_id, reason: 'meanwhile' })
    void stopped.then(() => {
      answered = true
    })
    await untilSomebodyWaits()
    assert.equal(answered, false)

    const given = {
      scopes: ['chat.read'],
      resources: null,
      authorization_details: [],
      claims: [],
      mode: 'always' as const,
      offline: false,
      source: 'user' as const,
      text_version: null,
      expires_at: null,
    }
    const by = { kind: 'user' as const, id: of.user_id }
    assert.ok((await grantDelegation(tx, house.deps, locked.parties, given, by)).granted)
  })
  assert.equal((await stopped)?.body.delegations_revoked, 1)
  assert.equal((await liveOf(of)).length, 0)
})

test('a consent that comes while a revocation is under way waits for it, and sees it', async () => {
  const of = await makeParties(house)
  const { answer } = await atThePage(of)
  let answering: Promise<Answer> | undefined
  await db.transaction().execute(async (tx) => {
    const reach = { kind: 'agent_id', id: of.agent_id } as const
    const admin = { id: 'environment', scopes: ['*'] }
    await revoke(tx, house.deps, { reach, reason: 'first', admin })
    answering = answer()
    await untilSomebodyWaits()
  })
  assert.equal((await answering)?.status, 410)
  assert.equal((await liveOf(of)).length, 0)
})

test('revocations of overlapping reach, grants and stops at once never wait in a circle', async () => {
  const tenant = (await house.admin('POST', '/tenants', { name: 'Busy' })).body.id as string
  const here = { tenant_id: tenant }
  const owner = (await house.admin('POST', '/users', { name: 'Owner', ...here })).body.id as string
  const changes = { user: here, agent: { ...here, owner_id: owner }, audience: here }
  const three: Parties[] = []
  for (let at = 0; at < 3; at += 1) {
    three.push(await makeParties(house, { ...changes, entitlement: here }))
  }
  const all = three.flatMap(({ user_id }) =>
    three.flatMap(({ agent_id }) =>
      three.map(({ audience_id }) => ({ tenant_id: tenant, user_id, agent_id, audience_id })),
    ),
  )
  type One = (typeof all)[number]
  const entitle = async ({ agent_id, audience_id }: One, consent: string) =>
    house.admin('PUT', `/agents/${agent_id}/entitlements/${audience_id}`, {
      client_id: 'x',
      scopes: ['chat.read'],
      consent,
    })
  const delegate = ({ user_id, agent_id, audience_id }: One) =>
    house.admin('POST', '/delegations', {
      user_id,
      agent_id,
      audience_id,
      scopes: ['chat.read'],
      mode: 'always',
    })
  const fine = (answers: Answer[], ...allowed: number[]) => {
    for (const { status, text } of answers) assert.ok(allowed.includes(status), `${status} ${text}`)
  }

  const pick = <Item>(items: readonly Item[], at: number): Item => items[at % items.length] as Item
  for (let round = 0; round < 25; round += 1) {
    const consents = all.map((one, at) => ({ one, consent: (at + round) % 2 ? 'user' : 'admin' }))
    const pairs = consents.filter(({ one }) => one.user_id === three[0]?.user_id)
    fine(await Promise.all(pairs.map(({ one, consent }) => entitle(one, consent))), 200, 201)
    fine(await Promise.all(all.map(delegate)), 201)
    for (const one of three) {
      const { session_id } = await signedIn(house, { ...one, tenant_id: tenant })
      const grant = { ...here, agent_id: one.agent_id, user_id: one.user_id, session_id, scope: [] }
      await beginFamily(db, grant, { now: house.clock.now, lifetime: 60, withToken: true })
    }
    const one = pick(all, round * 7)
    const other = pick(all, round * 11 + 5)
    const [live] = await liveOf(other)
    const stop = (named: object) =>
      house.admin('POST', '/revocations', { ...named, reason: 'overlap' })
    const requests = [
      stop({ agent_id: one.agent_id }),
      stop({ user_id: one.user_id }),
      stop({ audience_id: one.audience_id }),
      stop({ owner_id: owner }),
      stop({ agent_id: other.agent_id }),
      stop({ user_id: other.user_id }),
      stop({ audience_id: other.audience_id }),
      stop({ tenant_id: tenant }),
      house.admin('DELETE', `/agents/${one.agent_id}/entitlements/${other.audience_id}`),
      house.admin('DELETE', `/delegations/${live?.id}`),
      house.admin('PATCH', `/users/${other.user_id}`, { name: `Round ${round}` }),
      delegate(one),
      delegate(other),
      delegate(pick(all, round * 13 + 2)),
    ]
    const questions = [one, other].map((of) =>
      openInteraction(house.deps, { ...of, scopes: [`round-${round}`], resources: [] }),
    )
    // An entitlement that ended meanwhile refuses the grants under it.
    fine(await Promise.all(requests), 200, 201, 202, 204, 422)
    await Promise.all(questions)
  }
})

/** Until some statement of this database waits for a row lock. */
async function untilSomebodyWaits(): Promise<void> {
  for (;;) {
    const { rows } = await house.deps.pool.query(
      `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    )
    if (rows.length > 0) return
  }
}

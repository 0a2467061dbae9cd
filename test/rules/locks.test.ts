/** What a block does to the rows it names, which is how a mint that saw none learns of it (design rule 3). */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import { type Answer, openHouse } from '../support/house.ts'
import { makeParties, makeUser, type Parties } from '../support/parties.ts'

const house = await openHouse({ after })
const { db, pool } = house.deps

const TABLES = { user_id: 'users', agent_id: 'agents', audience_id: 'audiences' } as const
type Member = keyof typeof TABLES
const MEMBERS = Object.keys(TABLES) as Member[]

const block = (named: object) => house.admin('POST', '/blocks', { ...named, reason: 'a race' })
const pick = (of: Parties, members: Member[]) =>
  Object.fromEntries(members.map((member) => [member, of[member]]))

/** Each row's version and all that it says. */
async function rowsOf(of: Parties) {
  const rows = await Promise.all(
    MEMBERS.map(async (member) => {
      const { rows } = await sql<{ version: string; says: object }>`
        select xmin::text as version, to_jsonb(x) as says from ${sql.table(TABLES[member])} x
        where id = ${of[member]}`.execute(db)
      assert.ok(rows[0])
      return rows[0]
    }),
  )
  return { versions: rows.map(({ version }) => version), say: rows.map(({ says }) => says) }
}

const COMBINATIONS: [names: Member[], touched: Member][] = [
  [['user_id'], 'user_id'],
  [['agent_id'], 'agent_id'],
  [['audience_id'], 'audience_id'],
  [['user_id', 'agent_id'], 'user_id'],
  [['user_id', 'audience_id'], 'user_id'],
  [['agent_id', 'audience_id'], 'agent_id'],
  [['user_id', 'agent_id', 'audience_id'], 'user_id'],
]
for (const [names, touched] of COMBINATIONS) {
  test(`a block by ${names.join(', ')} gives ${touched} another version, and changes nothing`, async () => {
    const of = await makeParties(house)
    const before = await rowsOf(of)
    house.wait(1)
    const { status, body } = await block(pick(of, names))
    assert.equal(status, 201)
    const then = await rowsOf(of)
    assert.deepEqual(then.say, before.say)
    const other = MEMBERS.filter((_, at) => then.versions[at] !== before.versions[at])
    assert.deepEqual(other, [touched])

    assert.equal((await house.admin('DELETE', `/blocks/${body.id}`)).status, 204)
    assert.deepEqual((await rowsOf(of)).versions, then.versions)
  })

  test(`a block by ${names.join(', ')} waits for a mint that holds what it rests on`, async () => {
    const of = await makeParties(house)
    let blocking: Promise<Answer> | undefined
    let answered = false
    await db.transaction().execute(async (tx) => {
      for (const member of MEMBERS) {
        await sql`select from ${sql.table(TABLES[member])} where id = ${of[member]} for share`.execute(
          tx,
        )
      }
      blocking = block(pick(of, names)).finally(() => {
        answered = true
      })
      await untilSomebodyWaits()
      assert.equal(answered, false)
    })
    assert.equal((await blocking)?.status, 201)
  })
}

test('a refused block changes no version', async () => {
  const of = await makeParties(house)
  const before = await rowsOf(of)
  const refused = await block({ user_id: of.user_id, audience_id: 'aud_unknown' })
  assert.equal(refused.status, 422)
  assert.deepEqual((await rowsOf(of)).versions, before.versions)
})

test('mints go on beside a permission that is being made', async () => {
  const of = await makeParties(house)
  const { agent_id: actor_id } = await makeParties(house)
  const { user_id, agent_id, audience_id } = of
  await db.transaction().execute(async (tx) => {
    for (const [table, id] of [
      ['users', user_id],
      ['agents', agent_id],
      ['agents', actor_id],
      ['audiences', audience_id],
    ] as const) {
      await sql`select from ${sql.table(table)} where id = ${id} for share`.execute(tx)
    }
    const named = { agent_id, actor_id, user_id, audience_id }
    const { status, text } = await house.admin('POST', '/actor-permissions', named)
    assert.equal(status, 201, text)
  })
})

test('ending a permission waits for a mint that holds it', async () => {
  const { agent_id } = await makeParties(house)
  const { agent_id: actor_id } = await makeParties(house)
  const { body: made } = await house.admin('POST', '/actor-permissions', { agent_id, actor_id })
  let ending: Promise<Answer> | undefined
  await db.transaction().execute(async (tx) => {
    const { rows } = await sql<{ ended_at: Date | null }>`
      select ended_at from actor_permissions where id = ${made.id} for share`.execute(tx)
    assert.deepEqual(rows, [{ ended_at: null }])
    ending = house.admin('DELETE', `/actor-permissions/${made.id}`)
    await untilSomebodyWaits()
  })
  assert.equal((await ending)?.status, 204)
})

test('blocks, permissions, changes of owners and revocations at once never wait in a circle', async () => {
  const owner = await makeUser(house)
  const other = await makeUser(house)
  const { user_id, agent_id, audience_id } = await makeParties(house, {
    agent: { owner_id: owner.id },
    audience: { owner_id: owner.id },
  })
  const { agent_id: actor_id } = await makeParties(house, { agent: { owner_id: other.id } })
  const fine = ({ status, text }: Answer) => assert.ok(status < 300, `${status} ${text}`)
  for (let round = 0; round < 40; round += 1) {
    const [from, to] = round % 2 ? [owner.id, other.id] : [other.id, owner.id]
    const answers = await Promise.all([
      // The owner as the user of a block: agents and audiences are changed before their owner is looked at.
      block({ user_id: to, agent_id }),
      house.admin('PATCH', `/agents/${agent_id}`, { owner_id: to }),
      block({ user_id: to, audience_id }),
      house.admin('PATCH', `/audiences/${audience_id}`, { owner_id: to }),
      block({ user_id: from, agent_id, audience_id }),
      block({ user_id, agent_id: actor_id }),
      block({ agent_id, audience_id }),
      block({ audience_id }),
      house.admin('POST', '/actor-permissions', { agent_id, actor_id, user_id: from }),
      house.admin('POST', '/actor-permissions', { agent_id: actor_id, actor_id: agent_id }),
      house.admin('PATCH', `/users/${to}`, { name: `Round ${round}` }),
      house.admin('POST', '/revocations', { owner_id: from, reason: 'a race' }),
      house.admin('POST', '/revocations', { agent_id, reason: 'a race' }),
    ])
    for (const answer of answers) fine(answer)
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

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, test } from 'node:test'
import { tidy } from '../src/tidy.ts'
import { authorizeUrl, browser, newVerifier, redirected, signIn } from './support/browser.ts'
import { openHouse } from './support/house.ts'
import { tellStory } from './support/story.ts'

const house = await openHouse({ after })
const { db } = house.deps
const DAY = 86_400

type Table = 'spent_assertions' | 'authorization_codes' | 'refresh_tokens' | 'idempotency_keys'
const countOf = async (table: Table) => {
  const { count } = await db
    .selectFrom(table)
    .select((eb) => eb.fn.countAll<string>().as('count'))
    .executeTakeFirstOrThrow()
  return Number(count)
}
const limitsLeft = async () => {
  const { rows } = await house.deps.pool.query('select key from rate_limits order by key')
  return rows.map(({ key }) => key)
}

/** Tidies after so many seconds more. */
async function tidyAfter(seconds: number) {
  house.wait(seconds)
  await tidy(house.deps)
}

test('spent assertions go when they have expired, and no earlier', async () => {
  const expires_at = new Date(house.clock.now.getTime() + 60_000)
  const row = { digest: randomBytes(32), tenant_id: 'ten_AAAAAAAAAAAAAAAAAAAAAA', expires_at }
  await db.insertInto('spent_assertions').values(row).execute()
  await tidyAfter(60)
  assert.equal(await countOf('spent_assertions'), 1)
  await tidyAfter(1)
  assert.equal(await countOf('spent_assertions'), 0)
})

test('authorization codes go a day after they have expired', async () => {
  const story = await tellStory(house)
  const visitor = browser(house)
  await signIn(visitor, story.user)
  const { agent } = story
  redirected(await visitor.get(authorizeUrl(agent, { verifier: newVerifier() })), agent)
  await tidyAfter(DAY)
  assert.equal(await countOf('authorization_codes'), 1)
  await tidyAfter(120)
  assert.equal(await countOf('authorization_codes'), 0)
})

test('refresh tokens go a month after they and their family have ended, and leave the family', async () => {
  const story = await tellStory(house)
  const { refresh_token } = await story.signIn()
  assert.ok(refresh_token)
  const family = db.selectFrom('refresh_token_families').select(['id', 'end_reason'])
  const { id } = await family.orderBy('created_at', 'desc').executeTakeFirstOrThrow()
  await db
    .updateTable('refresh_token_families')
    .set({ ended_at: house.clock.now, end_reason: 'signed_out' })
    .where('id', '=', id)
    .execute()
  const before = await countOf('refresh_tokens')
  await tidyAfter(31 * DAY)
  assert.equal(await countOf('refresh_tokens'), before, 'the token itself expired only lately')
  await tidyAfter(31 * DAY)
  assert.equal(await countOf('refresh_tokens'), 0)
  const left = await family.where('id', '=', id).executeTakeFirst()
  assert.equal(left?.end_reason, 'signed_out')
})

test('spent refresh tokens of a living family stay, for they tell a thief', async () => {
  const story = await tellStory(house)
  await story.signIn()
  // As with a REFRESH_TOKEN_LIFETIME of a year.
  const expires_at = new Date(house.clock.now.getTime() + 365 * DAY * 1000)
  await db
    .updateTable('refresh_token_families')
    .set({ expires_at })
    .where('ended_at', 'is', null)
    .execute()
  const before = await countOf('refresh_tokens')
  await tidyAfter(70 * DAY)
  assert.equal(await countOf('refresh_tokens'), before)
  await tidyAfter(330 * DAY)
  assert.equal(await countOf('refresh_tokens'), 0)
})

test('idempotency keys go after a day', async () => {
  const headers = { 'idempotency-key': 'once' }
  await house.admin('POST', '/tenants', { name: 'Other' }, headers)
  await tidyAfter(DAY)
  assert.equal(await countOf('idempotency_keys'), 1)
  await tidyAfter(1)
  assert.equal(await countOf('idempotency_keys'), 0)
})

test('an idempotency key is free again after a day, tidied or not', async () => {
  const headers = { 'idempotency-key': 'twice' }
  const first = await house.admin('POST', '/tenants', { name: 'One' }, headers)
  house.wait(DAY + 1)
  const second = await house.admin('POST', '/tenants', { name: 'Two' }, headers)
  assert.equal(second.status, 201, second.text)
  assert.notEqual(second.body.id, first.body.id)
})

test('counts of tries go when their window has passed', async () => {
  const end = house.clock.now.getTime() + 60_000
  await house.deps.pool.query('delete from rate_limits')
  await house.deps.pool.query(
    `insert into rate_limits (key, points, expire) values ('now', 1, $1), ('later', 1, $2), ('never', 1, null)`,
    [end, end + 60_000],
  )
  await tidyAfter(61)
  assert.deepEqual(await limitsLeft(), ['later', 'never'])
})

test('what another transaction holds is left for the next round', async () => {
  const expires_at = new Date(house.clock.now.getTime() - 1)
  const tenant_id = 'ten_AAAAAAAAAAAAAAAAAAAAAA'
  const [held, free] = [randomBytes(32), randomBytes(32)]
  for (const digest of [held, free]) {
    await db.insertInto('spent_assertions').values({ digest, tenant_id, expires_at }).execute()
  }
  await db.transaction().execute(async (tx) => {
    await tx
      .selectFrom('spent_assertions')
      .select('digest')
      .where('digest', '=', held)
      .forUpdate()
      .execute()
    await tidy(house.deps)
    assert.equal(await countOf('spent_assertions'), 1)
  })
  await tidy(house.deps)
  assert.equal(await countOf('spent_assertions'), 0)
})

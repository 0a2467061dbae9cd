import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { type Kysely, sql, type Transaction } from 'kysely'
import type { Tables } from '../../src/db/tables.ts'
import { browser, PASSWORD, signIn } from '../support/browser.ts'
import { enrolUser, events } from '../support/enrol.ts'
import { openHouse } from '../support/house.ts'

// What an administrator commits while a password is being checked: the row is held until the sign-in waits for it.

const house = await openHouse({ after })
const { db } = house.deps

async function meanwhile<Result>(
  act: (tx: Transaction<Tables>) => Promise<unknown>,
  request: () => Promise<Result>,
  beforeCommit: (tx: Transaction<Tables>) => Promise<unknown> = async () => undefined,
): Promise<Result> {
  let answer: Promise<Result> | undefined
  await db.transaction().execute(async (tx) => {
    await act(tx)
    answer = request()
    await untilSomebodyWaits(db)
    await beforeCommit(tx)
  })
  return answer as Promise<Result>
}

async function untilSomebodyWaits(on: Kysely<Tables>): Promise<void> {
  for (;;) {
    const { rows } = await sql`
      select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`.execute(
      on,
    )
    if (rows.length > 0) return
  }
}

const lockUser = (tx: Transaction<Tables>, id: string) =>
  tx.selectFrom('users').select('id').where('id', '=', id).forUpdate().execute()

const sessionsOf = (user_id: string) =>
  db
    .selectFrom('sessions')
    .select('id')
    .where('user_id', '=', user_id)
    .where('ended_at', 'is', null)
    .execute()

test('a password that was changed while it was checked opens nothing', async () => {
  const user = await enrolUser(house)
  const answer = await meanwhile(
    async (tx) => {
      await lockUser(tx, user.id)
      await tx
        .updateTable('user_passwords')
        .set({ hash: sql`hash || 'x'` })
        .where('user_id', '=', user.id)
        .execute()
    },
    () => signIn(browser(house), user),
  )
  assert.equal(answer.status, 403)
  assert.deepEqual(await sessionsOf(user.id), [])
  const [event] = await events(house, 'sign_in.failed')
  assert.equal(event?.reason, 'wrong_password')
  assert.equal(event?.user_id, user.id)
})

test('a user who was suspended while the password was checked is not signed in', async () => {
  const user = await enrolUser(house)
  const answer = await meanwhile(
    async (tx) => {
      await lockUser(tx, user.id)
      await tx.updateTable('users').set({ status: 'suspended' }).where('id', '=', user.id).execute()
    },
    () => signIn(browser(house), user),
  )
  assert.equal(answer.status, 403)
  assert.deepEqual(await sessionsOf(user.id), [])
})

test('a sign-in in place of another person and the end of all sessions of the tenant do not wait in a circle', async () => {
  const [first, second] = [await enrolUser(house), await enrolUser(house)]
  const there = browser(house)
  await signIn(there, first)
  const page = await there.get('/sign-in?prompt=login')
  const answer = await meanwhile(
    (tx) => tx.selectFrom('tenants').select('id').forUpdate().execute(),
    () => there.submit(page, { email: second.email, password: PASSWORD }),
    (tx) =>
      tx
        .updateTable('sessions')
        .set({ ended_at: house.clock.now, end_reason: 'rev' })
        .where('ended_at', 'is', null)
        .execute(),
  )
  assert.equal(answer.url, '/account', answer.text)
  assert.deepEqual(await sessionsOf(first.id), [])
  assert.equal((await sessionsOf(second.id)).length, 1)
})

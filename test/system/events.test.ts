/**
 * No revocation is lost: ten thousand of them, while the servers that tell of them are killed and cut off their
 * database, and the relying apps answer as they like. What was committed, and what the apps have on record, is
 * compared at the end.
 */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import type { AppKind } from '../support/app-script.ts'
import {
  type Endpoints,
  type Member,
  makeMembers,
  makeReturners,
  openPlace,
} from '../support/event-crowd.ts'
import { keepReturning, type Returns } from '../support/event-returners.ts'
import { openEventScene, settle } from '../support/event-scene.ts'
import { giveUp, hasten, openStorm, type Storm } from '../support/event-storm.ts'
import { findFaults } from '../support/event-verdict.ts'
import { readWatched, type Watched } from '../support/event-watch.ts'
import { inLanes } from '../support/race.ts'

const APPS: readonly AppKind[] = [
  'healthy',
  'busy',
  'slow',
  'cutting',
  'late with keys',
  'remembering',
  'refusing',
  'moving',
  'wrong TLS at times',
]
/** What is sent there is given up. */
const HOPELESS: readonly AppKind[] = ['away', 'wrong TLS']

/** People with four delegations each; together these are ten thousand. */
const CALM = 200
const SINGLES = 450
const USERS = 350
const AGENTS = 15
const OF_AGENT = 100
const RETURNERS_OF_APP = 3
const SEED = 'no revocation is lost'

test('of ten thousand revocations none is lost, doubled or late, whatever breaks meanwhile (EV-10, EV-12, EV-13, EV-14, GR-08)', async (t) => {
  const { pool, db, fleet, apps, drop } = await openEventScene(t, {
    seed: SEED,
    apps: [...APPS, ...HOPELESS],
  })
  const storm = openStorm(fleet, pool)
  const endpoints = some(apps.endpoints, APPS)
  const hopeless = some(apps.endpoints, HOPELESS)
  const place = await openPlace(db, endpoints)
  const crowds = {
    calm: await makeMembers(db, place, CALM),
    singles: await makeMembers(db, place, SINGLES),
    users: await makeMembers(db, place, USERS),
    agents: await Promise.all(
      Array.from({ length: AGENTS }, () => makeMembers(db, place, OF_AGENT)),
    ),
    hopeless: await makeMembers(db, await openPlace(db, hopeless), 25),
  }
  const returners = await makeReturners(db, { ...endpoints, ...hopeless }, RETURNERS_OF_APP)
  await pool.query('analyze')

  // Two servers that are left in peace: here nothing may even come twice.
  await inLanes(crowds.calm, (member) => endSingly(storm, member))
  await settle(pool, Object.values(hopeless))

  const counted: Returns = { minted: 0, waited: 0, ended: 0, consented: 0 }
  let sentAgain = 0
  let over = false
  const raging = storm.rage()
  const returning = returners.map((of) => keepReturning(storm, of, counted, () => over))
  const hastening = untilOver(
    async () => {
      await hasten(pool)
      if (Math.random() < 0.3) await giveUp(pool, Object.values(hopeless))
    },
    () => over,
  )
  const resending = untilOver(
    async () => {
      sentAgain += await resendForReturners(storm, pool, Object.values(hopeless))
    },
    () => over,
  )
  const ending = inLanes(
    shuffled([
      ...crowds.singles.map((one) => () => endSingly(storm, one)),
      ...crowds.hopeless.map((one) => () => endSingly(storm, one)),
      ...crowds.users.map((one, n) => () => endUser(storm, one.user_id, n)),
      ...crowds.agents.map((of, n) => () => endAgent(storm, of[0]?.agent_id ?? '', n)),
      // Whom the apps have heard of before, or hear of at the same time.
      () => pullSwitch(storm, { agent_id: crowds.calm[0]?.agent_id ?? '' }),
      ...crowds.singles
        .filter((_, n) => n % 5 === 0)
        .map(
          ({ user_id }) =>
            () =>
              pullSwitch(storm, { user_id }),
        ),
    ]),
    (act) => act(),
  )
  const failed = Promise.all([raging, hastening, resending, ...returning]).then(() => undefined)
  try {
    await Promise.race([ending, failed])
    while (storm.counted.killed < 8) await Promise.race([pause(100), failed])
  } finally {
    over = true
    storm.calm()
  }
  await Promise.all([ending, failed])
  await settle(pool, Object.values(hopeless))
  const resent = await resendSome(storm, pool)
  await settle(pool, Object.values(hopeless))

  const watched = await readWatched(pool)
  const receipts = apps.receipts()
  const faults = findFaults({ ...watched, receipts, blows: storm.blows })
  assert.deepEqual(faults.slice(0, 20), [], `${faults.length} faults`)
  await assertProofs(storm, pool)

  const states = countBy(watched.events, ({ status }) => status)
  t.diagnostic(
    `${watched.endings.length} delegations ended, ${watched.events.length} events: ${JSON.stringify(states)}; ${sentAgain} sent again by hand meanwhile, ${resent} afterwards`,
  )
  t.diagnostic(`blows: ${JSON.stringify(storm.counted)}; ${JSON.stringify(counted)}`)
  t.diagnostic(`answers: ${JSON.stringify(countBy(receipts, ({ answer }) => answer))}`)
  assertWorthwhile(watched, counted, storm)
  assert.ok(sentAgain >= 20, `${sentAgain} sent again`)
  for (const { doors } of fleet.members) assert.equal(await doors.stop(), 0)
  await drop()
})

async function endSingly(storm: Storm, { delegation_ids }: Member): Promise<void> {
  for (const id of delegation_ids) {
    const { status, text } = await storm.insist((at) => at.admin('DELETE', `/delegations/${id}`))
    assert.equal(status, 204, text)
  }
}

/** By a kill switch, or by a suspension. */
async function endUser(storm: Storm, user_id: string, n: number): Promise<void> {
  if (n % 2) return pullSwitch(storm, { user_id })
  const { status, text } = await storm.insist((at) =>
    at.admin('PATCH', `/users/${user_id}`, { status: 'suspended' }),
  )
  assert.equal(status, 200, text)
}

async function endAgent(storm: Storm, agent_id: string, n: number): Promise<void> {
  if (n % 2) return pullSwitch(storm, { agent_id })
  const { status, text } = await storm.insist((at) =>
    at.admin('POST', `/agents/${agent_id}/suspend`),
  )
  assert.equal(status, 200, text)
}

async function pullSwitch(storm: Storm, of: { user_id: string } | { agent_id: string }) {
  const headers = { 'idempotency-key': randomUUID() }
  const body = { ...of, reason: 'the storm' }
  const { status, text } = await storm.insist((at) =>
    at.admin('POST', '/revocations', body, headers),
  )
  assert.equal(status, 202, text)
}

/** EV-13: some of those that failed, about people of whom nobody minted since. */
async function resendSome(storm: Storm, pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ id: string }>(
    `select e.id from event_deliveries e join users on users.id = e.user_id
     where e.status = 'failed' and users.email is null order by e.id limit 60`,
  )
  const answers = await inLanes(rows, ({ id }) =>
    storm.insist((at) => at.admin('POST', `/event-deliveries/${id}/retry`)),
  )
  for (const { status, text } of answers) assert.equal(status, 200, text)
  return answers.length
}

/**
 * Events that failed, about people whose agents mint, end and come again meanwhile: nothing may rest on one that is
 * being sent again. An app that takes nothing never gets it, so that no mint before it can be at stake.
 */
async function resendForReturners(
  storm: Storm,
  pool: pg.Pool,
  endpoints: readonly string[],
): Promise<number> {
  const { rows } = await pool.query<{ id: string }>(
    `select e.id from event_deliveries e join users on users.id = e.user_id
     where e.status = 'failed' and e.endpoint = any($1) and users.email is not null
     order by e.failed_at desc limit 3`,
    [endpoints],
  )
  let sent = 0
  for (const { id } of rows) {
    const { status, text } = await storm.insist((at) =>
      at.admin('POST', `/event-deliveries/${id}/retry`),
    )
    // Or its user has consented since, or a server that was struck had done it.
    assert.ok(status === 200 || status === 409, text)
    if (status === 200) sent++
  }
  return sent
}

/** What is said of each revocation is what became of its events. */
async function assertProofs(storm: Storm, pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ id: string; delivered: number; failed: number }>(
    `select r.id, count(*) filter (where e.status = 'delivered')::int as delivered,
       count(*) filter (where e.status = 'failed'
         or e.status = 'superseded' and e.resent_at is not null)::int as failed
     from revocations r left join event_deliveries e on e.revocation_id = r.id
       or exists (select from revocation_events p where (p.revocation_id, p.delivery_id) = (r.id, e.id))
     group by r.id`,
  )
  assert.ok(rows.length > 300, `${rows.length} revocations`)
  await inLanes(rows, async ({ id, delivered, failed }) => {
    const { body } = await storm.insist((at) => at.admin('GET', `/revocations/${id}`))
    assert.deepEqual(body.events, { delivered, pending: 0, failed }, id)
    assert.equal(body.last_acknowledged_at === null, delivered === 0)
  })
}

/** Otherwise it had shown nothing. */
function assertWorthwhile({ events, mints, endings }: Watched, counted: Returns, storm: Storm) {
  const { minted, waited, ended, consented } = counted
  assert.ok(endings.length >= 10_000 && events.length >= 10_000, `${endings.length} endings`)
  assert.ok(mints.length >= endings.length && minted >= 300, `${minted} minted`)
  assert.ok(ended >= 100 && consented >= 100 && waited >= 50, JSON.stringify(counted))
  assert.ok(storm.counted.killed >= 8 && storm.counted.cut >= 50, JSON.stringify(storm.counted))
}

const some = (endpoints: Endpoints, kinds: readonly AppKind[]): Endpoints =>
  Object.fromEntries(kinds.map((kind) => [kind, endpoints[kind]]))

function countBy<Item>(items: readonly Item[], of: (item: Item) => string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const item of items) counts[of(item)] = (counts[of(item)] ?? 0) + 1
  return counts
}

const shuffled = <Item>(items: Item[]): Item[] =>
  items
    .map((item) => ({ item, at: Math.random() }))
    .sort((one, other) => one.at - other.at)
    .map(({ item }) => item)

async function untilOver(act: () => Promise<unknown>, over: () => boolean): Promise<void> {
  while (!over()) {
    await act()
    await pause(400)
  }
}

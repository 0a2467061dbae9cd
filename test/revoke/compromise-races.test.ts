/**
 * A key is dropped while two servers sign with it. What either of them has begun is over before the answer is,
 * and counted in it; what begins later is by another key. Whoever is to clear the key may stop half way (DS-26).
 */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { compromise } from '../../src/keys/compromise.ts'
import { clearKey, clearLeftKeys } from '../../src/revoke/clear-key.ts'
import { exchange, redeem, refresh } from '../support/contestant-requests.ts'
import { type Contestant, type Kind, makeContestants } from '../support/contestants.ts'
import { type Answer, type House, openHouses } from '../support/house.ts'
import { auditOf, drop, dropped, droppedAmongWriters, keyOf, kidOf } from './compromised.ts'

const houses = await openHouses({ after }, { RATE_LIMITS: 'off' })
const [one, two] = houses
const { db, pool } = one.deps

const BY_TEST = { actor: { kind: 'system' }, reason: 'a test' } as const
const LISTENS = {
  audience: { events_endpoint: 'https://chat.example/events', events_dialect: 'set' },
} as const

const idTokenKey = async () => (await keyOf(one, 'id_token', 'ES256')).kid
const idJagKey = async () => (await keyOf(one, 'id_jag', 'ES256')).kid

/** A key that has signed nothing yet, and signs now at both servers. */
async function freshKey(purpose: 'id_token' | 'id_jag'): Promise<string> {
  await dropped(one, (await keyOf(one, purpose, 'ES256')).kid)
  await two.deps.keys.refresh()
  return (await keyOf(one, purpose, 'ES256')).kid
}

/** So many stories, of grants whose keys have been written down from the first. */
async function makeStories(count: number, kind: Kind = {}): Promise<Contestant[]> {
  const made = await makeContestants(db, count, kind)
  await pool.query(`update refresh_token_families set id_token_kids = '{}' where id = any($1)`, [
    made.map(({ family_id }) => family_id),
  ])
  return made
}

/** So many who are signed in with an ID token of the key that signs now. */
async function signedIn(count: number): Promise<Contestant[]> {
  const made = await makeStories(count)
  for (const [n, of] of made.entries()) assertGranted(await redeem(houses[n % 2 ? 1 : 0], of))
  return made
}

/** So many with an ID-JAG of the key that signs now, each at an audience that listens. */
async function minted(count: number): Promise<Contestant[]> {
  const made = await makeStories(count, LISTENS)
  for (const [n, of] of made.entries()) assertGranted(await exchange(houses[n % 2 ? 1 : 0], of))
  return made
}

function assertGranted({ status, text }: Answer): void {
  assert.equal(status, 200, text)
}

/** Sessions that live, with an ID token by this key. */
async function liveBy(kid: string): Promise<string[]> {
  const { rows } = await pool.query<{ id: string }>(
    `select distinct s.id from sessions s join refresh_token_families f on f.session_id = s.id
     where $1 = any(f.id_token_kids) and s.ended_at is null`,
    [kid],
  )
  return rows.map(({ id }) => id)
}

const issuedBy = async (kid: string) =>
  (await db.selectFrom('issuances').select('jti').where('kid', '=', kid).execute()).length

const toldOf = (kid: string) =>
  db.selectFrom('event_deliveries').selectAll().where('compromised_kid', '=', kid).execute()

/** Whatever waits has arrived. */
const arrive = () =>
  db
    .updateTable('event_deliveries')
    .set({ status: 'delivered', delivered_at: new Date(), next_attempt_at: null })
    .where('status', '=', 'queued')
    .execute()

const clearedOf = async (kid: string) =>
  (await auditOf(one, 'key.cleared')).filter(({ detail }) => detail?.kid === kid)

test('a server that ends right after the drop is followed by one that clears the key, once', async () => {
  const users = await signedIn(3)
  const kids = [await idTokenKey(), await idJagKey()] as const
  await minted(2)
  for (const kid of kids) await compromise(one.deps, kid, BY_TEST)
  assert.equal((await liveBy(kids[0])).length, users.length)
  assert.deepEqual(await toldOf(kids[1]), [])

  await clearLeftKeys(two.deps)
  assert.deepEqual(await liveBy(kids[0]), [])
  assert.equal((await toldOf(kids[1])).length, 2)
  await clearLeftKeys(two.deps)
  for (const kid of kids) assert.equal((await clearedOf(kid)).length, 1)
  const [[sessions], [events]] = [await clearedOf(kids[0]), await clearedOf(kids[1])]
  assert.equal(sessions?.detail?.sessions_ended, users.length)
  assert.deepEqual([events?.detail?.events_queued, events?.detail?.audiences_told], [2, 2])
})

test('a server that gets no further is followed by one that does the rest, and a key that resists keeps none waiting', async () => {
  const users = await signedIn(3)
  const kids = [await idTokenKey(), await idJagKey()] as const
  await minted(2)
  for (const kid of kids) await compromise(one.deps, kid, BY_TEST)
  await two.deps.keys.refresh()
  const broken = { ...one.deps, keys: { ...one.deps.keys, sign: () => assert.fail('it stopped') } }
  await clearLeftKeys(broken)
  assert.ok(one.logs.some((line) => line.includes('events of a compromised key could not')))
  assert.deepEqual(await liveBy(kids[0]), [])
  assert.equal((await clearedOf(kids[0]))[0]?.detail?.sessions_ended, users.length)
  assert.deepEqual(await clearedOf(kids[1]), [])
  await clearLeftKeys(two.deps)
  assert.equal((await toldOf(kids[1])).length, 2)
  assert.equal((await clearedOf(kids[1])).length, 1)
})

test('two servers that are called at once drop the key once, and count each end once between them', async () => {
  for (const [purpose, make, count] of [
    ['id_token', signedIn, 'sessions_ended'],
    ['id_jag', minted, 'events_queued'],
  ] as const) {
    await two.deps.keys.refresh()
    const { kid } = await keyOf(one, purpose, 'ES256')
    const next = await keyOf(one, purpose, 'ES256', 'next')
    await make(10)
    const answers = await Promise.all([one, two, one, two].map((at) => drop(at, kid)))
    answers.forEach(assertGranted)
    const total = answers.reduce((sum, { body }) => sum + body[count], 0)
    assert.equal(total, 10)
    assert.equal(new Set(answers.map(({ body }) => body.compromised_at)).size, 1)
    assert.equal((await keyOf(one, purpose, 'ES256')).kid, next.kid)
    await keyOf(one, purpose, 'ES256', 'next')
    const drops = (await auditOf(one, 'key.compromised')).filter(
      ({ detail }) => detail?.kid === kid,
    )
    assert.equal(drops.length, 1)
    await clearLeftKeys(one.deps)
    assert.equal((await clearedOf(kid)).length, 1)
  }
})

test('different keys that are dropped at once are all dropped', async () => {
  const slots = [
    ['id_token', 'ES256'],
    ['id_jag', 'ES256'],
    ['id_jag', 'EdDSA'],
    ['seal', 'ES256'],
  ] as const
  const kids = await Promise.all(
    slots.flatMap(([purpose, alg]) =>
      (['active', 'next'] as const).map(async (status) => {
        const { kid } = await keyOf(one, purpose, alg, status)
        return kid
      }),
    ),
  )
  const answers = await Promise.all(kids.map((kid, n) => drop(houses[n % 2 ? 1 : 0], kid)))
  answers.forEach(assertGranted)
  await clearLeftKeys(one.deps)
  for (const kid of kids) assert.equal((await clearedOf(kid)).length, 1)
  for (const [purpose, alg] of slots) {
    assert.ok(!kids.includes((await keyOf(one, purpose, alg)).kid))
    assert.ok(!kids.includes((await keyOf(one, purpose, alg, 'next')).kid))
  }
})

/** Does this in a few lanes at both servers until told to stop. */
function keepOn(act: (at: House) => Promise<Answer>): () => Promise<Answer[]> {
  let going = true
  const answers: Answer[] = []
  const lane = async (at: House) => {
    while (going) answers.push(await act(at))
  }
  const lanes = Promise.all([one, two, one, two].map(lane))
  return async () => {
    going = false
    await lanes
    return answers
  }
}

test('mints at both servers go on by the next key, and none by the dropped one is recorded after the answer', async () => {
  const contestants = await makeStories(8, LISTENS)
  for (let round = 0; round < 4; round++) {
    const kid = await idJagKey()
    const next = await keyOf(one, 'id_jag', 'ES256', 'next')
    let turn = 0
    const stop = keepOn(async (at) => {
      const answer = await exchange(at, contestants[turn++ % 8] as Contestant)
      // Where an event waits, it arrives.
      if (answer.status === 503) await arrive()
      return answer
    })
    await until(async () => (await issuedBy(kid)) > 8)
    await droppedAmongWriters(houses[round % 2 ? 1 : 0], kid)
    const before = await issuedBy(kid)
    await until(async () => (await issuedBy(next.kid)) > 8)
    const answers = await stop()
    assert.equal(await issuedBy(kid), before)
    for (const answer of answers) if (answer.status !== 503) assertGranted(answer)
    // All that were minted for are told of, however late it was.
    const { rows } = await pool.query(
      'select distinct audience_id from issuances where kid = $1 order by 1',
      [kid],
    )
    const told = (await toldOf(kid)).map(({ audience_id }) => audience_id).sort()
    assert.deepEqual(
      told,
      rows.map(({ audience_id }) => audience_id),
    )
  }
})

test('sign-ins and refreshes at both servers leave no session that an ID token of the dropped key stands for', async () => {
  for (let round = 0; round < 4; round++) {
    const kid = await idTokenKey()
    const fresh = await makeStories(200)
    let turn = 0
    const tokens: string[] = []
    const stop = keepOn(async (at) => {
      const of = fresh[turn++ % 200] as Contestant
      const answer = turn % 2 ? await redeem(at, of) : await refresh(at, of)
      if (answer.status === 200) tokens.push(kidOf(answer.body.id_token))
      return answer
    })
    await until(async () => (await liveBy(kid)).length > 8)
    await droppedAmongWriters(houses[round % 2 ? 1 : 0], kid)
    const [sessions, signed] = [await liveBy(kid), await notedBy(kid)]
    await until(async () => tokens.some((one) => one !== kid))
    const answers = await stop()
    assert.deepEqual(sessions, [])
    assert.deepEqual(await liveBy(kid), [])
    assert.equal(await notedBy(kid), signed)
    for (const { status, text } of answers) assert.ok(status < 500, text)
  }
})

const notedBy = async (kid: string) => {
  const { rows } = await pool.query(
    'select from refresh_token_families where $1 = any(id_token_kids)',
    [kid],
  )
  return rows.length
}

/** The first server stops, once, when it has seen that its keys sign and is about to write that down. */
function holdUp(): { held: Promise<void>; letGo: () => void } {
  const { keys } = one.deps
  const { stillSign } = keys
  const [held, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  keys.stillSign = async (...asked) => {
    keys.stillSign = stillSign
    const does = await stillSign(...asked)
    held.resolve()
    await gate.promise
    return does
  }
  return { held: held.promise, letGo: gate.resolve }
}

test('a sign-in under way is waited for, and ends with the others', async (t) => {
  const kid = await freshKey('id_token')
  const [of] = (await makeStories(1)) as [Contestant]
  const { held, letGo } = holdUp()
  t.after(letGo)
  const redeeming = redeem(one, of)
  await held
  const dropping = droppedAmongWriters(two, kid)
  await until(async () => (await idTokenKey()) !== kid)
  letGo()
  const answer = await redeeming
  assertGranted(answer)
  assert.equal(kidOf(answer.body.id_token), kid)
  assert.equal((await dropping).sessions_ended, 1)
  assert.deepEqual(await liveBy(kid), [])
  for (const at of houses) {
    const late = await refresh(at, of, answer.body.refresh_token)
    assert.equal(late.body.error, 'invalid_grant')
  }
})

test('one that takes too long is not complete, and the next who looks goes on', async (t) => {
  const kid = await freshKey('id_token')
  const [of] = (await makeStories(1)) as [Contestant]
  const { held, letGo } = holdUp()
  t.after(letGo)
  const redeeming = redeem(one, of)
  await held
  const key = await compromise(two.deps, kid, BY_TEST)
  const { complete, sessions_ended } = await clearKey(two.deps, key, 0)
  assert.deepEqual([complete, sessions_ended], [false, 0])
  assert.deepEqual(await clearedOf(kid), [])
  letGo()
  assertGranted(await redeeming)
  assert.equal((await liveBy(kid)).length, 1)
  await clearLeftKeys(two.deps)
  assert.deepEqual(await liveBy(kid), [])
  assert.equal((await clearedOf(kid))[0]?.detail?.sessions_ended, 1)
})

test('news of one key that the next one is about to sign are waited for when that is dropped too', async (t) => {
  const kid = await freshKey('id_jag')
  const [of] = await minted(1)
  // Nothing is left to be signed anew: the news are what is signed first.
  await db.deleteFrom('event_deliveries').execute()
  const first = await compromise(one.deps, kid, BY_TEST)
  const { held, letGo } = holdUp()
  t.after(letGo)
  const clearing = clearKey(one.deps, first)
  await held
  const next = await idJagKey()
  const second = await compromise(two.deps, next, BY_TEST)
  assert.equal((await clearKey(two.deps, second, 0)).complete, false)
  letGo()
  assert.equal((await clearing).events_queued, 1)
  assert.deepEqual(
    (await toldOf(kid)).map((event) => [event.audience_id, event.kid]),
    [[of?.audience_id, next]],
  )
  await clearLeftKeys(two.deps)
  assert.deepEqual(
    (await toldOf(kid)).map((event) => event.kid),
    [await idJagKey()],
  )
  for (const dropped of [kid, next]) assert.equal((await clearedOf(dropped)).length, 1)
})

test('a mint under way is waited for, and its audience is told', async (t) => {
  const kid = await freshKey('id_jag')
  const [of] = (await makeStories(1, LISTENS)) as [Contestant]
  const holder = await pool.connect()
  t.after(() => holder.release(true))
  // Where a mint has seen that its key signs, and is about to write its row. Both take the time they need.
  await holder.query('set idle_in_transaction_session_timeout = 0')
  await holder.query(`
    create function wait_at_barrier() returns trigger language plpgsql set lock_timeout = 0 as $$
      begin perform pg_advisory_xact_lock_shared(1); return new; end $$;
    create trigger barrier before insert on issuances for each row execute function wait_at_barrier()`)
  await holder.query('begin')
  await holder.query('select pg_advisory_xact_lock(1)')
  const minting = exchange(one, of)
  await until(async () => (await waiting()) > 0)
  const dropping = droppedAmongWriters(two, kid)
  await until(async () => (await idJagKey()) !== kid)
  assert.equal(await issuedBy(kid), 0)
  await holder.query('rollback')
  const answer = await minting
  assertGranted(answer)
  assert.equal(kidOf(answer.body.access_token), kid)
  assert.equal((await dropping).events_queued, 1)
  assert.deepEqual(
    (await toldOf(kid)).map(({ audience_id }) => audience_id),
    [of.audience_id],
  )
  await holder.query('drop trigger barrier on issuances')
})

async function waiting(): Promise<number> {
  const { rows } = await pool.query(
    `select from pg_stat_activity where datname = current_database() and wait_event = 'advisory'`,
  )
  return rows.length
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const patience = AbortSignal.timeout(30_000)
  while (!(await condition())) {
    assert.ok(!patience.aborted, 'it never came about')
    await pause(5)
  }
}

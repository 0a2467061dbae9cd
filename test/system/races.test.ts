/**
 * Two servers, one database, one issuer: what must hold however their requests fall between one another.
 * Nothing here is judged by a duration. What was answered came before what was sent afterwards; for the rest
 * the database tells in which order transactions committed.
 */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import { DEFAULT_TENANT } from '../../src/db/ids.ts'
import { openPool } from '../../src/db/pool.ts'
import { GRANT } from '../../src/oauth/names.ts'
import { browser, PASSWORD } from '../support/browser.ts'
import { assertionOf, exchange, redeem, refresh } from '../support/contestant-requests.ts'
import { openContestantSite } from '../support/contestant-site.ts'
import { type Contestant, type Kind, makeContestants } from '../support/contestants.ts'
import { ENDINGS, ENDINGS_OF_PARTIES, type Ending } from '../support/endings.ts'
import { endingsOfSite } from '../support/endings-by-rule.ts'
import type { Answer, Doors } from '../support/house.ts'
import { assertEarlier, assertIssued } from '../support/issued.ts'
import { actsOn } from '../support/lock-acts.ts'
import { createTestDatabase } from '../support/postgres.ts'
import { assertSound, inLanes, soon, tally } from '../support/race.ts'
import { startReplicas } from '../support/server-process.ts'
import { clientAuthentication, newUser, tellStory } from '../support/story.ts'

const RACES_OF_A_KIND = 80
/** Exchanges with an actor take several times as long. */
const RACES_WITH_ACTORS = 40
/** Exchanges that run against one ending, half of them at each replica. */
const CONTENDERS = 6

const database = await createTestDatabase()
const { pool, db } = openPool(database.connection, () => undefined)
const replicas = await startReplicas({ after }, { DATABASE_URL: database.url })
after(async () => {
  await db.destroy()
  await database.drop()
})
const site = await openContestantSite({ after })

test('of many exchanges of a once delegation over two replicas one is granted (TV-72)', async () => {
  const stories = await Promise.all([0, 1, 2, 3].map(() => tellStory(replicas[0])))
  await Promise.all(
    stories.map(async (story) => {
      const { id_token } = await story.signIn()
      for (let round = 0; round < 60; round++) {
        await story.delegate({ mode: 'once' })
        const answers = await Promise.all(
          Array.from({ length: 10 }, async (_, index) => {
            const at = replicas[index % 2] as Doors
            return at.form('/oauth2/token', {
              grant_type: GRANT.tokenExchange,
              requested_token_type: 'urn:ietf:params:oauth:token-type:id-jag',
              audience: story.audience.issuer,
              scope: 'docs.read',
              subject_token: id_token,
              subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
              ...(await clientAuthentication(at, story.agent)),
            })
          }),
        )
        assert.deepEqual(tally(answers), { granted: 1, interaction_required: 9 })
      }
      const { rows } = await pool.query(
        `select count(*)::int as issued, count(distinct delegation_id)::int as delegations
         from issuances where agent_id = $1`,
        [story.agent.id],
      )
      assert.deepEqual(rows[0], { issued: 60, delegations: 60 })
    }),
  )
})

test('a client assertion sent to both replicas at once is accepted once, whatever it is sent for', async (t) => {
  const contestants = await makeContestants(db, 64)
  // These are refused whoever comes first, and spend their assertion all the same.
  const strangers = await makeContestants(db, 32, { delegation: null })
  const everyone = [...contestants, ...strangers]
  let count = 0
  for (let round = 0; round < 12; round++) {
    const sheets = everyone.map((of) => ({ of, proof: assertionOf(of, replicas[0].config.issuer) }))
    const ask = (at: Doors) => async (sheet: (typeof sheets)[number]) => ({
      sheet,
      answer: await exchange(at, sheet.of, sheet.proof),
    })
    // In opposite orders, so that two statements meet the same assertions from both ends.
    const answered = await Promise.all([
      ...sheets.map(ask(replicas[0])),
      ...sheets.toReversed().map(ask(replicas[1])),
    ])
    for (const sheet of sheets) {
      const answers = answered.filter((one) => one.sheet === sheet).map(({ answer }) => answer)
      const first = contestants.includes(sheet.of) ? 'granted' : 'interaction_required'
      assert.deepEqual(tally(answers), { [first]: 1, invalid_client: 1 })
      count++
    }
  }
  t.diagnostic(`${count} assertions, each sent twice`)
})

test('a client assertion sent for an exchange and for other grants at once is accepted once', async () => {
  for (let round = 0; round < 8; round++) {
    const contestants = await makeContestants(db, 24)
    await Promise.all(
      contestants.map(async (of, index) => {
        const [one, two] = index % 2 ? replicas : replicas.toReversed()
        const proof = assertionOf(of, replicas[0].config.issuer)
        const answers = await Promise.all([
          exchange(one as Doors, of, proof),
          refresh(two as Doors, of, of.refresh_token, proof),
          redeem(two as Doors, of, proof),
          exchange(two as Doors, of, proof),
        ])
        // The exchange may find its refresh token rotated meanwhile; then it has spent the assertion on that.
        const fresh = answers.filter(({ body }) => body.error !== 'invalid_client')
        assert.equal(fresh.length, 1, JSON.stringify(answers.map(({ text }) => text)))
        assertSound(answers)
      }),
    )
  }
})

test('of two rotations of one refresh token at once one is answered, and the family ends', async () => {
  const contestants = await makeContestants(db, 80)
  await inLanes(contestants, async (of) => {
    const answers = await Promise.all(replicas.map((at) => refresh(at, of)))
    assert.deepEqual(tally(answers), { granted: 1, invalid_grant: 1 })
    const next = answers.find(({ status }) => status === 200)?.body.refresh_token
    assert.ok(next)
    const late = await Promise.all(replicas.map((at) => refresh(at, of, next)))
    assert.deepEqual(tally(late), { invalid_grant: 2 })
  })
})

test('of two redemptions of one code at once one is answered, and what it gave is taken back', async () => {
  const contestants = await makeContestants(db, 80)
  await inLanes(contestants, async (of) => {
    const answers = await Promise.all(replicas.map((at) => redeem(at, of)))
    assert.deepEqual(tally(answers), { granted: 1, invalid_grant: 1 })
    const { refresh_token, id_token } = answers.find(({ status }) => status === 200)?.body ?? {}
    const [at] = replicas
    const late = [await refresh(at, of, refresh_token), await exchange(at, of, { id_token })]
    assert.deepEqual(tally(late), { invalid_grant: 2 })
  })
})

for (const ending of [...ENDINGS, ...endingsOfSite(site)]) {
  test(`no ID-JAG is minted once ${ending.name}`, async (t) => {
    const count = ending.made?.actor ? RACES_WITH_ACTORS : RACES_OF_A_KIND
    const contestants = await makeContestants(db, count, ending.made)
    const races = await inLanes(contestants, (of, index) => race(ending, of, index))

    await assertIssued(pool, new Map(races.map(({ of, jtis }) => [of.agent_id, jtis])))
    await assertEarlier(
      pool,
      { table: races[0]?.end.table as string },
      races.flatMap(({ jtis, end }) => jtis.map((jti) => ({ jti, id: end.id }))),
    )
    if (ending.delegationsEnd) await assertNoneActive(contestants)
    const contested = races.filter(({ jtis, refused }) => jtis.length > 0 && refused > 0).length
    t.diagnostic(`${races.length} races, ${contested} of them won by both sides in part`)
  })
}

for (const ending of ENDINGS_OF_PARTIES) {
  test(`no delegation outlives the moment when ${ending.name} while it is being made`, async () => {
    const contestants = await makeContestants(db, 60, { delegation: null })
    await inLanes(contestants, async (of, index) => {
      const { user_id, agent_id, audience_id } = of
      const members = { user_id, agent_id, audience_id, scopes: ['docs.read'], mode: 'always' }
      const [made, ended] = await Promise.all([
        Promise.all(replicas.map((at) => soon(() => at.admin('POST', '/delegations', members)))),
        soon(() => ending.end(replicas[index % 2] as Doors, of)),
      ])
      assert.equal(ended.status, ending.status, ended.text)
      for (const { status, text } of made) assert.ok([201, 422].includes(status), text)
    })
    await assertNoneActive(contestants)
  })
}

test('whoever signs in with the old password while it is changed has no session afterwards', async () => {
  const users = await inLanes(Array.from({ length: 80 }), () => newUser(replicas[0]))
  await inLanes(users, async (user, index) => {
    const [here, there] = index % 2 ? replicas : replicas.toReversed()
    const visitor = browser(here as Doors)
    const page = await visitor.get('/sign-in')
    const [visit, changed] = await Promise.all([
      soon(() => visitor.submit(page, { email: user.email, password: PASSWORD })),
      (there as Doors).admin('PATCH', `/users/${user.id}`, { password: 'another long passphrase' }),
    ])
    assert.equal(changed.status, 200, changed.text)
    assertSound([visit])
  })
  const { rows } = await pool.query(
    'select id from sessions where ended_at is null and user_id = any($1)',
    [users.map(({ id }) => id)],
  )
  assert.deepEqual(rows, [], 'still signed in')
})

test('an ending comes through while its agent is busy at every replica', async (t) => {
  const endings = ENDINGS.filter(({ name }) =>
    ['a delegation is ended', 'an agent is suspended', 'a tenant is suspended'].includes(name),
  )
  const waits: number[] = []
  for (const ending of endings) {
    for (const of of await makeContestants(db, 4, ending.made)) {
      let over = false
      const busy = Array.from({ length: 24 }, async (_, index) => {
        while (!over) assertSound([await exchange(replicas[index % 2] as Doors, of)])
      })
      await pause(150)
      const asked = performance.now()
      const ended = await ending.end(replicas[1], of)
      waits.push(Math.round(performance.now() - asked))
      over = true
      assert.equal(ended.status, ending.status, ended.text)
      await Promise.all(busy)
    }
  }
  t.diagnostic(`milliseconds until the ending was answered: ${waits.join(' ')}`)
})

test('endings of every kind at once, with mints between them, wait for nobody in a circle', async () => {
  const acts = actsOn(site)
  for (let round = 0; round < 20; round++) {
    const contestants = [
      ...(await makeContestants(db, 2, { ownTenant: true })),
      // Their users are owners too, so that one row is taken in either part.
      ...(await makeContestants(db, 2, { ownTenant: true, ownAgent: true, actor: true })),
    ]
    const answers = await Promise.all(
      contestants.flatMap((of) => [
        ...ENDINGS.filter((ending) => isFor(of, ending)).map((ending, index) =>
          soon(() => ending.end(replicas[index % 2] as Doors, of)),
        ),
        ...acts
          .filter((act) => isFor(of, act))
          .flatMap((act) => replicas.map((at) => soon(() => act.end(at, of)))),
      ]),
    )
    assertSound(answers.filter(unlessBusy))
    await assertNoneActive(contestants)
  }
})

test('everything is stopped by two administrators at once', async () => {
  for (let round = 0; round < 10; round++) {
    const contestants = await makeContestants(db, 4)
    const body = { tenant_id: DEFAULT_TENANT, reason: 'a race' }
    const stops = replicas.flatMap((at) =>
      [randomUUID(), undefined].map((key) =>
        soon(() =>
          at.admin('POST', '/revocations', body, key ? { 'idempotency-key': key } : undefined),
        ),
      ),
    )
    const mints = contestants.flatMap((of) => replicas.map((at) => soon(() => exchange(at, of))))
    for (const { status, text } of await Promise.all(stops)) assert.equal(status, 202, text)
    assertSound((await Promise.all(mints)).filter(unlessBusy))
    await assertNoneActive(contestants)
  }
})

test('afterwards both replicas end in good order, with no error in their logs and no deadlock in the database', async () => {
  for (const replica of replicas) {
    assert.equal(await replica.stop(), 0)
    const faults = replica.output().match(/^.*("level":[5-9]0|deadlock|40P01).*$/gm) ?? []
    assert.deepEqual(
      faults.filter((line) => !line.includes('"code":"55P03"')),
      [],
    )
  }
  // A server process counts its deadlocks when it ends.
  const { rows } = await pool.query(
    'select deadlocks::int from pg_stat_database where datname = current_database()',
  )
  assert.deepEqual(rows, [{ deadlocks: 0 }])
})

/** On a busy machine a crowd of endings takes longer than a mint waits for a row; its client is told to come again. */
const unlessBusy = ({ status, body }: Answer): boolean =>
  status !== 503 || body?.error !== 'temporarily_unavailable'

type Race = { of: Contestant; jtis: string[]; refused: number; end: ReturnType<Ending['row']> }

async function race(ending: Ending, of: Contestant, index: number): Promise<Race> {
  const [here, there] = index % 2 ? replicas : replicas.toReversed()
  // Half of the races have an ID token beside the refresh token, where there is a session for it.
  const renewable = !ending.made?.signedOut && !ending.made?.upstream
  const id_token = renewable && index % 4 < 2 ? await renew(here as Doors, of) : undefined
  let ended: Answer | undefined
  const contend = Array.from({ length: CONTENDERS }, (_, turn) =>
    soon(async () => {
      const late = ended !== undefined
      const subject = turn % 3 === 0 ? {} : { id_token }
      return { late, answer: await exchange((turn % 2 ? here : there) as Doors, of, subject) }
    }),
  )
  ended = await soon(() => ending.end(here as Doors, of), of.actor ? 4 : 1)
  assert.equal(ended.status, ending.status, ended.text)
  const after = replicas.map((at, turn) => exchange(at, of, turn ? { id_token } : {}))

  const during = await Promise.all(contend)
  const late = [
    ...(await Promise.all(after)),
    ...during.flatMap(({ late, answer }) => (late ? [answer] : [])),
  ]
  for (const { status, body, text } of late) {
    assert.equal(status >= 400 && status < 500 && ending.refusals.includes(body.error), true, text)
  }
  const answers = during.map(({ answer }) => answer)
  assertSound(answers)
  const granted = answers.filter(({ status }) => status === 200)
  return {
    of,
    jtis: granted.map(({ body }) => decodeJwt(body.access_token).jti as string),
    refused: answers.length - granted.length,
    end: ending.row(of, ended),
  }
}

/** Whether it needs no more than this contestant has. */
const isFor = ({ actor }: Contestant, { made = {} }: { made?: Kind }): boolean =>
  Object.keys(made).every((name) => name === 'ownTenant' || (name === 'actor' && actor))

/** An ID token, and the next refresh token. */
async function renew(at: Doors, of: Contestant): Promise<string> {
  const { status, body, text } = await refresh(at, of)
  assert.equal(status, 200, text)
  of.spent_token = of.refresh_token
  of.refresh_token = body.refresh_token
  return body.id_token
}

async function assertNoneActive(contestants: Contestant[]): Promise<void> {
  const { rows } = await pool.query(
    `select id from delegations where status = 'active' and agent_id = any($1)`,
    [contestants.map(({ agent_id }) => agent_id)],
  )
  assert.deepEqual(rows, [], 'still active')
}

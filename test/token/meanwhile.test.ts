/**
 * Between what an exchange reads and what it records there is a moment. Here it is stretched: the ID-JAG is
 * about to be signed at one server when something ends or changes at another one, and is answered. The
 * exchange must not be recorded as if it had not been (design §2, rule 3).
 */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeJwt } from 'jose'
import { AMENDMENTS } from '../support/amendments.ts'
import { exchange, refresh } from '../support/contestant-requests.ts'
import { openContestantSite } from '../support/contestant-site.ts'
import { type Contestant, type Kind, makeContestants } from '../support/contestants.ts'
import { newDpopKey, proving } from '../support/dpop.ts'
import { ENDINGS } from '../support/endings.ts'
import { endingsOfSite } from '../support/endings-by-rule.ts'
import { type Answer, openHouses } from '../support/house.ts'

const [one, two] = await openHouses({ after }, { RATE_LIMITS: 'off' })
const { db, hot, keys } = one.deps

const site = await openContestantSite({ after })

/** Where the first server is stopped, once, for something to happen. */
type Moment = 'reading' | 'signing'
let meanwhile: { moment: Moment; run: () => Promise<void> } | undefined
async function at(moment: Moment): Promise<void> {
  if (meanwhile?.moment !== moment) return
  const { run } = meanwhile
  meanwhile = undefined
  await run()
}
const sign = keys.sign.bind(keys)
keys.sign = async (...what) => {
  await at('signing')
  return sign(...what)
}
const query = hot.query.bind(hot) as (what: { name: string }) => unknown
hot.query = (async (what: { name: string }) => {
  if (what.name === 'gather_facts') await at('reading')
  return query(what)
}) as typeof hot.query

/** What an exchange is answered when this happens between its reading and its recording. */
async function exchangeWhile<T>(
  happens: () => Promise<T>,
  ask: () => Promise<Answer>,
  moment: Moment = 'signing',
): Promise<[Answer, T]> {
  let happened: T | undefined
  const run = async () => {
    happened = await happens()
  }
  meanwhile = { moment, run }
  const answer = await ask()
  assert.equal(meanwhile, undefined, `it did not come so far: ${answer.text}`)
  return [answer, happened as T]
}

async function makeContestant(kind?: Kind): Promise<Contestant> {
  const [of] = (await makeContestants(db, 1, kind)) as [Contestant]
  // Documents are read, and rows follow them, before: that alone would have it all decided anew.
  if (kind?.clients) for (const at of [one, two]) await exchange(at, of)
  return of
}

/** How many ID-JAGs there are of it. */
async function issued({ agent_id }: Contestant): Promise<number> {
  const found = db.selectFrom('issuances').select('jti').where('agent_id', '=', agent_id)
  return (await found.execute()).length
}

for (const ending of [...ENDINGS, ...endingsOfSite(site)]) {
  test(`an exchange under way is refused when ${ending.name}`, async () => {
    const of = await makeContestant(ending.made)
    const before = await issued(of)
    const [answer, ended] = await exchangeWhile(
      () => ending.end(two, of),
      () => exchange(one, of),
    )
    assert.equal(ended.status, ending.status, ended.text)
    assert.ok(ending.refusals.includes(answer.body.error), answer.text)
    assert.equal(await issued(of), before)
  })
}

for (const ending of endingsOfSite(site)) {
  test(`an exchange that has not read everything is refused when ${ending.name}`, async () => {
    const of = await makeContestant(ending.made)
    const before = await issued(of)
    const [answer, ended] = await exchangeWhile(
      () => ending.end(two, of),
      () => exchange(one, of),
      'reading',
    )
    assert.equal(ended.status, ending.status, ended.text)
    assert.ok(ending.refusals.includes(answer.body.error), answer.text)
    assert.equal(await issued(of), before)
  })
}

for (const { name, made, amend, status, stale } of AMENDMENTS) {
  test(`an exchange under way says what is true now when ${name}`, async () => {
    const of = await makeContestant(made)
    const before = await exchange(two, of)
    assert.equal(stale(decodeJwt(before.body.access_token), of), true, before.text)
    const [answer, changed] = await exchangeWhile(
      () => amend(two, of),
      () => exchange(one, of),
    )
    assert.equal(changed.status, status, changed.text)
    assert.equal(answer.status, 200, answer.text)
    assert.equal(stale(decodeJwt(answer.body.access_token), of), false)
    assert.equal(await issued(of), 2)
  })
}

test('an exchange under way is refused when its refresh token is rotated, and the family ends (TX-27)', async () => {
  const of = await makeContestant()
  const [answer, rotated] = await exchangeWhile(
    () => refresh(two, of),
    () => exchange(one, of),
  )
  assert.equal(rotated.status, 200, rotated.text)
  assert.equal(answer.body.error, 'invalid_grant', answer.text)
  assert.equal(await issued(of), 0)
  const next = await refresh(two, of, rotated.body.refresh_token)
  assert.equal(next.body.error, 'invalid_grant', next.text)
})

test('an exchange under way is refused when its once delegation is used up (TX-17)', async () => {
  const of = await makeContestant({ delegation: 'once' })
  const [answer, other] = await exchangeWhile(
    () => exchange(two, of),
    () => exchange(one, of),
  )
  assert.equal(other.status, 200, other.text)
  assert.equal(answer.body.error, 'interaction_required', answer.text)
  assert.equal(await issued(of), 1)
})

test('an exchange under way is refused when its proof comes in with another (DP-05)', async () => {
  const of = await makeContestant()
  const proof = await proving(await newDpopKey(), one)
  const [answer, other] = await exchangeWhile(
    () => exchange(two, of, {}, proof),
    () => exchange(one, of, {}, proof),
  )
  assert.equal(other.status, 200, other.text)
  assert.equal(answer.body.error, 'invalid_dpop_proof', answer.text)
  assert.equal(await issued(of), 1)
})

test('an exchange under way goes on when its user signs out and has allowed that', async () => {
  const expires_at = new Date(Date.now() + 3_600_000)
  const of = await makeContestant({ granted: { offline: true, expires_at } })
  const signOutOf = ENDINGS.find(({ name }) => name === 'the user signs out') ?? assert.fail()
  const [answer, left] = await exchangeWhile(
    () => signOutOf.end(two, of),
    () => exchange(one, of),
  )
  assert.equal(left.status, signOutOf.status, left.text)
  assert.equal(answer.status, 200, answer.text)
})

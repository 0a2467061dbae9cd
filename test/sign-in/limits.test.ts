import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import { callerOf } from '../../src/http/rate-limit.ts'
import { browser, PASSWORD, signIn } from '../support/browser.ts'
import { enrolUser, events } from '../support/enrol.ts'
import { openHouse } from '../support/house.ts'

const house = await openHouse({ after })
const wrong = 'not the password'

test('after ten failures an account waits, also with the right password', async () => {
  const user = await enrolUser(house)
  const there = browser(house)
  const page = await there.get('/sign-in')
  const attempt = (password: string) => there.submit(page, { email: user.email, password })
  for (let count = 1; count <= 10; count++) assert.equal((await attempt(wrong)).status, 403)
  const refused = await attempt(PASSWORD)
  assert.equal(refused.status, 429)
  assert.ok(Number(refused.headers['retry-after']) > 0)
  assert.equal(there.cookies.has('session'), false)
  assert.equal((await attempt(wrong)).status, 429)

  const other = await enrolUser(house)
  assert.equal((await signIn(browser(house), other)).url, '/account')
  const rows = (await events(house, 'sign_in.failed')).filter(
    (row) => row.reason === 'too_many_tries',
  )
  assert.equal(rows.length, 1, 'a flood is written down once')
})

test('an account nobody has is limited in the same way', async () => {
  const there = browser(house)
  const page = await there.get('/sign-in')
  const attempt = () => there.submit(page, { email: 'nobody@orbit.example', password: wrong })
  for (let count = 1; count <= 10; count++) assert.equal((await attempt()).status, 403)
  assert.equal((await attempt()).status, 429)
})

test('spellings that find the same account are tries at the same account, and others are not', async () => {
  const { rows } = await sql<{ same: boolean }>`select lower('İ') = 'i' as same`.execute(
    house.deps.db,
  )
  const { email } = await enrolUser(house, { email: 'iiii@orbit.example' })
  const there = browser(house)
  const page = await there.get('/sign-in')
  const attempt = (email: string, password: string) => there.submit(page, { email, password })
  for (let count = 1; count <= 10; count++) {
    const spelling = [...'iiii'].map((i, at) => (count & (1 << at) ? 'İ' : i)).join('')
    assert.equal((await attempt(`${spelling}@ORBIT.example`, wrong)).status, 403)
  }
  // Whether İ is another spelling of i is for the database's locale to say; where it is not, nothing was tried.
  const right = await attempt(email, PASSWORD)
  if (rows[0]?.same) assert.equal(right.status, 429)
  else assert.equal(right.url, '/account')
})

test('a success forgets the failures before it', async () => {
  const user = await enrolUser(house)
  for (let round = 1; round <= 2; round++) {
    const page = await browser(house).get('/sign-in')
    assert.equal(page.status, 200)
    for (let count = 1; count <= 6; count++) {
      assert.equal((await signIn(browser(house), { ...user, password: wrong })).status, 403)
    }
    assert.equal((await signIn(browser(house), user)).url, '/account')
  }
})

test('fifty failures from one address close it for every account', async (t) => {
  const house = await openHouse(t)
  const user = await enrolUser(house)
  const there = browser(house)
  const page = await there.get('/sign-in')
  const attempt = (email: string, password: string) => there.submit(page, { email, password })
  for (let count = 1; count <= 50; count++) {
    assert.equal((await attempt(`guess-${count}@orbit.example`, wrong)).status, 403)
  }
  assert.equal((await attempt(user.email, PASSWORD)).status, 429)
})

test('RATE_LIMITS=off lifts them', async (t) => {
  const house = await openHouse(t, { RATE_LIMITS: 'off' })
  const user = await enrolUser(house)
  const there = browser(house)
  const page = await there.get('/sign-in')
  for (let count = 1; count <= 12; count++) {
    assert.equal((await there.submit(page, { email: user.email, password: wrong })).status, 403)
  }
  assert.equal((await signIn(there, user)).url, '/account')
})

test('a flood of failures is counted, and written down as a sample', async (t) => {
  const house = await openHouse(t, { RATE_LIMITS: 'off' })
  const user = await enrolUser(house)
  const there = browser(house)
  const page = await there.get('/sign-in')
  const attempt = (email: string, password = wrong) => there.submit(page, { email, password })
  for (let count = 1; count <= 40; count++) {
    assert.equal((await attempt(user.email)).status, 403)
    assert.equal((await attempt(`guess-${count}@orbit.example`)).status, 403)
  }
  const written = async () => (await events(house, 'sign_in.failed')).length
  assert.equal(await written(), 60)
  const { body } = await house.deps.metrics.expose()
  for (const reason of ['wrong_password', 'unknown_account']) {
    assert.match(body, new RegExp(`^refusals_total{error="sign_in",reason="${reason}"} 40$`, 'm'))
  }

  // Whoever knows the password is no stranger.
  await house.admin('PATCH', `/users/${user.id}`, { status: 'suspended' })
  assert.equal((await attempt(user.email, PASSWORD)).status, 403)
  assert.equal(await written(), 61)
  house.wait(1)
  await attempt(user.email)
  assert.equal(await written(), 62)
})

test('a try beyond the limit is counted too', async (t) => {
  const house = await openHouse(t)
  const there = browser(house)
  const page = await there.get('/sign-in')
  for (let count = 1; count <= 13; count++) {
    await there.submit(page, { email: 'nobody@orbit.example', password: wrong })
  }
  const { body } = await house.deps.metrics.expose()
  assert.match(body, /^refusals_total{error="sign_in",reason="too_many_tries"} 3$/m)
  assert.equal((await events(house, 'sign_in.failed')).length, 11)
})

test('an IPv6 caller is its /64, an IPv4 one its address', () => {
  assert.equal(callerOf('2001:db8:1:2:3:4:5:6'), callerOf('2001:db8:1:2::ffff'))
  assert.notEqual(callerOf('2001:db8:1:2::1'), callerOf('2001:db8:1:3::1'))
  assert.equal(callerOf('::1'), '0:0:0:0')
  assert.equal(callerOf('::ffff:192.0.2.7'), '192.0.2.7')
  assert.equal(callerOf('192.0.2.7'), '192.0.2.7')
})

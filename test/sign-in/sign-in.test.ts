import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { browser, PASSWORD, signIn } from '../support/browser.ts'
import { enrolUser, events } from '../support/enrol.ts'
import { openHouse } from '../support/house.ts'

const house = await openHouse({ after })

test('signs a user in and leads to their own pages', async () => {
  const user = await enrolUser(house)
  const there = browser(house)
  const page = await there.get('/sign-in')
  assert.equal(page.status, 200)
  const before = there.cookies.get('sign-in')
  const visit = await there.submit(page, { email: user.email, password: PASSWORD })
  assert.equal(visit.url, '/account')
  assert.match(there.cookies.get('session') ?? '', /^[A-Za-z0-9_-]{43}$/)
  assert.notEqual(there.cookies.get('session'), before)
  assert.equal(there.cookies.has('sign-in'), false)
  const [event] = await events(house, 'sign_in.succeeded')
  assert.equal(event?.user_id, user.id)
})

test('answers a credential form with 303, so that the browser does not send it on (SE-03)', async () => {
  const user = await enrolUser(house)
  const there = browser(house)
  const page = await there.get('/sign-in')
  const answer = await house.form(
    '/sign-in',
    { email: user.email, password: PASSWORD, csrf: csrfOf(page.text) },
    { cookie: `sign-in=${there.cookies.get('sign-in')}` },
  )
  assert.equal(answer.status, 303)
  assert.equal(answer.headers.location, '/account')
})

test('finds the account whatever the case of the address', async () => {
  const user = await enrolUser(house)
  const visit = await signIn(browser(house), { email: user.email.toUpperCase() })
  assert.equal(visit.url, '/account')
})

test('returns to a path of this server after the sign-in', async () => {
  const user = await enrolUser(house)
  const visit = await signIn(browser(house), user, '/account?x=1')
  assert.equal(visit.url, '/account?x=1')
})

for (const bad of [
  'https://evil.example/',
  '//evil.example/',
  '/\\evil.example/',
  '\\\\evil.example',
  '/\t/evil.example/',
  '/.//evil.example/',
  'javascript:alert(1)',
  'account',
  '',
]) {
  test(`does not lead to ${JSON.stringify(bad)} after a sign-in (SE-02)`, async () => {
    const user = await enrolUser(house)
    const visit = await signIn(browser(house), user, bad)
    assert.equal(visit.url, '/account')
  })
}

test('a forged return_to in the form itself leads nowhere else either', async () => {
  const user = await enrolUser(house)
  const there = browser(house)
  const page = await there.get('/sign-in?return_to=/account')
  const fields = { email: user.email, password: PASSWORD, return_to: 'https://evil.example/' }
  assert.equal((await there.submit(page, fields)).url, '/account')
})

test('a signed-in user does not see the sign-in page again', async () => {
  const user = await enrolUser(house)
  const there = browser(house)
  await signIn(there, user)
  assert.equal((await there.get('/sign-in?return_to=/account?again')).url, '/account?again')
  assert.equal((await there.get('/sign-in')).url, '/account')
})

test('a wrong address and a wrong password look the same', async () => {
  const user = await enrolUser(house)
  const there = browser(house)
  const wrongPassword = await signIn(there, { email: user.email, password: 'not the password' })
  const wrongAddress = await signIn(there, { email: 'nobody@orbit.example' })
  assert.equal(wrongPassword.status, 403)
  assert.equal(wrongAddress.status, 403)
  const plain = (text: string) =>
    text.replaceAll(user.email, 'X').replaceAll('nobody@orbit.example', 'X')
  assert.equal(plain(wrongPassword.text), plain(wrongAddress.text))
  assert.match(wrongPassword.text, /role="alert"/)
  assert.equal(there.cookies.has('session'), false)
})

test('the audit log knows why a sign-in failed, and never the address typed', async () => {
  const user = await enrolUser(house)
  await signIn(browser(house), { email: user.email, password: 'not the password' })
  const [wrongPassword] = await events(house, 'sign_in.failed')
  assert.equal(wrongPassword?.reason, 'wrong_password')
  assert.equal(wrongPassword?.user_id, user.id)
  await signIn(browser(house), { email: 'stranger@orbit.example' })
  const [unknown] = await events(house, 'sign_in.failed')
  assert.equal(unknown?.reason, 'unknown_account')
  assert.equal(unknown?.user_id, null)
  assert.ok(!JSON.stringify(unknown).includes('stranger'))
  assert.ok(!house.logs.some((line) => line.includes('stranger@') || line.includes(PASSWORD)))
})

test('refuses a suspended user like an unknown one', async () => {
  const user = await enrolUser(house)
  const patched = await house.admin('PATCH', `/users/${user.id}`, { status: 'suspended' })
  assert.equal(patched.status, 200, patched.text)
  const visit = await signIn(browser(house), user)
  assert.equal(visit.status, 403)
  const [event] = await events(house, 'sign_in.failed')
  assert.equal(event?.reason, 'user_inactive')
})

test('refuses a user without a password', async () => {
  const email = 'no-password@orbit.example'
  await house.admin('POST', '/users', { email })
  assert.equal((await signIn(browser(house), { email, password: 'guess-guess' })).status, 403)
})

test('an empty form, and one with a NUL in it, are refused without harm', async () => {
  const there = browser(house)
  const page = await there.get('/sign-in')
  assert.equal((await there.submit(page, { email: '', password: '' })).status, 400)
  assert.equal((await there.submit(page, { email: 'a\0b@c', password: 'x\0y' })).status, 403)
})

test('refuses a form that was not made for this browser (SE-04)', async () => {
  const user = await enrolUser(house)
  const there = browser(house)
  const elsewhere = await browser(house).get('/sign-in')
  const fields = { email: user.email, password: PASSWORD }
  const without = await there.post('/sign-in', fields)
  assert.equal(without.status, 403)
  assert.match(without.text, /reload the page/)
  await there.get('/sign-in')
  assert.equal((await there.post('/sign-in', fields)).status, 403)
  const foreign = { ...fields, csrf: csrfOf(elsewhere.text) }
  assert.equal((await there.post('/sign-in', foreign)).status, 403)
  assert.equal(there.cookies.has('session'), false)
})

test('every page forbids scripts, frames, caching and referrers (SE-04)', async () => {
  const there = browser(house)
  for (const answer of [await there.get('/sign-in'), await there.post('/sign-in', {})]) {
    const csp = String(answer.headers['content-security-policy'])
    assert.match(csp, /default-src 'none'/)
    assert.match(csp, /frame-ancestors 'none'/)
    assert.doesNotMatch(csp, /unsafe|script-src/)
    assert.equal(answer.headers['x-frame-options'], 'DENY')
    assert.equal(answer.headers['referrer-policy'], 'no-referrer')
    assert.equal(answer.headers['x-content-type-options'], 'nosniff')
    assert.equal(answer.headers['cache-control'], 'no-store')
    assert.doesNotMatch(answer.text, /<script/)
  }
})

test('what a link prefills is escaped', async () => {
  const hint = '"><script>alert(1)</script>'
  const page = await browser(house).get(`/sign-in?${new URLSearchParams({ login_hint: hint })}`)
  assert.doesNotMatch(page.text, /<script>/)
  assert.match(page.text, /&quot;&gt;&lt;script&gt;/)
})

test('the session cookie is HttpOnly and SameSite=Lax, and Secure with __Host- behind https (SE-06)', async (t) => {
  const user = await enrolUser(house)
  const plain = await signInCookie(house, user.email)
  assert.match(plain, /^session=[^;]{43}; Path=\/; HttpOnly; SameSite=Lax$/)

  const secure = await openHouse(t, { ISSUER: 'https://id.orbit.example' })
  const other = await enrolUser(secure)
  const cookie = await signInCookie(secure, other.email)
  assert.match(cookie, /^__Host-session=[^;]{43}; Path=\/; HttpOnly; Secure; SameSite=Lax$/)
})

async function signInCookie(at: typeof house, email: string): Promise<string> {
  const there = browser(at)
  const page = await there.get('/sign-in')
  const cookie = [...there.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  const fields = { email, password: PASSWORD, csrf: csrfOf(page.text) }
  const answer = await at.form('/sign-in', fields, { cookie })
  assert.equal(answer.status, 303, answer.text)
  const lines = [answer.headers['set-cookie']].flat().map(String)
  return lines.find((line) => /session=/.test(line)) ?? ''
}

const csrfOf = (text: string) => /name="csrf" value="([^"]*)"/.exec(text)?.[1]

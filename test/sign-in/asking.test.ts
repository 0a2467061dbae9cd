import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { authorizeUrl, browser, signIn } from '../support/browser.ts'
import { enrolAgent, enrolUser } from '../support/enrol.ts'
import { openHouse } from '../support/house.ts'

const house = await openHouse({ after })
const NAMED = /to continue to/

test('the sign-in page names the application that asks, also after a wrong password', async () => {
  const agent = await enrolAgent(house, { name: 'Travel <b>planner</b>' })
  const there = browser(house)
  const page = await there.get(authorizeUrl(agent))
  assert.match(page.url, /^\/sign-in/)
  assert.match(page.text, /to continue to <strong>Travel &lt;b&gt;planner&lt;\/b&gt;<\/strong>/)
  const { email } = await enrolUser(house)
  const refused = await there.submit(page, { email, password: 'not the password' })
  assert.equal(refused.status, 403)
  assert.match(refused.text, NAMED)
})

test('names nobody where nobody known asks', async () => {
  const agent = await enrolAgent(house)
  const names = async (return_to: string) =>
    NAMED.test((await browser(house).get(`/sign-in?${new URLSearchParams({ return_to })}`)).text)
  assert.equal(await names(authorizeUrl(agent)), true)
  const { redirect_uri } = agent
  for (const client_id of ['agt_AAAAAAAAAAAAAAAAAAAAAA', 'x\0y', '', 'https://evil.example/']) {
    assert.equal(await names(authorizeUrl({ client_id, redirect_uri })), false)
  }
  for (const path of ['/account', `/account?client_id=${agent.client_id}`, '/oauth2/authorize']) {
    assert.equal(await names(path), false)
  }
  const twice = `${authorizeUrl(agent)}&client_id=${agent.client_id}`
  assert.equal(await names(twice), false)
  await house.admin('POST', `/agents/${agent.id}/suspend`)
  assert.equal(await names(authorizeUrl(agent)), false)
})

test('a plain sign-in names nobody', async () => {
  const user = await enrolUser(house)
  const page = await browser(house).get('/sign-in')
  assert.doesNotMatch(page.text, NAMED)
  assert.equal((await signIn(browser(house), user)).url, '/account')
})

for (const [what, return_to, words] of [
  [
    'the question of an agent',
    '/consent/int_AAAAAAAAAAAAAAAAAAAAAA',
    'to answer what an agent asks',
  ],
  ['the page of agents', '/account', 'to see your agents'],
  ['that page with a notice', '/account?notice=stopped', 'to see your agents'],
  ['nothing', '', 'to see your agents'],
  ['another place', '/accounting', undefined],
] as const) {
  test(`says at which host, and that it leads to ${what}`, async () => {
    const there = browser(house)
    const page = await there.get(`/sign-in?${new URLSearchParams({ return_to })}`)
    const refused = await there.submit(page, { email: 'kim@orbit.example', password: 'x' })
    assert.equal(refused.status, 403)
    const { host } = new URL(house.config.issuer)
    for (const { text } of [page, refused]) {
      const line = `<p>at <strong>${host}</strong>${words === undefined ? '' : `, ${words}`}</p>`
      assert.ok(text.includes(line), text)
      assert.ok(text.includes('Ask your administrator if you cannot sign in.'))
    }
  })
}

test('who is asked again is told whom they confirm it to', async () => {
  const agent = await enrolAgent(house)
  const there = browser(house)
  await signIn(there, await enrolUser(house))
  const words = /The application asks you to confirm/
  const prompted = await there.get(authorizeUrl(agent, { prompt: 'login' }))
  assert.match(prompted.text, words)
  const own = await there.get('/sign-in?prompt=login')
  assert.match(own.text, /Confirm that it is you/)
  assert.doesNotMatch(own.text, words)
})

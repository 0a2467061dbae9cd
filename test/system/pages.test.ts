/** The pages in a real browser, by keyboard alone: what the user does, sees and cannot break. */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, test } from 'node:test'
import type { BrowserContextOptions, Page } from 'playwright-core'
import { openInteraction } from '../../src/delegations/interaction.ts'
import { GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import { openSession } from '../../src/sessions/open.ts'
import { authorizeUrl, newVerifier, PASSWORD } from '../support/browser.ts'
import {
  follow,
  hasFocus,
  launchChromium,
  openPage,
  pressEnter,
  tabTo,
} from '../support/chromium.ts'
import { openHttpHouse } from '../support/http-house.ts'
import { assertGoodLooks } from '../support/looks.ts'
import { clientAuthentication, RESOURCE, type Story, tellStory } from '../support/story.ts'

const house = await openHttpHouse({ after })
const ISSUER = house.config.issuer
const agentSite = await startAgentSite()
const browser = await launchChromium()
after(() => browser.close())

const OPEN_ALL = `for (const one of document.querySelectorAll('details')) one.open = true`

type Parts = { user?: object; agent?: object; audience?: object; entitlement?: object }

/** An audience with a host that can be recognised, and with an interest in the user. */
const tellPageStory = async (parts: Parts = {}) => {
  const host = `auth-${randomUUID()}.paperclip.example`
  const story = await tellStory(house, {
    user: { name: 'Kim Reyes', ...parts.user },
    agent: { redirect_uris: [agentSite.callback], ...parts.agent },
    audience: { issuer: `https://${host}`, claims: ['email', 'name'], ...parts.audience },
    entitlement: parts.entitlement ?? {},
  })
  return { ...story, host, agent: { ...story.agent, redirect_uri: agentSite.callback } }
}

const settings: [string, BrowserContextOptions, 'always' | 'once'][] = [
  ['light, wide, with scripts allowed', { colorScheme: 'light' }, 'always'],
  [
    'dark, on a phone, without JavaScript',
    { colorScheme: 'dark', viewport: { width: 360, height: 640 }, javaScriptEnabled: false },
    'once',
  ],
]

for (const [name, options, mode] of settings) {
  test(`a user signs in, is asked, refuses, allows, looks and stops: ${name}`, async () => {
    const story = await tellPageStory()
    const { page, faults } = await openPage(browser, options, [ISSUER, agentSite.origin])
    const heading = () => page.getByRole('heading', { level: 1 }).innerText()

    const idToken = await signInByKeyboard(page, story)
    await assertCookie(page)
    const scope = 'docs.read docs.write'
    const exchange = () => exchangeFor(story, idToken, scope)

    // No.
    const first = await interactionUri(exchange())
    await page.goto(first)
    await follow(page, page.getByRole('button', { name: 'Do not allow' }))
    assert.equal(await heading(), 'Not allowed')
    await assertGoodLooks(page, 'denied')

    // Yes, but less.
    const second = await interactionUri(exchange())
    assert.notEqual(second, first)
    await page.goto(second)
    await assertAsked(page, story)
    await assertGoodLooks(page, 'consent')
    const write = page.getByRole('checkbox', { name: 'docs.write' })
    await leaveNothing(page)
    await tabTo(page, write)
    await page.keyboard.press('Space')
    assert.ok(await write.isChecked())
    await page.keyboard.press('Space')
    assert.equal(await write.isChecked(), false)
    if (mode === 'once') {
      await tabTo(page, page.getByRole('radio', { name: 'Until I stop it' }))
      await page.keyboard.press('ArrowDown')
      assert.ok(await page.getByRole('radio', { name: 'Only once' }).isChecked())
    }
    await follow(page, page.getByRole('button', { name: 'Allow', exact: true }))
    assert.equal(await heading(), 'Allowed')
    assert.match(await page.getByRole('status').innerText(), /Orbit Writer may now act for you/)
    await assertGoodLooks(page, 'allowed')
    if (mode === 'always') {
      const granted = await exchange()
      assert.equal(granted.status, 200, granted.text)
      assert.equal(granted.body.scope, 'docs.read', 'as the page was left')
    }

    // What was decided is not asked twice.
    await page.goto(second)
    assert.match(await page.getByRole('alert').innerText(), /answered this question before/)

    // Stopped by one key.
    await page.goto(`${ISSUER}/account`)
    const standing = page.locator('section').filter({ hasText: 'Orbit Writer at Paperclip' })
    const told = await standing.innerText()
    for (const word of [
      story.host,
      'docs.read',
      mode === 'once' ? 'only once' : 'until you stop',
    ]) {
      assert.ok(told.includes(word), `${word} is missing in ${told}`)
    }
    assert.ok(!told.includes('docs.write'))
    await assertGoodLooks(page, 'account')
    await follow(page, page.getByRole('button', { name: 'Stop Orbit Writer at Paperclip' }))
    assert.match(await page.getByRole('status').innerText(), /was stopped/)
    assert.equal(await standing.count(), 0)
    const past = page.getByText(/^No longer/)
    await tabTo(page, past)
    await page.keyboard.press('Enter')
    assert.match(await page.getByRole('listitem').first().innerText(), /stopped by you/)
    await assertGoodLooks(page, 'account-stopped')
    await interactionUri(exchange())

    // And out.
    if (mode === 'once') {
      await openElsewhere(story)
      await page.reload()
      await assertGoodLooks(page, 'account-elsewhere')
    }
    await follow(
      page,
      page.getByRole('button', {
        name: mode === 'once' ? 'Sign out everywhere' : 'Sign out',
        exact: true,
      }),
    )
    assert.equal(await heading(), 'You are signed out')
    await assertGoodLooks(page, 'signed-out')
    await page.goto(`${ISSUER}/account`)
    assert.equal(await heading(), 'Sign in')
    assert.deepEqual(faults, [])
    await page.context().close()
  })
}

test('a user reads what exactly is asked for, and lets the agent go on while signed out', async () => {
  const types = [{ type: 'payment', description: 'Make one payment' }]
  const payment = {
    type: 'payment',
    actions: ['initiate', 'cancel'],
    amount: { value: '123.50', currency: 'EUR' },
    note: 'x'.repeat(400),
  }
  const story = await tellPageStory({
    audience: {
      max_auth_age: 7200,
      resources: [
        {
          identifier: RESOURCE,
          scopes: [{ name: 'docs.read' }],
          authorization_details_types: types,
        },
      ],
    },
    entitlement: { scopes: ['docs.read'] },
  })
  const { page, faults } = await openPage(browser, {}, [ISSUER, agentSite.origin])
  await signInByKeyboard(page, story)
  const { id } = await openInteraction(house.deps, {
    tenant_id: 'ten_AAAAAAAAAAAAAAAAAAAAAA',
    user_id: story.user.id,
    agent_id: story.agent.id,
    audience_id: story.audience.id,
    scopes: ['docs.read'],
    resources: [],
    details: [payment],
  })
  await page.goto(`${ISSUER}/consent/${id}`)
  const text = await page.getByRole('main').innerText()
  for (const word of ['Make one payment', 'initiate', '"123.50"', payment.note]) {
    assert.ok(text.includes(word), `${word} is missing in ${text}`)
  }
  await assertGoodLooks(page, 'consent-details')
  const offline = page.getByLabel('when I am signed out')
  assert.equal(await offline.isVisible(), false)
  const more = page.getByText('End date, and when you are signed out')
  await tabTo(page, more)
  await page.keyboard.press('Enter')
  assert.equal(await offline.isChecked(), false)
  assert.match(await page.locator('details').innerText(), /more than 2 hours/)
  await assertGoodLooks(page, 'consent-details-open')
  await tabTo(page, page.getByLabel('End date, if you want one'))
  const year = house.clock.now.getUTCFullYear() + 1
  // A day half written holds the form, and would do so unseen in what is closed.
  await page.keyboard.type('0301')
  await tabTo(page, more)
  await page.keyboard.press('Enter')
  await tabTo(page, page.getByRole('button', { name: 'Allow', exact: true }))
  await page.keyboard.press('Enter')
  const end = page.getByLabel('End date, if you want one')
  await page.waitForFunction(`document.activeElement?.id === 'expires_at'`)
  assert.ok(await end.isVisible())
  await page.keyboard.type(`0301${year}`)
  await tabTo(page, more)
  await page.keyboard.press('Enter')
  await tabTo(page, offline)
  await page.keyboard.press('Space')
  await follow(page, page.getByRole('button', { name: 'Allow', exact: true }))
  const lastMinute = `${year}-03-01 23:59 UTC`
  assert.ok((await page.getByRole('main').innerText()).includes(lastMinute))

  await page.goto(`${ISSUER}/account`)
  const told = await page.locator('section').innerText()
  for (const word of [lastMinute, 'also while you are signed out', 'Make one payment']) {
    assert.ok(told.includes(word), `${word} is missing in ${told}`)
  }
  await assertGoodLooks(page, 'account-offline')
  assert.deepEqual(faults, [])
  await page.context().close()
})

test('an answer to prompt=consent reaches the client, yes or no', async () => {
  const story = await tellPageStory()
  const { page, faults } = await openPage(browser, {}, [ISSUER, agentSite.origin])
  await signInByKeyboard(page, story)
  const ask = ISSUER + authorizeUrl(story.agent, { prompt: 'consent', scope: 'openid email' })
  await page.goto(ask)
  await assertGoodLooks(page, 'confirm')
  await follow(page, page.getByRole('button', { name: 'Continue' }))
  assert.ok(new URL(page.url()).searchParams.get('code'))
  await page.goto(ask)
  await follow(page, page.getByRole('button', { name: 'Cancel' }))
  assert.equal(new URL(page.url()).searchParams.get('error'), 'access_denied')
  await page.goto(`${ISSUER}/oauth2/logout`)
  await assertGoodLooks(page, 'sign-out')
  assert.deepEqual(faults, [])
  await page.context().close()
})

test('the longest names fit the narrowest screen', async () => {
  const word = 'Donaudampfschifffahrtsgesellschaft'.repeat(5)
  const right = `${'d'.repeat(60)}.${'r'.repeat(60)}`
  const resource = `${RESOURCE}${'x'.repeat(200)}`
  const story = await tellPageStory({
    user: { name: word },
    agent: { name: word, purpose: word },
    audience: { name: word, resources: [{ identifier: resource, scopes: [{ name: right }] }] },
    entitlement: { scopes: [right] },
  })
  const { page, faults } = await openPage(browser, {}, [ISSUER, agentSite.origin])
  const idToken = await signInByKeyboard(page, story)
  await page.goto(await interactionUri(exchangeFor(story, idToken, right, resource)))
  await assertGoodLooks(page, 'long-consent')
  await follow(page, page.getByRole('button', { name: 'Allow', exact: true }))
  await assertGoodLooks(page, 'long-allowed')
  await page.goto(`${ISSUER}/account`)
  await assertGoodLooks(page, 'long-account')
  await follow(page, page.getByRole('button', { name: /^Stop/ }))
  await page.evaluate(OPEN_ALL)
  await assertGoodLooks(page, 'long-account-stopped')
  await page.goto(`${ISSUER}/oauth2/logout`)
  await assertGoodLooks(page, 'long-sign-out')
  assert.deepEqual(faults, [])
  await page.context().close()
})

for (const [name, path, status, title] of [
  ['error', '/oauth2/authorize?client_id=nobody', 400, /Unknown application/],
  ['not-found', '/account/nothing', 404, /./],
  ['reference', '/docs', 200, /API reference/],
  ['problem', '/problems/too_early', 200, /./],
] as const) {
  test(`${path} is a page like the others`, async () => {
    const { page, faults } = await openPage(browser, {}, [ISSUER])
    const answer = await page.goto(ISSUER + path)
    assert.equal(answer?.status(), status)
    assert.match(await page.title(), title)
    await assertGoodLooks(page, name)
    await page.evaluate(OPEN_ALL)
    await assertGoodLooks(page, `${name}-open`)
    assert.deepEqual(faults, [])
    await page.context().close()
  })
}

/** Wrong first, then right, without a look at the mouse; ends at the client. The ID token. */
async function signInByKeyboard(page: Page, { user, agent }: Story): Promise<string> {
  const verifier = newVerifier()
  await page.goto(ISSUER + authorizeUrl(agent, { verifier }))
  const [email, password] = [page.getByLabel('E-mail address'), page.getByLabel('Password')]
  assert.ok(await hasFocus(email), 'typing may begin at once')
  await assertGoodLooks(page, 'sign-in')
  await page.keyboard.type(user.email)
  await page.keyboard.press('Tab')
  await page.keyboard.type('not the password')
  await pressEnter(page)

  assert.match(await page.getByRole('alert').innerText(), /password is wrong/)
  assert.equal(await page.title(), 'Could not sign in')
  assert.equal(await email.inputValue(), user.email, 'need not be typed again')
  assert.equal(await password.inputValue(), '')
  assert.ok(await hasFocus(password), 'where the next try begins')
  const described = page.getByRole('textbox', { description: /password is wrong/ })
  assert.equal(await described.getAttribute('name'), 'password', 'read out with the field in focus')
  await assertGoodLooks(page, 'sign-in-failed')
  await page.keyboard.type(PASSWORD)
  await pressEnter(page)

  const arrived = new URL(page.url())
  assert.ok(page.url().startsWith(`${agentSite.callback}?`), page.url())
  assert.equal(arrived.searchParams.get('iss'), ISSUER)
  assert.equal(arrived.searchParams.get('state'), 'the state')
  const answer = await house.form('/oauth2/token', {
    grant_type: GRANT.authorizationCode,
    code: arrived.searchParams.get('code') ?? '',
    code_verifier: verifier,
    redirect_uri: agent.redirect_uri,
    ...(await clientAuthentication(house, agent)),
  })
  assert.equal(answer.status, 200, answer.text)
  return answer.body.id_token
}

/** The same user in another browser. */
const openElsewhere = ({ user }: Story) =>
  openSession(house.deps, house.deps.db, {
    tenant_id: 'ten_AAAAAAAAAAAAAAAAAAAAAA',
    user_id: user.id,
    amr: ['pwd'],
    cookie: undefined,
  })

/** On plain http, where browsers refuse `Secure` and the prefix (SE-06). */
async function assertCookie(page: Page): Promise<void> {
  const cookies = await page.context().cookies(ISSUER)
  assert.deepEqual(
    cookies.map(({ name, httpOnly, sameSite, secure, path }) => ({
      name,
      httpOnly,
      sameSite,
      secure,
      path,
    })),
    [{ name: 'session', httpOnly: true, sameSite: 'Lax', secure: false, path: '/' }],
  )
}

/** Everything that a decision needs is in sight (GR-03). */
async function assertAsked(page: Page, story: Story & { host: string }): Promise<void> {
  const text = await page.getByRole('main').innerText()
  for (const word of [
    'Kim Reyes',
    story.user.email,
    'Orbit Writer',
    new URL(agentSite.callback).host,
    'writes',
    `Paperclip (${story.host})`,
    RESOURCE,
    'Read documents',
    `Your e-mail address: ${story.user.email}`,
    'Your name: Kim Reyes',
    'unless you say otherwise here',
  ]) {
    assert.ok(text.includes(word), `${word} is missing in ${text}`)
  }
  const more = await page.locator('details').textContent()
  for (const word of ['Without an end date', 'may go on acting for me when I am signed out']) {
    assert.ok(more?.includes(word), `${word} is missing in ${more}`)
  }
  for (const name of ['docs.read', 'docs.write']) {
    assert.ok(await page.getByRole('checkbox', { name }).isChecked(), name)
  }
  assert.ok(await page.getByRole('radio', { name: 'Until I stop it' }).isChecked())
  assert.equal(await page.getByRole('radio', { name: 'Only once' }).isChecked(), false)
}

/** All boxes unticked: the page comes again, the focus is where to go on, and what is wrong is in sight. */
async function leaveNothing(page: Page): Promise<void> {
  const read = page.getByRole('checkbox', { name: 'docs.read' })
  for (const box of [read, page.getByRole('checkbox', { name: 'docs.write' })]) {
    await tabTo(page, box)
    await page.keyboard.press('Space')
  }
  await follow(page, page.getByRole('button', { name: 'Allow', exact: true }))
  assert.equal(await page.title(), 'No right was chosen')
  assert.equal(await read.isChecked(), false)
  assert.ok(await hasFocus(read))
  const top = await page.getByRole('alert').evaluate((one) => one.getBoundingClientRect().top)
  assert.ok(top >= 0 && top < (page.viewportSize()?.height ?? 0), `the alert is ${top} pixels down`)
  const described = page.getByRole('checkbox', { description: /Choose at least one/ })
  assert.equal(await described.getAttribute('value'), 'docs.read')
  await assertGoodLooks(page, 'consent-again')
  await page.keyboard.press('Space')
}

const exchangeFor = async (
  { agent, audience }: Story,
  subject_token: string,
  scope: string,
  resource = RESOURCE,
) =>
  house.form('/oauth2/token', {
    grant_type: GRANT.tokenExchange,
    requested_token_type: TOKEN_TYPE.idJag,
    subject_token,
    subject_token_type: TOKEN_TYPE.idToken,
    audience: audience.issuer,
    resource,
    scope,
    ...(await clientAuthentication(house, agent)),
  })

async function interactionUri(asked: ReturnType<typeof exchangeFor>): Promise<string> {
  const answer = await asked
  assert.equal(answer.body?.error, 'interaction_required', answer.text)
  return answer.body.interaction_uri
}

/** Where the agent takes its user back: another origin. */
async function startAgentSite() {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html')
    response.end('<!doctype html><link rel="icon" href="data:,"><title>Agent</title>Back here.')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  after(() => {
    server.close()
    server.closeAllConnections()
  })
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { origin, callback: `${origin}/callback` }
}

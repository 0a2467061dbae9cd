import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { newTimeOrderedId } from '../../src/db/ids.ts'
import { openSession } from '../../src/sessions/open.ts'
import { openHouse } from '../support/house.ts'
import {
  API,
  CATALOGUE_WITH_TYPES,
  FILES,
  makeParties,
  type Parties,
  signedIn,
} from '../support/parties.ts'

const house = await openHouse({ after })
const { db } = house.deps

async function delegate({ user_id, agent_id, audience_id }: Parties, changes: object = {}) {
  const made = await house.admin('POST', '/delegations', {
    user_id,
    agent_id,
    audience_id,
    scopes: ['chat.read', 'chat.write'],
    resources: [API],
    mode: 'always',
    ...changes,
  })
  assert.equal(made.status, 201, made.text)
  return made.body.id as string
}

const statusOf = (id: string) =>
  db
    .selectFrom('delegations')
    .select(['status', 'end_reason'])
    .where('id', '=', id)
    .executeTakeFirstOrThrow()

describe('the account page', () => {
  test('says which agent acts for me, where, with which rights, since when and when last', async () => {
    const of = await makeParties(house, { user: { name: 'Kim Reyes' } })
    const delegation_id = await delegate(of)
    const since = house.clock.now.toISOString()
    house.wait(3600)
    const at = house.clock.now
    await db
      .insertInto('issuances')
      .values({
        jti: newTimeOrderedId('', at),
        at,
        agent_id: of.agent_id,
        owner_id: of.owner_id,
        user_id: of.user_id,
        audience_id: of.audience_id,
        delegation_id,
        session_id: 'ses_x',
        resources: [],
        scopes: [],
        kid: 'k',
        auth_time: at,
        expires_at: at,
      })
      .execute()
    const { status, text } = await (await signedIn(house, of)).get('/account')
    assert.equal(status, 200)
    for (const words of [
      'Kim Reyes',
      'Scribe at Chat',
      'Sums up your chats',
      'chat.example',
      API,
      '<dd>chat.read: Read your messages</dd>',
      '<dd>chat.write: Write messages in your name</dd>',
      'until you stop it',
      'set up by an administrator',
      `datetime="${since}"`,
      `datetime="${at.toISOString()}"`,
    ]) {
      assert.ok(text.includes(words), `the page does not say ${words}`)
    }
  })

  test('says what the app is told about me, as the question did, and no more than was allowed', async () => {
    const of = await makeParties(house, {
      user: { email: 'kim.told@orbit.example', phone_number: '+4915123456781' },
      audience: { claims: ['email', 'phone', 'name', 'aud_sub'] },
    })
    const id = await delegate(of)
    const there = `/users/${of.user_id}/audience-accounts/${of.audience_id}`
    await house.admin('PUT', there, { aud_sub: '<kim>' })
    const user = await signedIn(house, of)
    const told = async () => {
      const { text } = await user.get('/account')
      const list = /<dt>What Chat is told about you<\/dt>(.*?)<dt>/s.exec(text)?.[1] ?? ''
      return [...list.matchAll(/<dd>(.*?)<\/dd>/g)].map(([, words]) => words)
    }
    const identifier = 'An identifier of your account here, and when and how you signed in'
    assert.deepEqual(await told(), [
      identifier,
      'Your e-mail address, as soon as one is verified',
      'Your phone number, as soon as one is verified',
      'Your name: Kim Reyes',
      'Your account there: &lt;kim&gt;',
    ])
    const verified = { email_verified_at: house.clock.now, email_verified_by: 'environment' }
    await db.updateTable('users').set(verified).where('id', '=', of.user_id).execute()
    await db
      .updateTable('delegations')
      .set({ claims: ['email'] })
      .where('id', '=', id)
      .execute()
    assert.deepEqual(await told(), [identifier, 'Your e-mail address: kim.told@orbit.example'])
  })

  test('has no words for a right that the service has none for', async () => {
    const of = await makeParties(house)
    await delegate(of, { scopes: ['files.read'], resources: undefined })
    const { text } = await (await signedIn(house, of)).get('/account')
    assert.ok(text.includes('<dd>files.read</dd>'), text)
  })

  test('says what everything of a service is at the moment', async () => {
    const of = await makeParties(house)
    await delegate(of, { resources: undefined })
    const user = await signedIn(house, of)
    const entitle = (columns: object) =>
      db.updateTable('entitlements').set(columns).where('id', '=', of.entitlement_id).execute()
    const everything = 'everything there that the agent is admitted to'
    const says = async (words: string) =>
      assert.ok((await user.get('/account')).text.includes(`<dd>${everything}${words}</dd>`), words)
    await says(`, at the moment ${API}, ${FILES}`)
    await entitle({ resources: [FILES] })
    await says(`, at the moment ${FILES}`)
    await entitle({ ended_at: house.clock.now })
    await says('')
  })

  test('says which agents go on while I am signed out, and until when', async () => {
    const of = await makeParties(house)
    const user = await signedIn(house, of)
    await delegate(of)
    const before = (await user.get('/account')).text
    assert.match(before, /<dt>When you are signed out<\/dt><dd>it stops<\/dd>/)
    assert.match(before, /When you sign out, your agents stop, until they have sent you here/)

    const end = new Date(house.clock.now.getTime() + 86_400_000).toISOString()
    await delegate(of, { offline: true, expires_at: end })
    const { text } = await user.get('/account')
    assert.match(text, /<dd>it goes on, also while you are signed out<\/dd>/)
    assert.match(text, /When you sign out, your agents stop, but for those that go on/)
    assert.match(text, new RegExp(`at the latest until <time datetime="${end}">`))
  })

  test('says nothing of signing out to somebody without agents', async () => {
    const { text } = await (await signedIn(house, await makeParties(house))).get('/account')
    assert.ok(!text.includes('When you sign out'))
  })

  test('shows the details that were allowed, with the words for their types', async () => {
    const of = await makeParties(house, { audience: { resources: CATALOGUE_WITH_TYPES } })
    const user = await signedIn(house, of)
    await delegate(of)
    assert.ok(!(await user.get('/account')).text.includes('In particular'))
    await delegate(of, {
      authorization_details: [{ type: 'message', to: '<Kim>' }, { type: 'export' }],
    })
    const { text } = await user.get('/account')
    for (const words of [
      'In particular',
      'Send one message in your name',
      '<dd>&lt;Kim&gt;</dd>',
      'The service gives no description.',
    ]) {
      assert.ok(text.includes(words), `the page does not say ${words}`)
    }
  })

  for (const [what, resources, shown] of [
    ['knows types of details', CATALOGUE_WITH_TYPES, true],
    ['knows none', undefined, false],
  ] as const) {
    test(`says ${shown ? 'what' : 'nothing of what'} an administrator allowed for everyone where the app ${what}`, async () => {
      const of = await makeParties(house, { audience: resources ? { resources } : {} })
      const id = await delegate(of)
      const policy = { source: 'policy', authorization_details: null } as const
      await db.updateTable('delegations').set(policy).where('id', '=', id).execute()
      const { text } = await (await signedIn(house, of)).get('/account')
      assert.equal(text.includes('whatever the agent is admitted to'), shown)
    })
  }

  test("shows nobody else's agents", async () => {
    const [of, other] = [await makeParties(house), await makeParties(house)]
    const theirs = await delegate(other)
    const { text } = await (await signedIn(house, of)).get('/account')
    assert.ok(!text.includes(theirs))
    assert.match(text, /No agent acts for you/)
  })

  test('keeps what has ended out of the way, with the reason', async () => {
    const of = await makeParties(house)
    const ends = new Date(house.clock.now.getTime() + 60_000).toISOString()
    await delegate(of)
    const second = await delegate(of, { expires_at: ends })
    house.wait(60)
    const { text } = await (await signedIn(house, of)).get('/account')
    assert.match(text, /No agent acts for you/)
    assert.match(text, /<details[^>]*>\s*<summary>No longer \(2\)/)
    assert.match(text, /replaced by a newer decision/)
    assert.match(text, /ran out/)
    assert.ok(!text.includes(`/account/delegations/${second}/stop`))
  })

  test('counts the other places where I am signed in', async () => {
    const of = await makeParties(house)
    const user = await signedIn(house, of)
    assert.match((await user.get('/account')).text, /signed in here and nowhere else/)
    assert.ok(!(await user.get('/account')).text.includes('/sign-out/everywhere'))
    const since = [house.clock.now.toISOString()]
    await signedIn(house, of)
    house.wait(60)
    since.unshift(house.clock.now.toISOString())
    await signedIn(house, of)
    await signedIn(house, await makeParties(house))
    const { text } = await user.get('/account')
    assert.match(text, /2 other places/)
    const places = [...text.matchAll(/<li>signed in <time datetime="([^"]+)"/g)]
    assert.deepEqual(
      places.map(([, at]) => at),
      since,
    )
    assert.match(text, /action="\/sign-out\/everywhere"/)
  })

  test('takes one browser for one place, however often I sign in there', async () => {
    const of = await makeParties(house)
    const at = { user_id: of.user_id, tenant_id: of.tenant_id, amr: ['pwd'] }
    const open = (cookie?: string) => openSession(house.deps, db, { ...at, cookie })
    const { token } = await open()
    const { token: later } = await open((await open(token)).token)
    const page = (cookie: string) =>
      house.inject({ method: 'GET', url: '/account', headers: { cookie: `session=${cookie}` } })
    assert.match((await page(later)).text, /here and nowhere else/)
    assert.match((await page(token)).text, /here and nowhere else/)
    const { token: elsewhere } = await open()
    assert.match((await page(elsewhere)).text, /one other place/)
  })

  test('does not list all of very many places', async () => {
    const of = await makeParties(house)
    const user = await signedIn(house, of)
    for (let place = 1; place <= 12; place += 1) await signedIn(house, of)
    const { text } = await user.get('/account')
    assert.match(text, /12 other places/)
    assert.equal(text.match(/<li>signed in/g)?.length, 10)
    assert.match(text, /<li>and 2 more<\/li>/)
  })

  test('has a way to sign out', async () => {
    const user = await signedIn(house, await makeParties(house))
    assert.match((await user.get('/account')).text, /action="\/sign-out"/)
    assert.equal((await user.post('/sign-out', {})).status, 303)
    assert.equal((await user.get('/account')).status, 303)
  })

  test('escapes what others named', async () => {
    const of = await makeParties(house, { agent: { name: '<b>x', purpose: '<script>' } })
    await delegate(of)
    const { text } = await (await signedIn(house, of)).get('/account')
    assert.ok(!text.includes('<b>x') && !text.includes('<script'))
  })

  test('sends a stranger to sign in', async () => {
    const answer = await house.inject({ method: 'GET', url: '/account' })
    assert.equal(answer.status, 303)
    assert.equal(answer.headers.location, '/sign-in?return_to=%2Faccount')
  })
})

describe('the stop button', () => {
  test('ends the delegation with one click', async () => {
    const of = await makeParties(house)
    const id = await delegate(of)
    const user = await signedIn(house, of)
    const path = `/account/delegations/${id}/stop`
    assert.ok((await user.get('/account')).text.includes(`action="${path}"`))
    const answer = await user.post(path, {})
    assert.equal(answer.status, 303)
    const page = await user.get(String(answer.headers.location))
    assert.match(page.text, /The agent was stopped/)
    assert.match(page.text, /stopped by you/)
    assert.deepEqual(await statusOf(id), { status: 'revoked', end_reason: 'user' })
    const event = await db
      .selectFrom('audit_events')
      .select(['actor_kind', 'actor_id'])
      .where('type', '=', 'delegation.revoked')
      .where('delegation_id', '=', id)
      .executeTakeFirstOrThrow()
    assert.deepEqual(event, { actor_kind: 'user', actor_id: of.user_id })
  })

  test('does no harm when pressed twice', async () => {
    const of = await makeParties(house)
    const id = await delegate(of)
    const user = await signedIn(house, of)
    const path = `/account/delegations/${id}/stop`
    assert.equal((await user.post(path, {})).status, 303)
    assert.equal((await user.post(path, {})).status, 303)
  })

  test("does not exist for somebody else's delegation, nor for none", async () => {
    const [of, other] = [await makeParties(house), await makeParties(house)]
    const theirs = await delegate(other)
    const user = await signedIn(house, of)
    assert.equal((await user.post(`/account/delegations/${theirs}/stop`, {})).status, 404)
    assert.equal((await user.post('/account/delegations/dlg_none/stop', {})).status, 404)
    assert.equal((await user.post('/account/delegations/%00/stop', {})).status, 404)
    assert.equal((await statusOf(theirs)).status, 'active')
  })

  test('works only from the page', async () => {
    const of = await makeParties(house)
    const id = await delegate(of)
    const user = await signedIn(house, of)
    assert.equal((await user.postBare(`/account/delegations/${id}/stop`, {})).status, 403)
    assert.equal((await statusOf(id)).status, 'active')
  })

  test('leads a stranger to the sign-in page', async () => {
    const id = await delegate(await makeParties(house))
    const answer = await house.form(`/account/delegations/${id}/stop`, {})
    assert.equal(answer.status, 303)
    assert.equal(answer.headers.location, '/sign-in?return_to=%2Faccount')
    assert.equal((await statusOf(id)).status, 'active')
  })
})

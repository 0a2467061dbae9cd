import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { TEXT_VERSION } from '../../src/consent/text.ts'
import { openInteraction } from '../../src/delegations/interaction.ts'
import { openHouse } from '../support/house.ts'
import {
  API,
  FILES,
  hiddenFields,
  makeParties,
  makeUser,
  type Parties,
  signedIn,
} from '../support/parties.ts'

const house = await openHouse({ after })
const { db } = house.deps

/** A question to a user who is signed in. */
async function asked(
  changes: Parameters<typeof makeParties>[1] = {},
  { scopes = ['chat.read', 'chat.write'], resources = [API] } = {},
) {
  const of = await makeParties(house, changes)
  const { id } = await openInteraction(house.deps, { ...of, scopes, resources })
  const user = await signedIn(house, of)
  const path = `/consent/${id}`
  const shown = hiddenFields(await user.get(path))
  return {
    of,
    id,
    path,
    user,
    page: () => user.get(path),
    decide: (fields: Record<string, string | string[]>) =>
      user.postBare(path, { ...shown, ...fields }),
  }
}

const delegationsOf = ({ user_id }: Parties) =>
  db
    .selectFrom('delegations')
    .selectAll()
    .where('user_id', '=', user_id)
    .orderBy('created_at')
    .execute()

const statusOf = async (id: string) =>
  (
    await db
      .selectFrom('interactions')
      .select(['status', 'delegation_id', 'decided_at'])
      .where('id', '=', id)
      .executeTakeFirstOrThrow()
  ).status

const set = (table: 'agents' | 'audiences' | 'users', id: string, columns: object) =>
  db.updateTable(table).set(columns).where('id', '=', id).execute()

const ALLOW = { decision: 'allow', mode: 'always', scope: ['chat.read', 'chat.write'] }

/** Refused with a page, and nothing was granted. */
async function refused(
  { of, decide }: Awaited<ReturnType<typeof asked>>,
  fields: Record<string, string | string[]>,
  status: number,
  words: RegExp,
) {
  const answer = await decide(fields)
  assert.equal(answer.status, status, answer.text)
  assert.match(answer.text, words)
  assert.equal((await delegationsOf(of)).length, 0)
}

describe('the consent page', () => {
  test('names who, whom, where, what, and what leaves (GR-03)', async () => {
    const { page } = await asked({
      user: {
        name: 'Kim Reyes',
        email: 'kim.reyes@orbit.example',
        email_verified_at: house.clock.now,
        email_verified_by: 'environment',
        phone_number: '+4915123456789',
      },
      audience: { claims: ['email', 'phone', 'name'] },
    })
    const { status, text } = await page()
    assert.equal(status, 200)
    for (const words of [
      'Kim Reyes, kim.reyes@orbit.example',
      'Scribe',
      'scribe.example',
      'Sums up your chats',
      'Chat (chat.example)',
      API,
      'chat.read',
      'Read your messages',
      'Your e-mail address: kim.reyes@orbit.example',
      'Your name: Kim Reyes',
      '/account',
    ]) {
      assert.ok(text.includes(words), `the page does not say ${words}`)
    }
    // An address that nobody verified does not leave.
    assert.ok(text.includes('Your phone number, as soon as one is verified'))
    assert.ok(!text.includes('+4915123456789'))
    assert.ok(!text.includes(FILES))
  })

  test('tells of verified contacts for an auth.md audience, asked for or not', async () => {
    const { page } = await asked({
      user: {
        phone_number: '+4915123456780',
        phone_verified_at: house.clock.now,
        phone_verified_by: 'environment',
      },
      audience: { profile: 'authmd-0.2' },
    })
    const { text } = await page()
    assert.ok(text.includes('Your phone number: +4915123456780'))
    assert.ok(text.includes('Your e-mail address, as soon as one is verified'))
    assert.ok(!text.includes('Your name'))
  })

  test('names the account there that the audience is told of, now or as soon as it is known', async () => {
    const { of, page } = await asked({ audience: { claims: ['aud_sub', 'aud_tenant'] } })
    const before = (await page()).text
    assert.ok(before.includes('<li>Your account there, as soon as it is known here</li>'))
    assert.ok(before.includes('belongs to, as soon as it is known here</li>'))
    const account = (body: object) =>
      house.admin('PUT', `/users/${of.user_id}/audience-accounts/${of.audience_id}`, body)
    await account({ aud_sub: 'kim-1027' })
    const named = (await page()).text
    assert.ok(named.includes('<li>Your account there: kim-1027</li>'))
    assert.ok(named.includes('belongs to, as soon as it is known here</li>'))
    await account({ aud_sub: '<kim>', aud_tenant: 'orbit' })
    const { text } = await page()
    assert.ok(text.includes('<li>Your account there: &lt;kim&gt;</li>'))
    assert.ok(text.includes('<li>The organisation that your account there belongs to: orbit</li>'))
  })

  test('names no account to an audience that does not ask for it', async () => {
    const { of, page } = await asked()
    const at = `/users/${of.user_id}/audience-accounts/${of.audience_id}`
    await house.admin('PUT', at, { aud_sub: 'kim-1027' })
    assert.ok(!(await page()).text.includes('kim-1027'))
  })

  test('has a box for each scope, checked, and "always" preselected', async () => {
    const { page } = await asked()
    const { text } = await page()
    assert.equal(text.match(/type="checkbox" name="scope" value="[^"]+" checked/g)?.length, 2)
    assert.match(text, /name="mode" value="always" checked/)
    assert.match(text, /name="mode" value="once">/)
    assert.match(text, /name="decision" value="allow"/)
    assert.match(text, /name="decision" value="deny"/)
  })

  test('shows only what entitlement and catalogue allow', async () => {
    const { page } = await asked({ entitlement: { scopes: ['chat.read'] } })
    const { text } = await page()
    assert.ok(!text.includes('value="chat.write"'))
  })

  test('says so when the agent has no web address and asks for no resource', async () => {
    const { page } = await asked({ agent: { redirect_uris: [] } }, { scopes: [], resources: [] })
    const { text } = await page()
    assert.match(text, /no web address/)
    assert.match(text, /everything of Chat that the agent is admitted to, now or later/)
    assert.ok(!text.includes('type="checkbox"'))
  })

  test('offers no right at what the agent is not admitted to, when it named no resource', async () => {
    const { of, page, decide } = await asked(
      { entitlement: { resources: [API] } },
      { scopes: ['chat.read', 'files.read'], resources: [] },
    )
    const { text } = await page()
    assert.ok(text.includes('value="chat.read"') && !text.includes('value="files.read"'))
    assert.equal((await decide({ ...ALLOW, scope: 'chat.read' })).status, 200)
    const [delegation] = await delegationsOf(of)
    assert.equal(delegation?.resources, null)
    assert.deepEqual(delegation?.scopes, ['chat.read'])
  })

  test('escapes what others named', async () => {
    const { page } = await asked({ agent: { name: '<img src=x>', purpose: '"><script>' } })
    const { text } = await page()
    assert.ok(!text.includes('<img') && !text.includes('<script'))
    assert.ok(text.includes('&lt;img src=x&gt;'))
  })

  test('can be neither framed nor cached', async () => {
    const { page } = await asked()
    const { headers } = await page()
    assert.match(String(headers['content-security-policy']), /frame-ancestors 'none'/)
    assert.equal(headers['x-frame-options'], 'DENY')
    assert.equal(headers['cache-control'], 'no-store')
    assert.equal(headers['referrer-policy'], 'no-referrer')
  })

  test('sends a stranger to sign in, and back', async () => {
    const { path } = await asked()
    const answer = await house.inject({ method: 'GET', url: path })
    assert.equal(answer.status, 303)
    assert.equal(answer.headers.location, `/sign-in?return_to=${encodeURIComponent(path)}`)
  })

  test('does not exist for another user, nor for anyone without a question', async () => {
    const { path, of } = await asked()
    const other = await makeUser(house)
    const stranger = await signedIn(house, { user_id: other.id, tenant_id: other.tenant_id })
    assert.equal((await stranger.get(path)).status, 404)
    assert.equal((await stranger.post(path, ALLOW)).status, 404)
    assert.equal((await stranger.get('/consent/int_none')).status, 404)
    assert.equal((await stranger.get('/consent/%00')).status, 404)
    assert.equal((await delegationsOf(of)).length, 0)
  })

  test('is gone when its time has passed', async () => {
    const question = await asked()
    house.wait(600)
    assert.equal((await question.page()).status, 410)
    await refused(question, ALLOW, 410, /expired/)
  })

  for (const [what, changes] of [
    ['agent', { agent: { status: 'suspended' } }],
    ['audience', { audience: { status: 'suspended' } }],
    ['entitlement', { entitlement: { ended_at: new Date(0) } }],
    ['catalogue', { audience: { resources: '[]' } }],
  ] as const) {
    test(`says that nothing can be allowed when the ${what} is not there any more`, async () => {
      const question = await asked(changes)
      const answer = await question.page()
      assert.equal(answer.status, 410)
      assert.match(answer.text, /can no longer be allowed/)
    })
  }
})

describe('a decision to allow', () => {
  test('makes the delegation that the page showed', async () => {
    const { of, id, decide } = await asked()
    const answer = await decide(ALLOW)
    assert.equal(answer.status, 200, answer.text)
    assert.match(answer.text, /Scribe may now act for you at Chat/)
    const [delegation, ...more] = await delegationsOf(of)
    assert.equal(more.length, 0)
    assert.deepEqual(delegation?.scopes, ['chat.read', 'chat.write'])
    assert.deepEqual(delegation?.resources, [API])
    assert.equal(delegation?.mode, 'always')
    assert.equal(delegation?.source, 'user')
    assert.equal(delegation?.text_version, TEXT_VERSION)
    assert.equal(delegation?.sub_asserted, of.user_id)
    assert.equal(await statusOf(id), 'granted')
    const events = await db
      .selectFrom('audit_events')
      .select(['type', 'actor_kind', 'actor_id'])
      .where('delegation_id', '=', delegation?.id ?? '')
      .execute()
    assert.deepEqual(events.map(({ type }) => type).sort(), [
      'delegation.granted',
      'interaction.granted',
    ])
    assert.ok(events.every((one) => one.actor_kind === 'user' && one.actor_id === of.user_id))
  })

  test('covers the account there that the page named, and not another one entered meanwhile', async () => {
    const question = await asked({ audience: { claims: ['aud_sub'] } })
    const { of } = question
    const at = `/users/${of.user_id}/audience-accounts/${of.audience_id}`
    await house.admin('PUT', at, { aud_sub: 'somebody-else' })
    await refused(question, ALLOW, 409, /has changed/)
    const page = hiddenFields(await question.page())
    assert.equal((await question.decide({ ...ALLOW, ...page })).status, 200)
    assert.deepEqual((await delegationsOf(of))[0]?.claims, ['aud_sub'])
  })

  test('grants the boxes left checked, and no more', async () => {
    const { of, decide } = await asked()
    await decide({ ...ALLOW, scope: 'chat.read', mode: 'once' })
    const [delegation] = await delegationsOf(of)
    assert.deepEqual(delegation?.scopes, ['chat.read'])
    assert.equal(delegation?.mode, 'once')
  })

  test('covers the whole audience when the agent named no resource', async () => {
    const { of, decide } = await asked({}, { scopes: [], resources: [] })
    assert.equal((await decide({ decision: 'allow', mode: 'always' })).status, 200)
    const [delegation] = await delegationsOf(of)
    assert.equal(delegation?.resources, null)
    assert.deepEqual(delegation?.scopes, [])
  })

  test('replaces what was allowed there before', async () => {
    const { of, decide, user } = await asked()
    await decide(ALLOW)
    house.wait(1)
    const again = await openInteraction(house.deps, {
      ...of,
      scopes: ['files.read'],
      resources: [FILES],
    })
    const next = `/consent/${again.id}`
    await user.post(next, { ...ALLOW, scope: 'files.read' }, next)
    const [first, second] = await delegationsOf(of)
    assert.equal(first?.status, 'revoked')
    assert.equal(first?.end_reason, 'replaced')
    assert.deepEqual(second?.scopes, ['files.read'])
    assert.deepEqual(second?.resources, [FILES])
  })

  test('is taken once: the second says that it was decided', async () => {
    const { of, decide, page } = await asked()
    assert.equal((await decide(ALLOW)).status, 200)
    const again = await decide({ decision: 'deny' })
    assert.equal(again.status, 409)
    assert.match(again.text, /already decided/)
    assert.equal((await page()).status, 409)
    assert.equal((await delegationsOf(of)).length, 1)
  })

  test('is refused without the token of the page', async () => {
    const { of, path, user } = await asked()
    assert.equal((await user.postBare(path, ALLOW)).status, 403)
    assert.equal((await user.postBare(path, { ...ALLOW, csrf: 'x' })).status, 403)
    assert.equal((await delegationsOf(of)).length, 0)
  })

  test('is refused with the token of another browser', async () => {
    const { of, path, user } = await asked()
    const other = await signedIn(house, of)
    const csrf = /name="csrf" value="([^"]+)"/.exec((await other.get(path)).text)?.[1] ?? ''
    assert.equal((await user.postBare(path, { ...ALLOW, csrf })).status, 403)
  })

  test('is refused for a scope that was not on the page', async () => {
    await refused(await asked(), { ...ALLOW, scope: ['chat.read', 'files.read'] }, 400, /not asked/)
  })

  test('is refused with no box checked', async () => {
    await refused(await asked(), { decision: 'allow', mode: 'always' }, 400, /No right/)
  })

  test('is refused without a mode', async () => {
    await refused(await asked(), { decision: 'allow', scope: 'chat.read' }, 400, /No duration/)
    await refused(await asked(), { ...ALLOW, mode: 'forever' }, 400, /No duration/)
  })

  test('is refused without a decision', async () => {
    await refused(await asked(), { mode: 'always', scope: 'chat.read' }, 400, /No decision/)
    await refused(await asked(), { ...ALLOW, decision: ['allow', 'deny'] }, 400, /No decision/)
  })

  for (const field of ['offline', 'expires_at']) {
    test(`is refused with ${field}, which is not built yet`, async () => {
      await refused(await asked(), { ...ALLOW, [field]: 'x' }, 400, new RegExp(field))
    })
  }

  test('is refused when the entitlement has shrunk since the page was shown', async () => {
    const question = await asked()
    await question.page()
    await db
      .updateTable('entitlements')
      .set({ scopes: ['chat.read'] })
      .where('id', '=', question.of.entitlement_id)
      .execute()
    await refused(question, ALLOW, 409, /has changed/)
    assert.equal(await statusOf(question.id), 'open')
  })

  test('is for the page that was shown: what was taken away and given back since is not granted', async () => {
    const { of, id, decide, user, path } = await asked(
      { entitlement: { resources: [API] } },
      { scopes: ['chat.read'], resources: [API, FILES] },
    )
    await db
      .updateTable('entitlements')
      .set({ resources: null })
      .where('id', '=', of.entitlement_id)
      .execute()
    const answer = await decide({ ...ALLOW, scope: 'chat.read' })
    assert.equal(answer.status, 409, answer.text)
    assert.ok(answer.text.includes(`<a href="${path}">Read the question again</a>`))
    assert.equal((await delegationsOf(of)).length, 0)
    assert.equal(await statusOf(id), 'open')

    const again = await user.post(path, { ...ALLOW, scope: 'chat.read' }, path)
    assert.equal(again.status, 200, again.text)
    assert.deepEqual((await delegationsOf(of))[0]?.resources, [API, FILES])
  })

  test('grants the part that can be allowed, where the page showed no more', async () => {
    const { of, page, decide } = await asked(
      { entitlement: { resources: [API], scopes: ['chat.read', 'files.read'] } },
      { scopes: ['chat.read', 'chat.write'], resources: [API, FILES] },
    )
    const { text } = await page()
    assert.ok(text.includes(API) && !text.includes(FILES) && !text.includes('chat.write'))
    const answer = await decide({ ...ALLOW, scope: 'chat.read' })
    assert.equal(answer.status, 200, answer.text)
    const [delegation] = await delegationsOf(of)
    assert.deepEqual(delegation?.resources, [API])
    assert.deepEqual(delegation?.scopes, ['chat.read'])
  })

  test('is refused for a scope that was asked for and that the page did not offer', async () => {
    const question = await asked({ entitlement: { scopes: ['chat.read'] } })
    await refused(question, ALLOW, 400, /not asked/)
  })

  for (const [what, change] of [
    [
      'app wants to know more',
      ({ audience_id }) => set('audiences', audience_id, { claims: ['email'] }),
    ],
    ['app has another name', ({ audience_id }) => set('audiences', audience_id, { name: 'Bank' })],
    ['agent has another name', ({ agent_id }) => set('agents', agent_id, { name: 'Other' })],
    ['agent has another purpose', ({ agent_id }) => set('agents', agent_id, { purpose: 'Else' })],
    [
      'telephone number was verified',
      ({ user_id }) =>
        set('users', user_id, {
          phone_verified_at: house.clock.now,
          phone_verified_by: 'environment',
        }),
    ],
    [
      'words for a right are others',
      ({ audience_id }) =>
        set('audiences', audience_id, {
          resources: JSON.stringify([
            {
              identifier: API,
              scopes: [{ name: 'chat.read', description: 'All' }, { name: 'chat.write' }],
            },
          ]),
        }),
    ],
  ] as [string, (of: Parties) => Promise<unknown>][]) {
    test(`is refused when the ${what} since the page was shown`, async () => {
      const question = await asked({
        user: { phone_number: '+33612345678' },
        audience: { claims: ['phone'] },
      })
      await change(question.of)
      await refused(question, ALLOW, 409, /has changed/)
    })
  }

  test('is refused when it does not say which page it answers', async () => {
    for (const shown of [undefined, '', 'x'.repeat(43), ['a', 'b']]) {
      const { of, user, path } = await asked()
      const answer = await user.post(path, { ...ALLOW, shown })
      assert.equal(answer.status, 409)
      assert.equal((await delegationsOf(of)).length, 0)
    }
  })

  test('is refused when the agent was stopped since the page was shown', async () => {
    const question = await asked()
    await db
      .updateTable('agents')
      .set({ status: 'suspended' })
      .where('id', '=', question.of.agent_id)
      .execute()
    await refused(question, ALLOW, 410, /can no longer be allowed/)
  })

  test('is refused after a revocation, although nothing was delegated yet', async () => {
    const question = await asked()
    await question.page()
    await house.admin('POST', '/revocations', { agent_id: question.of.agent_id, reason: 'stop' })
    await refused(question, ALLOW, 410, /expired/)
  })

  test('of a stranger leads to the sign-in page', async () => {
    const { path } = await asked()
    const answer = await house.form(path, ALLOW)
    assert.equal(answer.status, 303)
    assert.equal(answer.headers.location, `/sign-in?return_to=${encodeURIComponent(path)}`)
  })
})

describe('a decision not to allow', () => {
  test('grants nothing, and is in the log', async () => {
    const { of, id, decide } = await asked()
    const answer = await decide({ decision: 'deny' })
    assert.equal(answer.status, 200)
    assert.match(answer.text, /may not act for you/)
    assert.equal(await statusOf(id), 'denied')
    assert.equal((await delegationsOf(of)).length, 0)
    const event = await db
      .selectFrom('audit_events')
      .select(['detail', 'actor_id'])
      .where('type', '=', 'interaction.denied')
      .where('user_id', '=', of.user_id)
      .executeTakeFirstOrThrow()
    assert.equal(event.actor_id, of.user_id)
    assert.deepEqual(event.detail, { interaction_id: id })
  })

  test('leaves what was allowed before as it is', async () => {
    const { of, decide, user } = await asked()
    await decide(ALLOW)
    const again = await openInteraction(house.deps, {
      ...of,
      scopes: ['files.read'],
      resources: [],
    })
    await user.post(`/consent/${again.id}`, { decision: 'deny' })
    const [delegation] = await delegationsOf(of)
    assert.equal(delegation?.status, 'active')
  })
})

import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { TEXT_VERSION } from '../../src/consent/text.ts'
import { openInteraction } from '../../src/delegations/interaction.ts'
import type { AuthorizationDetail } from '../../src/oauth/authorization-details.ts'
import { openHouse } from '../support/house.ts'
import {
  API,
  CATALOGUE_WITH_TYPES,
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
  {
    scopes = ['chat.read', 'chat.write'],
    resources = [API],
    details = [],
  }: { scopes?: string[]; resources?: string[]; details?: AuthorizationDetail[] } = {},
) {
  const of = await makeParties(house, changes)
  const { id } = await openInteraction(house.deps, { ...of, scopes, resources, details })
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

  test('has a box to go on without the user, unticked, and a field for the end (GR-03)', async () => {
    const { page } = await asked()
    const { text } = await page()
    assert.match(text, /<input type="checkbox" name="offline" value="on">/)
    assert.match(text, /Scribe may go on acting for me when I am signed out/)
    assert.match(text, /If you give no end date, that is 30 days from now/)
    assert.match(text, /<label for="expires_at">End date/)
    const today = house.clock.now.toISOString().slice(0, 10)
    assert.match(text, new RegExp(`name="expires_at"[^>]* min="${today}"`))
    assert.ok(!text.includes('takes nobody'))
  })

  test('keeps what most leave as it is out of the way of the buttons, and says what that is', async () => {
    const { decide, page } = await asked()
    const { text } = await page()
    const [, hidden = ''] = /<details>(.*?)<\/details>/s.exec(text) ?? []
    assert.ok(hidden.includes('<summary>End date, and when you are signed out</summary>'))
    assert.ok(hidden.includes('name="expires_at"') && hidden.includes('name="offline"'))
    assert.match(text, /The agent stops when you sign out, unless you say otherwise here/)
    for (const fields of [
      { offline: 'on' },
      { expires_at: '2027-01-01' },
      { offline: 'maybe', mode: 'always', scope: 'chat.read' },
    ] as Record<string, string>[]) {
      const again = await decide({ decision: 'allow', ...fields })
      assert.match(again.text, /<details open>/)
    }
    assert.match((await decide({ decision: 'allow' })).text, /<details>/)
  })

  test('has no such box for an agent that may hold no refresh token', async () => {
    const { page } = await asked({ agent: { grant_types: ['authorization_code'] } })
    const { text } = await page()
    assert.ok(!text.includes('name="offline"') && !text.includes('signed out'))
    assert.ok(text.includes('name="expires_at"'))
  })

  for (const [max_auth_age, words] of [
    [3600, '1 hour'],
    [5400, '90 minutes'],
    [2 * 86_400, '2 days'],
    [59, '59 seconds'],
  ] as const) {
    test(`says beside the box that the app wants a sign-in of the last ${words}`, async () => {
      const { page } = await asked({ audience: { max_auth_age } })
      const { text } = await page()
      assert.ok(text.includes(`Chat takes nobody who signed in more than ${words} ago`), text)
    })
  }

  test('names the host of the client metadata document of an agent that has one (DS-45)', async () => {
    const { page } = await asked({
      agent: { client_metadata_url: 'https://agents.maker.example/scribe.json' },
    })
    const { text } = await page()
    assert.match(text, /<dd>agents\.maker\.example<\/dd>/)
    assert.ok(!text.includes('scribe.example'))
  })

  const MESSAGE = { type: 'message', to: 'Kim', actions: ['send'], parts: { count: [1, 2] } }
  const EXPORT = { type: 'export', locations: [API] }
  const typed = { audience: { resources: CATALOGUE_WITH_TYPES } }

  test('shows each of the details asked for, with the words for its type (TX-15)', async () => {
    const { page } = await asked(typed, { details: [MESSAGE, EXPORT] })
    const { text } = await page()
    for (const words of [
      'With “Allow” you allow all of this.',
      'Send one message in your name',
      '<dt><code>to</code></dt>\n<dd>Kim</dd>',
      '<dt>Actions</dt>\n<dd>send</dd>',
      '<dd>{&quot;count&quot;:[1,2]}</dd>',
      `<dt>Where</dt>\n<dd>${API}</dd>`,
      'The service gives no description.',
    ]) {
      assert.ok(text.includes(words), `the page does not say ${words} but ${text}`)
    }
    assert.equal(text.match(/type="checkbox"/g)?.length, 3)
  })

  test('takes the words for a type from the resource that an entry is for', async () => {
    const resources = JSON.stringify([
      {
        identifier: API,
        scopes: [],
        authorization_details_types: [{ type: 'x', description: 'A' }],
      },
      {
        identifier: FILES,
        scopes: [],
        authorization_details_types: [{ type: 'x', description: 'B' }],
      },
    ])
    const details = [{ type: 'x', locations: [FILES] }]
    const question = await asked(
      { audience: { resources } },
      { scopes: [], resources: [], details },
    )
    const { text } = await question.page()
    assert.match(text, /x<br>\s*<span class="soft">B<\/span>/)
  })

  test('shows of the details only what entitlement and catalogue allow', async () => {
    const { page } = await asked(
      { ...typed, entitlement: { authorization_details_types: ['export'] } },
      { details: [MESSAGE, { type: 'export', locations: [FILES, API] }, { type: 'gone' }] },
    )
    const { text } = await page()
    assert.ok(text.includes('export<br>') && text.includes(`<dd>${API}</dd>`))
    assert.ok(!text.includes('message<br>') && !text.includes('gone<br>') && !text.includes(FILES))
  })

  test('says that nothing can be allowed when none of the details can be', async () => {
    const { page } = await asked(
      { ...typed, entitlement: { authorization_details_types: [] } },
      { details: [MESSAGE] },
    )
    assert.equal((await page()).status, 410)
  })

  test('does not say that nothing in particular is asked for when details are', async () => {
    const { page } = await asked(typed, { scopes: [], resources: [], details: [MESSAGE] })
    assert.ok(!(await page()).text.includes('asks for no particular right'))
  })

  test('escapes what an agent writes into details', async () => {
    const details = [{ type: 'message', '<b>': '<script>', to: ['"><img src=x>'] }]
    const { text } = await (await asked(typed, { details })).page()
    assert.ok(!text.includes('<script') && !text.includes('<img') && !text.includes('<b>'))
    assert.ok(text.includes('<code>&lt;b&gt;</code>') && text.includes('&lt;script&gt;'))
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
    assert.ok(text.includes(`<ul><li>${API}</li><li>${FILES}</li></ul>`), text)
    assert.ok(!text.includes('name="scope"'))
  })

  test('offers no right at what the agent is not admitted to, when it named no resource', async () => {
    const { of, page, decide } = await asked(
      { entitlement: { resources: [API] } },
      { scopes: ['chat.read', 'files.read'], resources: [] },
    )
    const { text } = await page()
    assert.ok(text.includes('value="chat.read"') && !text.includes('value="files.read"'))
    assert.ok(text.includes(`<ul><li>${API}</li></ul>`) && !text.includes(FILES))
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

  test('is without an end, and bound to the session, unless the user says otherwise', async () => {
    const { of, decide } = await asked()
    await decide({ ...ALLOW, offline: '', expires_at: '' })
    const [delegation] = await delegationsOf(of)
    assert.deepEqual([delegation?.offline, delegation?.expires_at], [false, null])
    assert.deepEqual(delegation?.authorization_details, [])
  })

  test('may be to go on without the user, until the day that was chosen', async () => {
    const { of, decide } = await asked()
    const day = new Date(house.clock.now.getTime() + 5 * 86_400_000).toISOString().slice(0, 10)
    const answer = await decide({ ...ALLOW, mode: 'once', offline: 'on', expires_at: day })
    assert.equal(answer.status, 200, answer.text)
    assert.match(
      answer.text,
      new RegExp(`goes on while you are signed out, until.*${day} 23:59 UTC`),
    )
    const [delegation] = await delegationsOf(of)
    assert.equal(delegation?.offline, true)
    assert.equal(delegation?.mode, 'once')
    assert.deepEqual(delegation?.expires_at, new Date(`${day}T23:59:59Z`))
    const event = await db
      .selectFrom('audit_events')
      .select('detail')
      .where('type', '=', 'delegation.granted')
      .where('delegation_id', '=', delegation?.id ?? '')
      .executeTakeFirstOrThrow()
    assert.deepEqual(event.detail, { mode: 'once', source: 'user', offline: true })
  })

  test('to go on without the user ends after 30 days when no day was chosen', async () => {
    const { of, decide } = await asked()
    assert.equal((await decide({ ...ALLOW, offline: 'on' })).status, 200)
    const [delegation] = await delegationsOf(of)
    const end = new Date(house.clock.now.getTime() + 30 * 86_400_000)
    assert.deepEqual([delegation?.offline, delegation?.expires_at], [true, end])
  })

  for (const [form, end] of [
    ['2027-03-04T05:06', '2027-03-04T05:06:00.000Z'],
    ['2027-03-04T05:06:07+01:00', '2027-03-04T04:06:07.000Z'],
  ] as const) {
    test(`may have an end alone, written as ${form}`, async () => {
      const { of, decide } = await asked()
      const answer = await decide({ ...ALLOW, expires_at: form })
      assert.equal(answer.status, 200, answer.text)
      assert.ok(answer.text.includes('It ends at the latest'))
      const [delegation] = await delegationsOf(of)
      assert.equal(delegation?.offline, false)
      assert.equal(delegation?.expires_at?.toISOString(), end)
    })
  }

  for (const [why, fields, words] of [
    ['an end that is no date', { expires_at: 'soon' }, /cannot be read.*like 2027-01-31/s],
    ['two ends', { expires_at: ['2027-01-01', '2028-01-01'] }, /end date cannot be read/],
    ['an end that has passed', { expires_at: '2020-01-01' }, /has passed/],
    ['an end beyond ten years', { expires_at: '2099-01-01' }, /within the next 10 years/],
    ['a box that says something else', { offline: 'maybe' }, /choice cannot be read/],
    ['a box that says no', { offline: 'false' }, /choice cannot be read/],
    ['two boxes', { offline: ['on', 'on'] }, /choice cannot be read/],
  ] as [string, Record<string, string | string[]>, RegExp][]) {
    test(`is refused with ${why}`, async () => {
      const question = await asked()
      await refused(question, { ...ALLOW, ...fields }, 400, words)
      assert.equal(await statusOf(question.id), 'open')
    })
  }

  test('to go on without the user is refused for an agent that may hold no refresh token', async () => {
    const question = await asked({ agent: { grant_types: ['authorization_code'] } })
    await refused(question, { ...ALLOW, offline: 'on' }, 400, /no way to act while you are/)
    assert.equal((await question.decide(ALLOW)).status, 200)
  })

  test('holds the details that the page showed, all of them (TX-15)', async () => {
    const details = [
      { type: 'message', to: 'Kim', actions: ['send'] },
      { type: 'export', locations: [FILES, API] },
    ]
    const { of, decide } = await asked(
      { audience: { resources: CATALOGUE_WITH_TYPES } },
      { details },
    )
    assert.equal((await decide({ ...ALLOW, scope: 'chat.read' })).status, 200)
    const [delegation] = await delegationsOf(of)
    assert.deepEqual(delegation?.authorization_details, [
      details[0],
      { type: 'export', locations: [API] },
    ])
  })

  for (const [what, change] of [
    [
      'the types of the entitlement',
      ({ entitlement_id }) =>
        db
          .updateTable('entitlements')
          .set({ authorization_details_types: ['export'] })
          .where('id', '=', entitlement_id)
          .execute(),
    ],
    [
      'the words for a type',
      ({ audience_id }) =>
        set('audiences', audience_id, {
          resources: CATALOGUE_WITH_TYPES.replace('Send one message', 'Send any message'),
        }),
    ],
    [
      'how old a sign-in the app takes',
      ({ audience_id }) => set('audiences', audience_id, { max_auth_age: 3600 }),
    ],
    [
      'whether the agent may go on without the user',
      ({ agent_id }) => set('agents', agent_id, { grant_types: ['authorization_code'] }),
    ],
  ] as [string, (of: Parties) => Promise<unknown>][]) {
    test(`is refused when ${what} is another since the page was shown`, async () => {
      const question = await asked(
        { audience: { resources: CATALOGUE_WITH_TYPES } },
        { details: [{ type: 'message' }, { type: 'export' }] },
      )
      await change(question.of)
      await refused(question, ALLOW, 409, /has changed/)
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

  test('is refused when everything of an app has become more since the page was shown', async () => {
    const question = await asked(
      { entitlement: { resources: [API] } },
      { scopes: ['chat.read'], resources: [] },
    )
    await db
      .updateTable('entitlements')
      .set({ resources: null })
      .where('id', '=', question.of.entitlement_id)
      .execute()
    await refused(question, { ...ALLOW, scope: 'chat.read' }, 409, /has changed/)
  })

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

describe('an answer that cannot be taken', () => {
  const FIRST_BOX = /<input type="checkbox" name="scope" value="chat.read"[^>]*>/
  const DATE = /<input type="date"[^>]*>/
  const radio = (mode: string) =>
    new RegExp(`<input type="radio" name="mode" value="${mode}"[^>]*>`)
  const tagOf = (text: string, tag: RegExp) => tag.exec(text)?.[0] ?? assert.fail(`no ${tag}`)

  for (const [what, fields, tag] of [
    ['no right', { decision: 'allow', mode: 'once' }, FIRST_BOX],
    ['a right that was not asked for', { ...ALLOW, scope: 'files.read' }, FIRST_BOX],
    ['no duration', { decision: 'allow', scope: 'chat.read' }, radio('always')],
    ['a day that has passed', { ...ALLOW, expires_at: '2020-01-01' }, DATE],
    ['a day that is none', { ...ALLOW, expires_at: '"><script>' }, DATE],
    ['a box that says something else', { ...ALLOW, offline: 'no' }, /<input [^>]*"offline"[^>]*>/],
    ['no decision', { mode: 'once' }, /<p class="alert"[^>]*>/],
  ] as [string, Record<string, string>, RegExp][]) {
    test(`shows the page again, with what to put right: ${what}`, async () => {
      const { id, of, decide, user, path } = await asked()
      const answer = await decide(fields)
      assert.equal(answer.status, 400)
      assert.match(tagOf(answer.text, tag), / autofocus/)
      assert.equal(answer.text.match(/ autofocus/g)?.length, 1)
      assert.equal(answer.text.match(/role="alert" id="alert"/g)?.length, 1)
      assert.ok(!answer.text.includes('Go back') && !answer.text.includes('<script'))
      const isField = tag.source.startsWith('<input')
      if (isField) assert.match(tagOf(answer.text, tag), /aria-describedby="alert[ "]/)

      const right = { ...hiddenFields(answer), ...ALLOW, scope: 'chat.read' }
      assert.equal((await user.postBare(path, right)).status, 200, 'by the form that it came with')
      assert.deepEqual((await delegationsOf(of))[0]?.scopes, ['chat.read'])
      assert.equal(await statusOf(id), 'granted')
    })
  }

  test('leaves the form as its user left it', async () => {
    const { decide } = await asked()
    const { text } = await decide({
      decision: 'allow',
      mode: 'once',
      scope: 'chat.write',
      offline: 'on',
      expires_at: '2020-01-01',
    })
    assert.doesNotMatch(tagOf(text, FIRST_BOX), / checked/)
    assert.match(text, /value="chat.write" checked/)
    assert.match(tagOf(text, radio('once')), / checked/)
    assert.doesNotMatch(tagOf(text, radio('always')), / checked/)
    assert.match(tagOf(text, /<input [^>]*"offline"[^>]*>/), / checked/)
    assert.match(tagOf(text, DATE), /value="2020-01-01"/)
  })

  test('to a question that has become another is not carried over to it', async () => {
    const { of, decide, user, path } = await asked()
    await set('agents', of.agent_id, { purpose: 'Sells your chats' })
    const answer = await decide({ decision: 'allow', mode: 'once', offline: 'on' })
    const { text } = answer
    assert.equal(answer.status, 400)
    assert.ok(text.includes('Sells your chats') && text.includes('another than before'))
    assert.match(tagOf(text, /<p class="alert"[^>]*>/), / autofocus/)
    assert.match(tagOf(text, FIRST_BOX), / checked/)
    assert.match(tagOf(text, radio('always')), / checked/)
    assert.doesNotMatch(tagOf(text, /<input [^>]*"offline"[^>]*>/), / checked/)
    const again = { ...hiddenFields(answer), ...ALLOW }
    assert.equal((await user.postBare(path, again)).status, 200)
  })

  test('says so where there is nothing left to allow', async () => {
    const { of, decide } = await asked()
    await set('agents', of.agent_id, { status: 'suspended' })
    const answer = await decide({ decision: 'allow', mode: 'once' })
    assert.equal(answer.status, 410)
    assert.match(answer.text, /can no longer be allowed/)
  })

  test('leads back to the question where the fault was found only under the locks', async () => {
    const { path, decide } = await asked({ agent: { grant_types: ['authorization_code'] } })
    const { text } = await decide({ ...ALLOW, offline: 'on' })
    assert.ok(text.includes(`<a href="${path}">Read the question again</a>`))
  })

  test('is shown again to nobody else', async () => {
    const { path } = await asked()
    const other = await makeUser(house)
    const stranger = await signedIn(house, { user_id: other.id, tenant_id: other.tenant_id })
    assert.equal((await stranger.post(path, { decision: 'allow' })).status, 404)
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

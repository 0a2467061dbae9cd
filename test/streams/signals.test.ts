// What streams are told of sessions and passwords, as a receiver that polls sees it.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { endSession } from '../../src/sessions/end.ts'
import { authorize, type Browser, browser, signIn } from '../support/browser.ts'
import { claimsOf, enrolAgent, enrolUser, redeem } from '../support/enrol.ts'
import { type Answer, openHouse } from '../support/house.ts'
import {
  CREDENTIAL_CHANGE,
  openReceiver,
  SESSION_REVOKED,
  type SecurityEvent,
  type SignalReceiver,
} from './receiver.ts'

const house = await openHouse({ after })
const { issuer } = house.config
const agent = await enrolAgent(house)

/** An administrator's own, which are nobody else's business. */
const SECRET_WORDS = 'because Kim lost a laptop'

const issSub = (sub: string) => ({ format: 'iss_sub', iss: issuer, sub })

type Listener = SignalReceiver & {
  stream_id: string
  add(subject: object): Promise<number>
  remove(subject: object): Promise<number>
  /** What came since the last time, read and acknowledged. */
  take(): Promise<SecurityEvent[]>
}

async function listen(of: object = {}, more: object = {}): Promise<Listener> {
  const receiver = await openReceiver(house, of)
  const { body, status, text } = await receiver.create(undefined, more)
  assert.equal(status, 201, text)
  const { stream_id } = body
  const name = (endpoint: string) => async (subject: object) =>
    (await receiver.call('POST', receiver.metadata[endpoint] as string, { stream_id, subject }))
      .status
  return {
    ...receiver,
    stream_id,
    add: name('add_subject_endpoint'),
    remove: name('remove_subject_endpoint'),
    async take() {
      const { sets } = await receiver.poll(stream_id)
      const ack = Object.keys(sets)
      if (ack.length > 0) await receiver.poll(stream_id, { ack, maxEvents: 0 })
      return Promise.all(Object.values(sets).map((set) => receiver.read(set)))
    },
  }
}

async function signedIn(body: object = {}) {
  const user = await enrolUser(house, body)
  const there = browser(house)
  await signIn(there, user)
  const code = await authorize(there, agent, { scope: 'openid' })
  const tokens = (await redeem(house, agent, code)).body
  return { user, there, sid: claimsOf(tokens.id_token).sid as string }
}

const signOut = async (there: Browser) => {
  const page = await there.get('/oauth2/logout')
  await there.post('/sign-out', { csrf: /name="csrf" value="([^"]*)"/.exec(page.text)?.[1] })
}

test('signing out is told to who asked for the user: iss_sub, no sub, no exp, one event (EV-30, EV-32, EV-35, TV-103)', async () => {
  const { user, there } = await signedIn()
  const listener = await listen()
  assert.equal(await listener.add(issSub(user.id)), 200)
  const before = Math.floor(house.clock.now.getTime() / 1000)
  await signOut(there)
  const [event, ...others] = await listener.take()
  assert.equal(others.length, 0)
  const { jti, txn, ...claims } = event as SecurityEvent
  assert.ok(jti && txn)
  assert.deepEqual(claims, {
    iss: issuer,
    aud: listener.audience,
    iat: before,
    sub_id: issSub(user.id),
    events: {
      [SESSION_REVOKED]: {
        event_timestamp: before,
        initiating_entity: 'user',
        reason_admin: { en: 'The user signed out' },
      },
    },
  })
})

test('a complex subject is told which session of which tenant ended (EV-32)', async () => {
  const { user, there, sid } = await signedIn()
  const listener = await listen()
  const { body } = await house.admin('GET', `/users/${user.id}`)
  const tenant = { format: 'opaque', id: body.tenant_id }
  assert.equal(await listener.add({ format: 'complex', user: issSub(user.id), tenant }), 200)
  await signOut(there)
  const [event] = await listener.take()
  assert.deepEqual(event?.sub_id, {
    format: 'complex',
    user: issSub(user.id),
    session: { format: 'opaque', id: sid },
    tenant,
  })
})

test('who asked for one session hears of that one, and of what is about all of them', async () => {
  const one = await signedIn()
  const again = browser(house)
  await signIn(again, one.user)
  const listener = await listen()
  const session = { format: 'opaque', id: one.sid }
  await listener.add({ format: 'complex', user: issSub(one.user.id), session })
  await signOut(again)
  assert.deepEqual(await listener.take(), [])
  await signOut(one.there)
  assert.equal((await listener.take())[0]?.sub_id.session.id, one.sid)
  await house.admin('PATCH', `/users/${one.user.id}`, { password: 'another horse entirely, sir' })
  const kindsOfAll = (await listener.take()).map(({ events }) => Object.keys(events)[0])
  assert.ok(kindsOfAll.includes(CREDENTIAL_CHANGE))
})

test('signing out everywhere is told once, as the end of every session by the user (EV-35, GR-07)', async () => {
  const { user, there } = await signedIn()
  await signIn(browser(house), user)
  const listener = await listen()
  await listener.add({ format: 'complex', user: issSub(user.id) })
  const csrf = /name="csrf" value="([^"]*)"/.exec((await there.get('/account')).text)?.[1]
  await there.post('/sign-out/everywhere', { csrf })
  const [event, ...others] = await listener.take()
  assert.equal(others.length, 0)
  assert.equal(event?.sub_id.session, undefined, 'all of them')
  assert.equal(event?.events[SESSION_REVOKED].initiating_entity, 'user')
  const reason = { en: 'The user signed out everywhere' }
  assert.deepEqual(event?.events[SESSION_REVOKED].reason_admin, reason)
})

test('an address that is verified may name a user, who is then called by it', async () => {
  const { user, there } = await signedIn({ email_verified: true })
  const listener = await listen()
  const email = { format: 'email', email: user.email.toUpperCase() }
  assert.equal(await listener.add(email), 200)
  const kept = await house.deps.db.selectFrom('stream_subjects').selectAll().execute()
  assert.ok(!JSON.stringify(kept).includes('@'), 'no address is kept with a stream')
  await signOut(there)
  const [event] = await listener.take()
  assert.deepEqual(event?.sub_id, { format: 'email', email: user.email })
  const rows = await house.deps.db.selectFrom('stream_events').select('email').execute()
  assert.ok(
    rows.every((row) => row.email === null),
    'nor after the event was taken',
  )
})

test('an address that nobody verified names nobody, and the answer is the same', async () => {
  const { user, there } = await signedIn()
  const listener = await listen()
  assert.equal(await listener.add({ format: 'email', email: user.email }), 200)
  await signOut(there)
  assert.deepEqual(await listener.take(), [])
})

test('an address that has become another one names nobody: the new one is not told', async () => {
  const { user } = await signedIn({ email_verified: true })
  const listener = await listen()
  await listener.add({ format: 'email', email: user.email })
  house.wait(1)
  const patch = (body: object) => house.admin('PATCH', `/users/${user.id}`, body)
  await patch({ email: `new-${user.email}`, email_verified: true })
  await patch({ password: 'a wholly new passphrase' })
  assert.deepEqual(await listener.take(), [])
  await listener.add({ format: 'email', email: `new-${user.email}` })
  await patch({ password: 'another new passphrase' })
  const told = await listener.take()
  assert.deepEqual(
    told.map(({ sub_id }) => sub_id.email),
    told.map(() => `new-${user.email}`),
  )
  assert.equal(told.length, 2)
})

test('nobody learns by adding who there is: the same answer for everybody (SSF §9.1)', async () => {
  const { user } = await signedIn()
  const elsewhere = (await house.admin('POST', '/tenants', { name: 'Elsewhere' })).body.id
  const stranger = await enrolUser(house, { tenant_id: elsewhere })
  const listener = await listen()
  const opaque = (id: string) => ({ format: 'opaque', id })
  for (const subject of [
    issSub(user.id),
    issSub('usr_nobody'),
    issSub(stranger.id),
    { ...issSub(user.id), iss: 'https://other.example' },
    { format: 'email', email: 'nobody@orbit.example' },
    { format: 'phone_number', phone_number: '+12065550100' },
    opaque(user.id),
    { format: 'did', url: 'did:example:1' },
    { format: 'complex', user: issSub(user.id), session: opaque('ses_unknown') },
    { format: 'complex', user: issSub(user.id), tenant: opaque(elsewhere) },
    { format: 'complex', user: issSub(user.id), device: opaque('x') },
    { format: 'complex', tenant: opaque(elsewhere) },
  ]) {
    assert.equal(await listener.add(subject), 200, JSON.stringify(subject))
    assert.equal(await listener.remove(subject), 204, JSON.stringify(subject))
    assert.equal(await listener.add(subject), 200, JSON.stringify(subject))
  }
  const { db } = house.deps
  const kept = db.selectFrom('stream_subjects').select(['user_id', 'complex', 'session_id'])
  assert.deepEqual(await kept.where('stream_id', '=', listener.stream_id).execute(), [
    { user_id: user.id, complex: false, session_id: '' },
  ])
})

test('what is no subject identifier is told so', async () => {
  const listener = await listen()
  for (const subject of [
    {},
    { format: '' },
    { format: 7 },
    { format: 'complex' },
    { format: 'complex', user: 'usr_x' },
    { format: 'complex', user: issSub('usr_x'), device: {} },
    { format: 'email' },
    { ...issSub('usr_x'), sub: 5 },
  ]) {
    assert.equal(await listener.add(subject), 400, JSON.stringify(subject))
    assert.equal(await listener.remove(subject), 400, JSON.stringify(subject))
  }
  const { stream_id, metadata } = listener
  const { body } = await listener.call('POST', metadata.add_subject_endpoint as string, {
    stream_id,
    subject: { format: 'email' },
  })
  const description = 'subject: the format email has email, a string that is not empty'
  assert.deepEqual(body, { err: 'invalid_request', description })
})

test('who was added or removed is answered with nothing at all', async () => {
  const listener = await listen()
  const { stream_id, metadata } = listener
  for (const [endpoint, status] of [
    ['add_subject_endpoint', 200],
    ['remove_subject_endpoint', 204],
  ] as const) {
    const answer = await listener.call('POST', metadata[endpoint] as string, {
      stream_id,
      subject: issSub('usr_x'),
    })
    const { 'content-type': type } = answer.headers
    assert.deepEqual([answer.status, answer.text, type], [status, '', undefined])
  }
})

test('a user that was taken off a stream is told of no more', async () => {
  const { user, there } = await signedIn()
  const listener = await listen()
  await listener.add(issSub(user.id))
  await listener.remove(issSub(user.id))
  await signOut(there)
  assert.deepEqual(await listener.take(), [])
})

test('one stream hears once of one thing, however often it asked', async () => {
  const { user, there, sid } = await signedIn({ email_verified: true })
  const listener = await listen()
  const complex = { format: 'complex', user: issSub(user.id) }
  for (const subject of [
    issSub(user.id),
    issSub(user.id),
    { format: 'email', email: user.email },
    complex,
    { ...complex, session: { format: 'opaque', id: sid } },
  ]) {
    await listener.add(subject)
  }
  await signOut(there)
  assert.equal((await listener.take()).length, 1)
})

for (const [what, body, change, reason] of [
  ['set', { password: 'a wholly new passphrase' }, 'create', 'A password was set'],
  ['changed', { password: 'a wholly new passphrase' }, 'update', 'The password was changed'],
  ['removed', { password: null }, 'delete', 'The password was removed'],
] as const) {
  test(`a password that is ${what} is told, and by whom (EV-32)`, async () => {
    const user = await enrolUser(house, what === 'set' ? { password: undefined } : {})
    const listener = await listen({}, { events_requested: [CREDENTIAL_CHANGE] })
    await listener.add(issSub(user.id))
    await house.admin('PATCH', `/users/${user.id}`, body)
    const [event, ...others] = await listener.take()
    assert.equal(others.length, 0)
    assert.deepEqual(event?.events, {
      [CREDENTIAL_CHANGE]: {
        event_timestamp: event?.iat,
        initiating_entity: 'admin',
        reason_admin: { en: reason },
        credential_type: 'password',
        change_type: change,
      },
    })
  })
}

test('a new password and the end of the sessions have one cause, and so one txn (EV-30)', async () => {
  const { user } = await signedIn()
  const listener = await listen()
  await listener.add(issSub(user.id))
  await house.admin('PATCH', `/users/${user.id}`, { password: 'a wholly new passphrase' })
  const told = await listener.take()
  const kinds = told.flatMap(({ events }) => Object.keys(events))
  assert.deepEqual(kinds.sort(), [CREDENTIAL_CHANGE, SESSION_REVOKED].sort())
  assert.equal(told[0]?.txn, told[1]?.txn)
})

test('who is suspended with a new password is told of once in each way', async () => {
  const { user } = await signedIn()
  const listener = await listen()
  await listener.add(issSub(user.id))
  const body = { password: 'a wholly new passphrase', status: 'suspended' }
  await house.admin('PATCH', `/users/${user.id}`, body)
  const kinds = (await listener.take()).flatMap(({ events }) => Object.keys(events))
  assert.deepEqual(kinds.sort(), [CREDENTIAL_CHANGE, SESSION_REVOKED].sort())
})

test('taking away a password that is not there is nothing to tell', async () => {
  const user = await enrolUser(house, { password: undefined })
  const listener = await listen()
  await listener.add(issSub(user.id))
  await house.admin('PATCH', `/users/${user.id}`, { password: null })
  assert.deepEqual(await listener.take(), [])
})

test('a user who is deleted is told of by what the stream knows them by, once', async () => {
  const { user } = await signedIn({ email_verified: true })
  const listener = await listen({}, { events_requested: [SESSION_REVOKED] })
  await listener.add({ format: 'email', email: user.email })
  await house.admin('PATCH', `/users/${user.id}`, { status: 'deleted' })
  const told = await listener.take()
  assert.deepEqual(
    told.map(({ sub_id }) => sub_id),
    [{ format: 'email', email: user.email }],
  )
  const of = told[0]?.events[SESSION_REVOKED]
  assert.deepEqual([of.initiating_entity, of.reason_admin.en], ['admin', 'The user was deleted'])
})

for (const [what, act, reason] of [
  [
    'a new password',
    (id) => house.admin('PATCH', `/users/${id}`, { password: 'a wholly new passphrase' }),
    'The password was changed',
  ],
  [
    'a suspension',
    (id) => house.admin('PATCH', `/users/${id}`, { status: 'suspended' }),
    'Access was revoked by an administrator',
  ],
  [
    'a revocation by user',
    (id) => house.admin('POST', '/revocations', { user_id: id, reason: SECRET_WORDS }),
    'Access was revoked by an administrator',
  ],
] as [string, (id: string) => Promise<Answer>, string][]) {
  test(`${what} is told as the end of every session, once, and in words of ours (EV-35, GR-07)`, async () => {
    const { user } = await signedIn()
    const listener = await listen({}, { events_requested: [SESSION_REVOKED] })
    await listener.add({ format: 'complex', user: issSub(user.id) })
    const answer = await act(user.id)
    assert.ok(answer.status < 300, answer.text)
    const told = await listener.take()
    assert.equal(told.length, 1)
    const [{ sub_id, events }] = told as [SecurityEvent]
    assert.equal(sub_id.session, undefined, 'all of them')
    assert.equal(events[SESSION_REVOKED].initiating_entity, 'admin')
    assert.deepEqual(events[SESSION_REVOKED].reason_admin, { en: reason })
    assert.ok(!JSON.stringify(told).includes(SECRET_WORDS))
  })
}

test('a revocation by tenant is told of each of its users that a stream asked for', async () => {
  const tenant_id = (await house.admin('POST', '/tenants', { name: 'Fourth' })).body.id
  const users = [await enrolUser(house, { tenant_id }), await enrolUser(house, { tenant_id })]
  await enrolUser(house, { tenant_id })
  const listener = await listen({ tenant_id })
  const elsewhere = await listen()
  const { user: other } = await signedIn()
  await elsewhere.add(issSub(other.id))
  for (const { id } of users) await listener.add(issSub(id))
  const revoked = await house.admin('POST', '/revocations', { tenant_id, reason: SECRET_WORDS })
  assert.equal(revoked.status, 202, revoked.text)
  const told = await listener.take()
  assert.deepEqual(told.map(({ sub_id }) => sub_id.sub).sort(), users.map(({ id }) => id).sort())
  assert.equal(new Set(told.map(({ txn }) => txn)).size, 1, 'one transaction (EV-30)')
  assert.ok(!JSON.stringify(told).includes(SECRET_WORDS))
  assert.deepEqual(await elsewhere.take(), [])
})

test('that a tenant was suspended is told of each of its users, also to who polls (EV-35)', async () => {
  const tenant_id = (await house.admin('POST', '/tenants', { name: 'Fifth' })).body.id
  const user = await enrolUser(house, { tenant_id })
  const listener = await listen({ tenant_id })
  await listener.add(issSub(user.id))
  const stopped = await house.admin('PATCH', `/tenants/${tenant_id}`, { status: 'suspended' })
  assert.equal(stopped.status, 200, stopped.text)
  const told = await listener.take()
  assert.deepEqual(
    told.map(({ sub_id, events }) => [sub_id.sub, Object.keys(events)]),
    [[user.id, [SESSION_REVOKED]]],
  )
  assert.deepEqual(await listener.take(), [], 'acknowledged')
})

test('a session that ends with a compromised key is told of as ended by the system', async () => {
  const { user, there } = await signedIn()
  const listener = await listen()
  await listener.add(issSub(user.id))
  const session = await house.deps.db
    .selectFrom('sessions')
    .select(['id', 'continues', 'tenant_id', 'user_id'])
    .where('user_id', '=', user.id)
    .executeTakeFirstOrThrow()
  const at = house.deps.now()
  await house.deps.db
    .transaction()
    .execute((tx) => endSession(tx, session, { at, reason: 'key_compromised' }))
  const [event] = await listener.take()
  assert.equal(event?.events[SESSION_REVOKED].initiating_entity, 'system')
  await signOut(there)
  assert.deepEqual(await listener.take(), [], 'it had ended')
})

test('a revocation by agent ends no session, and is told to nobody', async () => {
  const { user } = await signedIn()
  const listener = await listen()
  await listener.add(issSub(user.id))
  await house.admin('POST', '/revocations', { agent_id: agent.id, reason: 'x' })
  assert.deepEqual(await listener.take(), [])
})

test('what was not asked for is not told, nor anything to a stream without subjects', async () => {
  const { user, there } = await signedIn()
  const deaf = await listen()
  const other = await listen({}, { events_requested: [CREDENTIAL_CHANGE] })
  await other.add(issSub(user.id))
  await signOut(there)
  assert.deepEqual([await deaf.take(), await other.take()], [[], []])
})

test('a receiver hears of users of its own tenant alone, whatever it asks', async () => {
  const tenant_id = (await house.admin('POST', '/tenants', { name: 'Third' })).body.id
  const { user, there } = await signedIn()
  const listener = await listen({ tenant_id })
  await listener.add(issSub(user.id))
  await signOut(there)
  assert.deepEqual(await listener.take(), [])
})

test('nothing is told of what was taken back: the event is in the same transaction (rule 4)', async () => {
  const { user } = await signedIn()
  const listener = await listen()
  await listener.add(issSub(user.id))
  const { db } = house.deps
  const { queueSignals } = await import('../../src/streams/queue.ts')
  await assert.rejects(
    db.transaction().execute(async (tx) => {
      const of = { user_id: user.id }
      const signal = { event: 'session-revoked', of, by: 'system', reason: 'signed_out' } as const
      assert.equal(await queueSignals(tx, house.deps, [signal]), 1)
      throw new Error('taken back')
    }),
    /taken back/,
  )
  assert.deepEqual(await listener.take(), [])
})

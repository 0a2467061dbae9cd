// Who is told that a key was compromised: each audience, of each subject that the key vouched for there.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeJwt } from 'jose'
import { queueForKey } from '../../src/events/queue-for-key.ts'
import { addSeconds } from '../../src/oauth/numeric-date.ts'
import { makeUser, type Parties } from '../support/parties.ts'
import { type Outbox, openOutbox, someKid } from './outbox.ts'

const DAY = 24 * 3600

/** So many users who allowed the agent something, each with an ID-JAG by this key. */
async function makeMinted(outbox: Outbox, parties: Parties, count: number, kid: string) {
  const ids: string[] = []
  for (let n = 0; n < count; n++) {
    const { id } = await makeUser(outbox.house)
    await outbox.mint(await outbox.delegate(parties, id), kid)
    ids.push(id)
  }
  return ids.sort()
}

/** The key that signs, as it is told of; then it signs no more. */
async function compromise({ keys, deps }: Outbox, age = DAY) {
  return { kid: await keys.compromise(), alg: 'ES256', since: addSeconds(deps.now(), -age) }
}

const subsOf = async ({ rows }: Outbox) => (await rows()).map(({ sub }) => sub).sort()

test('an audience hears once of each subject that the key vouched for there (DS-26)', async (t) => {
  const outbox = await openOutbox(t)
  const { parties, keys, delegate, mint, deps, house, rows } = outbox
  const chat = await parties()
  const files = await parties()
  const key = await compromise(outbox)
  const [one, two] = await makeMinted(outbox, chat, 2, key.kid)
  const both = one ?? ''
  // By another agent too, at another audience too, and under a name of the sector's.
  const sibling = { ...chat, agent_id: files.agent_id }
  await mint(await delegate(sibling, both), key.kid)
  await mint(await delegate(files, both, { sub_asserted: 'p_files' }), key.kid, 3600)
  // Ended is not undone: what was given for it may be a thief's.
  const { id: gone } = await makeUser(house)
  const ended = { status: 'revoked' as const, revoked_at: deps.now() }
  await mint(await delegate(chat, gone, ended), key.kid)

  const told = await queueForKey(deps, key)
  const audiences = [chat.audience_id, files.audience_id].sort()
  assert.deepEqual(told, { queued: 4, audiences })
  assert.deepEqual(await subsOf(outbox), [both, two, gone, 'p_files'].sort())
  for (const row of await rows()) {
    assert.equal(row.compromised_kid, key.kid)
    assert.equal(row.kid, keys.kid())
    assert.equal(decodeJwt(row.jws).sub, row.sub)
    assert.equal(row.tenant_id, chat.tenant_id)
  }
  const before = keys.signatures()
  assert.deepEqual(await queueForKey(deps, key), { queued: 0, audiences })
  assert.equal((await rows()).length, 4)
  assert.equal(keys.signatures(), before)
})

test('nobody hears of whom the key did not vouch for, nor who has nowhere to hear it', async (t) => {
  const outbox = await openOutbox(t)
  const { parties, delegate, mint, deps, rows } = outbox
  const chat = await parties()
  const silent = await parties({ events_endpoint: null, events_dialect: 'none' })
  const key = await compromise(outbox)
  await makeMinted(outbox, silent, 1, key.kid)
  await makeMinted(outbox, chat, 1, someKid())
  await delegate(chat, chat.user_id)
  // Long before it began to sign: no ID-JAG of its own.
  await mint(await delegate(chat, chat.owner_id), key.kid, 2 * DAY)
  assert.deepEqual(await queueForKey(deps, key), { queued: 0, audiences: [] })
  assert.deepEqual(await rows(), [])
})

test('the first ID-JAG of a key counts, whichever clock it was dated by', async (t) => {
  const outbox = await openOutbox(t)
  const { parties, delegate, mint, deps } = outbox
  const chat = await parties()
  const key = await compromise(outbox)
  await mint(await delegate(chat, chat.user_id), key.kid, DAY + 2)
  assert.equal((await queueForKey(deps, key)).queued, 1)
})

test('an audience that changed its algorithm hears of what it was told by the other', async (t) => {
  const outbox = await openOutbox(t)
  const { parties, deps, rows, keys } = outbox
  const lately = await parties({ id_jag_signing_alg: 'RS256' })
  const retired = await parties({ status: 'retired' })
  const key = await compromise(outbox)
  const subs = [
    ...(await makeMinted(outbox, lately, 1, key.kid)),
    ...(await makeMinted(outbox, retired, 1, key.kid)),
  ]
  await queueForKey(deps, key)
  assert.deepEqual(await subsOf(outbox), subs.sort())
  const algs = new Map((await rows()).map(({ audience_id, kid }) => [audience_id, kid]))
  assert.equal(algs.get(lately.audience_id), keys.kid('RS256'))
  assert.equal(algs.get(retired.audience_id), keys.kid('ES256'))
})

test('an audience hears of a key whatever algorithm it asks for: it may have got another one', async (t) => {
  const outbox = await openOutbox(t)
  const { parties, deps } = outbox
  const other = await parties({
    id_jag_signing_alg: 'RS256',
    updated_at: addSeconds(deps.now(), -2 * DAY),
  })
  const key = await compromise(outbox)
  const subs = await makeMinted(outbox, other, 1, key.kid)
  assert.equal((await queueForKey(deps, key)).queued, 1)
  assert.deepEqual(await subsOf(outbox), subs)
})

test('what was delivered is not said again because of the same key, but is because of another', async (t) => {
  const outbox = await openOutbox(t)
  const { parties, keys, delegate, mint, deps, db, rows } = outbox
  const chat = await parties()
  const delegation = await delegate(chat, chat.user_id)
  const key = await compromise(outbox)
  await mint(delegation, key.kid)
  await queueForKey(deps, key)
  await db
    .updateTable('event_deliveries')
    .set({ status: 'delivered', delivered_at: deps.now(), next_attempt_at: null })
    .execute()
  const audiences = [chat.audience_id]
  assert.deepEqual(await queueForKey(deps, key), { queued: 0, audiences })
  const next = await compromise(outbox)
  await mint(delegation, next.kid)
  await queueForKey(deps, next)
  assert.deepEqual(
    (await rows()).map(({ kid, compromised_kid }) => [kid, compromised_kid]).sort(),
    [
      [next.kid, key.kid],
      [keys.kid(), next.kid],
    ].sort(),
  )
})

test('a server that stops half way is followed by one that says the rest and nothing twice (EV-10)', async (t) => {
  const outbox = await openOutbox(t)
  const { parties, keys, deps, rows } = outbox
  const [chat, files] = [await parties(), await parties()]
  const key = await compromise(outbox)
  const users = [
    ...(await makeMinted(outbox, chat, 9, key.kid)),
    ...(await makeMinted(outbox, files, 4, key.kid)),
  ]
  keys.lastFor(7)
  await assert.rejects(queueForKey(deps, key, 2), /stopped/)
  const { length } = await rows()
  assert.ok(length > 0 && length < 13, `${length}`)
  keys.lastFor(Number.POSITIVE_INFINITY)
  const { queued, audiences } = await queueForKey(deps, key, 2)
  assert.equal(queued, 13 - length)
  assert.deepEqual(audiences, [chat.audience_id, files.audience_id].sort())
  assert.deepEqual(await subsOf(outbox), users.sort())
})

test('replicas that are asked at once say it once between them', async (t) => {
  const outbox = await openOutbox(t)
  const { parties, deps } = outbox
  const chat = await parties()
  const key = await compromise(outbox)
  const users = await makeMinted(outbox, chat, 40, key.kid)
  const answers = await Promise.all([3, 5, 40].map((most) => queueForKey(deps, key, most)))
  assert.equal(
    answers.reduce((sum, { queued }) => sum + queued, 0),
    40,
  )
  assert.deepEqual(await subsOf(outbox), users)
})

test('nothing is said by the compromised key itself, where its end was not heard of yet', async (t) => {
  const outbox = await openOutbox(t)
  const { parties, keys, deps, rows } = outbox
  const chat = await parties()
  const kid = await keys.compromise('ES256', { misses: true })
  await makeMinted(outbox, chat, 1, kid)
  await queueForKey(deps, { kid, since: deps.now() })
  assert.deepEqual(
    (await rows()).map((row) => row.kid),
    [keys.kid()],
  )
})

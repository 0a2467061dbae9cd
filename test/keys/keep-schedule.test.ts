/** What moves keys along their life, on any number of replicas. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { CustodyError } from '../../src/keys/custody.ts'
import type { KeyStore } from '../../src/keys/open-custody.ts'
import { KEY_SLOTS } from '../../src/keys/schedule.ts'
import { addSeconds } from '../../src/oauth/numeric-date.ts'
import {
  assertOneOfEach,
  findRow,
  kidOf,
  kidsIn,
  listEvents,
  listRows,
  type Rings,
} from './ring-rows.ts'
import { openRings } from './rings.ts'

const CEILING = 86_400
const INTERVAL = 30 * 86_400
const MARGIN = 10
const TYP = 'oauth-id-jag+jwt'
const SLOT = { purpose: 'id_jag', alg: 'ES256' } as const

/** Stands before the custody and fails while told to. */
function failing() {
  const broken = { generate: false, destroy: false }
  const before = (custody: KeyStore): KeyStore => ({
    ...custody,
    async generate(slot) {
      if (broken.generate) throw new CustodyError('the custody makes no keys')
      return custody.generate(slot)
    },
    async destroy(key) {
      if (broken.destroy) throw new CustodyError('the custody ends no keys')
      return custody.destroy(key)
    },
  })
  return { broken, before }
}

async function queueEvent({ db, clock }: Rings, kid: string): Promise<string> {
  const id = `dlv_${randomBytes(16).toString('base64url')}`
  await db
    .insertInto('event_deliveries')
    .values({
      ...{ id, kid, jti: id, jws: 'x.y.z', dialect: 'set', event_type: 'session-revoked' },
      ...{ tenant_id: 'ten_1', audience_id: 'aud_1', user_id: 'usr_1', sub: 'sub_1' },
      ...{ endpoint: 'https://app.example/events', aud: 'https://app.example' },
      ...{ created_at: clock.now, next_attempt_at: clock.now },
      expires_at: addSeconds(clock.now, 72 * 3600),
    })
    .execute()
  return id
}

test('a rotation that is due is done by one of three keepers, and not a second before (DS-28)', async (t) => {
  const house = await openRings(t)
  const rings = [await house.open(), await house.open(), await house.open()]
  const keep = () => Promise.all(rings.map((ring) => ring.keep()))
  const before = await listRows(house)
  house.wait(INTERVAL - 1)
  await keep()
  assert.deepEqual(await listRows(house), before)
  house.wait(1)
  // Who finds another at it goes on, and comes again.
  for (let round = 0; round < 20; round++) await keep()
  const rotated = await listEvents(house, 'key.rotated')
  assert.equal(rotated.length, KEY_SLOTS.length)
  for (const { kid, status } of before) {
    const is = (await findRow(house, kid)).status
    assert.equal(is, status === 'active' ? 'retired' : 'active')
  }
  await assertOneOfEach(house)
  for (const ring of rings) {
    await ring.refresh()
    const { kid } = await ring.sign('id_jag', 'ES256', TYP, {})
    assert.equal(kid, await kidOf(house, { ...SLOT, status: 'active' }))
  }
})

test('three keepers remove a key once', async (t) => {
  const house = await openRings(t)
  const rings = [await house.open(), await house.open(), await house.open()]
  house.wait(CEILING)
  await rings[0]?.rotate(SLOT)
  house.wait(MARGIN + 600 + CEILING)
  await Promise.all(rings.map((ring) => ring.keep()))
  const removed = await listEvents(house, 'key.removed')
  assert.equal(removed.length, 1)
})

test('what a key is told to become, and when, is what becomes of it', async (t) => {
  const house = await openRings(t, {
    KEY_ROTATION_INTERVAL: '40000',
    SIGNING_ALGS: 'ES256,RS256',
  })
  const ring = await house.open({}, false)
  const statuses = async () => new Map((await listRows(house)).map((row) => [row.kid, row.status]))
  const seen: string[] = []
  const becomes = { activate: 'active', retire: 'retired', remove: 'removed' } as const
  for (let count = 0; count < 6; count++) {
    await ring.refresh()
    const figures = ring.figures()
    const first = Math.min(...figures.map(({ next }) => next?.at.getTime() ?? Infinity))
    const before = await statuses()
    house.clock.now = new Date(first - 1)
    await ring.keep()
    assert.deepEqual(await statuses(), before)

    house.clock.now = new Date(first)
    await ring.keep()
    const after = await statuses()
    for (const { kid, status, next } of figures) {
      const due = next !== undefined && next.at.getTime() === first
      assert.equal(after.get(kid), due ? becomes[next.does] : status)
      if (due) seen.push(next.does)
    }
  }
  for (const does of ['activate', 'retire', 'remove']) assert.ok(seen.includes(does), does)
})

test('a retired key waits for the last event that it signed, and a ceiling from its end (DS-22)', async (t) => {
  const house = await openRings(t)
  const ring = await house.open()
  house.wait(CEILING)
  const { kid } = await ring.sign('id_jag', 'ES256', TYP, {})
  const ids = [await queueEvent(house, kid), await queueEvent(house, kid)]
  await ring.rotate(SLOT)
  house.wait(3 * CEILING)
  const end = (id: string | undefined, change: object) =>
    house.db
      .updateTable('event_deliveries')
      .set({ ...change, next_attempt_at: null })
      .where('id', '=', id ?? '')
      .execute()
  await end(ids[0], { status: 'delivered', delivered_at: house.clock.now })
  house.wait(CEILING)
  await ring.keep()
  assert.equal((await findRow(house, kid)).status, 'retired')
  // Its private part is of no use to an event that is signed.
  assert.equal((await findRow(house, kid)).private_key, null)

  await end(ids[1], { status: 'failed', failed_at: house.clock.now })
  house.wait(CEILING - 1)
  await ring.keep()
  assert.ok(kidsIn(ring.jwks()).includes(kid))
  house.wait(1)
  await ring.keep()
  assert.equal((await findRow(house, kid)).status, 'removed')
  assert.ok(!kidsIn(ring.jwks()).includes(kid))
})

test('shorter ID tokens take no key away sooner, and longer ones keep it from the start of a replica on (DS-22)', async (t) => {
  const house = await openRings(t, { ID_TOKEN_LIFETIME: '7200' })
  const long = await house.open()
  const short = await house.open({ idTokenLifetime: 60 })
  house.wait(CEILING)
  const { kid } = await long.sign('id_token', 'RS256', 'JWT', {})
  await short.rotate({ purpose: 'id_token', alg: 'RS256' })
  house.wait(MARGIN + 7200 + CEILING - 1)
  await short.keep()
  assert.equal((await findRow(house, kid)).status, 'retired')
  house.wait(1)
  await short.keep()
  assert.equal((await findRow(house, kid)).status, 'removed')

  // Also what a replica of the other kind brought to sign in an emergency lives as long as any replica lets it.
  const other = { purpose: 'id_token', alg: 'ES256' } as const
  const longer = await house.open({ idTokenLifetime: 80_000 })
  await short.drop(await kidOf(house, { ...other, status: 'active' }))
  await longer.refresh()
  const second = (await longer.sign('id_token', 'ES256', 'JWT', {})).kid
  assert.equal(second, await kidOf(house, { ...other, status: 'active' }))
  house.wait(CEILING + MARGIN)
  await short.rotate(other)
  house.wait(MARGIN + 80_000 + CEILING - 1)
  await short.keep()
  assert.equal((await findRow(house, second)).status, 'retired')
  house.wait(1)
  await short.keep()
  assert.equal((await findRow(house, second)).status, 'removed')
})

test('while no key can be made nothing rotates, and it is made up for afterwards', async (t) => {
  const house = await openRings(t)
  const { broken, before } = failing()
  const ring = await house.open({}, false, before)
  const was = await listRows(house)
  house.wait(INTERVAL)
  await ring.refresh()
  broken.generate = true
  await ring.keep()
  assert.ok(house.logs.some((line) => line.includes('the custody makes no keys')))
  await assert.rejects(ring.rotate(), CustodyError)
  assert.deepEqual(await listRows(house), was)
  await ring.sign('id_jag', 'ES256', TYP, {})
  broken.generate = false
  await ring.keep()
  await assertOneOfEach(house)
  assert.equal((await listEvents(house, 'key.rotated')).length, KEY_SLOTS.length)
})

test('a private part that cannot be ended is told of, and tried again', async (t) => {
  const house = await openRings(t)
  const { broken, before } = failing()
  const ring = await house.open({}, false, before)
  house.wait(CEILING)
  const { kid } = await ring.sign('id_jag', 'ES256', TYP, {})
  await ring.rotate(SLOT)
  house.wait(MARGIN)
  broken.destroy = true
  await ring.keep()
  assert.notEqual((await findRow(house, kid)).private_key, null)
  assert.ok(
    house.logs.some((line) => line.includes(kid) && line.includes('the custody ends no keys')),
  )
  broken.destroy = false
  await ring.keep()
  assert.equal((await findRow(house, kid)).private_key, null)
})

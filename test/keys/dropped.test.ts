/** A key that somebody else may have: dropped at once, whatever it was (DS-26). */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { CustodyError } from '../../src/keys/custody.ts'
import type { KeyStore } from '../../src/keys/open-custody.ts'
import { addSeconds } from '../../src/oauth/numeric-date.ts'
import { assertOneOfEach, findRow, kidOf, kidsIn, listEvents, listRows } from './ring-rows.ts'
import { openRings, unableTo } from './rings.ts'

const CEILING = 86_400
const MARGIN = 10
const TYP = 'oauth-id-jag+jwt'
const SLOT = { purpose: 'id_jag', alg: 'ES256' } as const

test('in place of the one that signs the next one does, early or not, and the dropped one is nowhere', async (t) => {
  const house = await openRings(t)
  const [here, there] = [await house.open({}, false), await house.open({}, false)]
  const { kid } = await here.sign('id_jag', 'ES256', TYP, {})
  const next = await kidOf(house, { ...SLOT, status: 'next' })
  const dropped = await here.drop(kid, 'found in a backup')
  assert.deepEqual(dropped.compromised_at, house.clock.now)
  assert.equal((await here.sign('id_jag', 'ES256', TYP, {})).kid, next)
  await assertOneOfEach(house)
  assert.equal(await there.stillSign(house.db, [kid]), false)
  await there.refresh()
  for (const ring of [here, there, await house.open({}, false)]) {
    assert.ok(!kidsIn(ring.jwks()).includes(kid))
    assert.ok(kidsIn(ring.jwks()).includes(next))
    assert.equal(ring.verificationKey('id_jag', kid), undefined)
  }
  const { status, compromise_reason } = await findRow(house, kid)
  assert.deepEqual([status, compromise_reason], ['compromised', 'found in a backup'])
  // The one that came to be next waits for its ceiling like any other.
  house.wait(CEILING + MARGIN - 1)
  await assert.rejects(here.rotate(SLOT), { code: 'too_early' })
  house.wait(1)
  await here.rotate(SLOT)
})

test('a next key and a retired one go as well, and the one that signs goes on', async (t) => {
  const house = await openRings(t)
  const ring = await house.open({}, false)
  house.wait(CEILING)
  const { kid: retired } = await ring.sign('id_jag', 'ES256', TYP, {})
  await ring.rotate(SLOT)
  const { kid: active } = await ring.sign('id_jag', 'ES256', TYP, {})
  const next = await kidOf(house, { ...SLOT, status: 'next' })
  house.wait(60)
  for (const kid of [retired, next]) {
    await ring.drop(kid)
    assert.equal((await findRow(house, kid)).status, 'compromised')
    assert.ok(!kidsIn(ring.jwks()).includes(kid))
    assert.equal((await ring.sign('id_jag', 'ES256', TYP, {})).kid, active)
    await assertOneOfEach(house)
  }
  const instead = await findRow(house, await kidOf(house, { ...SLOT, status: 'next' }))
  assert.deepEqual(instead.published_at, addSeconds(house.clock.now, MARGIN))
  assert.equal((await listEvents(house, 'key.compromised')).length, 2)
})

test('a key that is gone, and one that never was, cannot be dropped; a second time changes nothing', async (t) => {
  const house = await openRings(t)
  const ring = await house.open({}, false)
  await assert.rejects(ring.drop('unknown'), { code: 'not_found' })
  const { kid } = await ring.sign('id_jag', 'ES256', TYP, {})
  const once = await ring.drop(kid, 'first')
  const rows = await listRows(house)
  house.wait(60)
  assert.deepEqual(await ring.drop(kid, 'second'), once)
  assert.deepEqual(await listRows(house), rows)

  house.wait(CEILING)
  const gone = (await ring.sign('id_token', 'ES256', TYP, {})).kid
  await ring.rotate({ purpose: 'id_token', alg: 'ES256' })
  house.wait(2 * CEILING)
  await ring.keep()
  await assert.rejects(ring.drop(gone), { code: 'invalid_transition' })
  assert.equal((await findRow(house, gone)).status, 'removed')
  assert.equal((await listEvents(house, 'key.compromised')).length, 1)
})

test('its private part is ended when no replica signs with it any more', async (t) => {
  const house = await openRings(t)
  const ring = await house.open({}, false)
  const { kid } = await ring.sign('id_jag', 'ES256', TYP, {})
  await ring.drop(kid)
  house.wait(MARGIN - 1)
  await ring.keep()
  assert.notEqual((await findRow(house, kid)).private_key, null)
  house.wait(1)
  await ring.keep()
  assert.equal((await findRow(house, kid)).private_key, null)
})

test('a next key that this server did not make never signs: it is dropped too, and a new one takes over', async (t) => {
  const house = await openRings(t)
  const ring = await house.open({}, false)
  const { kid } = await ring.sign('id_jag', 'ES256', TYP, {})
  const foreign = await kidOf(house, { ...SLOT, status: 'next' })
  const { proof } = await findRow(house, kid)
  await house.db.updateTable('signing_keys').set({ proof }).where('kid', '=', foreign).execute()
  await ring.drop(kid)
  for (const dropped of [kid, foreign]) {
    assert.equal((await findRow(house, dropped)).status, 'compromised')
  }
  await assertOneOfEach(house)
  const signed = await ring.sign('id_jag', 'ES256', TYP, {})
  assert.ok(![kid, foreign].includes(signed.kid))
  assert.ok(kidsIn(ring.jwks()).includes(signed.kid))
})

test('a next key under a KEY_ENCRYPTION_KEY that this server lacks is dropped too, and that is said', async (t) => {
  const house = await openRings(t)
  const behind = await house.open({}, false)
  const keyEncryptionKeys = [randomBytes(32), ...(house.config.keyEncryptionKeys ?? [])]
  await (await house.open({ keyEncryptionKeys }, false)).rewrap()
  const next = await kidOf(house, { ...SLOT, status: 'next' })
  const active = await kidOf(house, { ...SLOT, status: 'active' })
  await behind.drop(active)
  const row = await findRow(house, next)
  assert.equal(row.status, 'compromised')
  assert.match(row.compromise_reason ?? '', /KEY_ENCRYPTION_KEY that the server .* does not have/)
  assert.ok(house.logs.some((line) => line.includes(next) && line.includes('dropped too')))
  const [event] = await listEvents(house, 'key.compromised')
  assert.deepEqual([event?.kid, event?.also_dropped_kid], [active, next])
})

test('when no key can be made a bad one is dropped all the same, and the worker makes up for it', async (t) => {
  const house = await openRings(t)
  let broken = false
  const ring = await house.open(
    {},
    false,
    unableTo(() => broken),
  )
  const { kid } = await ring.sign('id_jag', 'ES256', TYP, {})
  const next = await kidOf(house, { ...SLOT, status: 'next' })
  broken = true
  await ring.drop(kid)
  assert.equal((await ring.sign('id_jag', 'ES256', TYP, {})).kid, next)
  assert.ok(house.logs.some((line) => line.includes('no new signing key could be made')))
  // Without a next key there is nothing to rotate to.
  await assert.rejects(ring.rotate(SLOT), { code: 'too_early' })

  await ring.drop(next)
  await assert.rejects(ring.sign('id_jag', 'ES256', TYP, {}), /no active ES256 key/)
  assert.equal(ring.ready(), false)
  await ring.sign('id_jag', 'EdDSA', TYP, {})
  await ring.keep()
  assert.equal(ring.ready(), false)

  broken = false
  house.wait(5)
  await ring.keep()
  await assertOneOfEach(house)
  // It waits for the new key to be opened, which `keep` does not.
  const signed = await ring.sign('id_jag', 'ES256', TYP, {})
  assert.ok(![kid, next].includes(signed.kid))
  assert.ok(ring.ready())
})

test('what a start makes up for is published when every replica serves it (DS-21)', async (t) => {
  const house = await openRings(t)
  const stuck = await house.open({}, false, (custody: KeyStore) => {
    let count = 0
    return {
      ...custody,
      // The first keys, and none after them.
      async generate(slot) {
        if (++count > 22) throw new CustodyError('the custody makes no keys')
        return custody.generate(slot)
      },
    }
  })
  await stuck.drop(await kidOf(house, { ...SLOT, status: 'next' }))
  await stuck.drop((await stuck.sign('id_jag', 'ES256', TYP, {})).kid)
  house.wait(60)
  await house.open({}, false)
  await assertOneOfEach(house)
  const next = await findRow(house, await kidOf(house, { ...SLOT, status: 'next' }))
  assert.deepEqual(next.published_at, addSeconds(house.clock.now, MARGIN))
})

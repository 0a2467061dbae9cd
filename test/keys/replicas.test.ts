/** A replica that does not look, or cannot, and one that was not there. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KEY_SLOTS } from '../../src/keys/schedule.ts'
import { kidOf, kidsIn } from './ring-rows.ts'
import { openRings } from './rings.ts'

const CEILING = 86_400
const MARGIN = 10
const TYP = 'oauth-id-jag+jwt'
const SLOT = { purpose: 'id_jag', alg: 'ES256' } as const

test('a replica that missed a rotation signs with the key of before for a margin at the most', async (t) => {
  const house = await openRings(t)
  const [here, there] = [await house.open({}, false), await house.open({}, false)]
  house.wait(CEILING)
  await there.refresh()
  await here.rotate()
  const active = await kidOf(house, { ...SLOT, status: 'active' })
  assert.equal((await here.sign('id_jag', 'ES256', TYP, {})).kid, active)

  house.wait(MARGIN)
  const missed = await there.sign('id_jag', 'ES256', TYP, {})
  assert.notEqual(missed.kid, active)
  // Whoever writes a record of it asks, and learns at once that this is not the one any more.
  assert.equal(await there.stillSign(house.db, [missed.kid]), false)
  assert.equal(await there.stillSign(house.db, [active, missed.kid]), false)
  assert.equal(await there.stillSign(house.db, [active, active]), true)
  assert.ok(!kidsIn(there.jwks()).includes(await kidOf(house, { ...SLOT, status: 'next' })))

  house.wait(0.001)
  assert.equal(there.jwks().stale, true)
  assert.equal((await there.sign('id_jag', 'ES256', TYP, {})).kid, active)
  assert.equal(there.jwks().body, here.jwks().body)
})

test('what verifies learns of a dropped key too, once it asks for what is up to date (DS-26)', async (t) => {
  const house = await openRings(t)
  const [here, there] = [await house.open({}, false), await house.open({}, false)]
  const { kid } = await there.sign('id_token', 'ES256', 'JWT', {})
  await here.drop(kid)
  assert.ok(there.verificationKey('id_token', kid))
  house.wait(MARGIN + 1)
  await there.upToDate()
  assert.equal(there.verificationKey('id_token', kid), undefined)
  const fresh = await there.freshJwks()
  assert.ok(!fresh.stale && !kidsIn(fresh).includes(kid))
})

test('without the database the key set is answered from memory, and nothing is signed after a margin', async (t) => {
  const house = await openRings(t)
  const [here, there] = [await house.open({}, false), await house.open({}, false)]
  house.wait(CEILING)
  await Promise.all([here.refresh(), there.refresh()])
  const { body, etag } = there.jwks()
  await house.away()
  const { kid } = await there.sign('id_jag', 'ES256', TYP, {})
  assert.deepEqual(await there.freshJwks(), { body, etag, stale: false, expired: false })
  await there.upToDate()

  house.wait(MARGIN + 1)
  for (let time = 0; time < 2; time++) {
    await assert.rejects(there.sign('id_jag', 'ES256', TYP, {}))
    await assert.rejects(there.upToDate())
    await assert.rejects(there.stillSign(house.db, [kid]))
    assert.deepEqual(await there.freshJwks(), { body, etag, stale: true, expired: false })
    assert.deepEqual(there.jwks(), { body, etag, stale: true, expired: false })
    // For a token from before, it is for the caller to say whether that will do.
    assert.ok(there.verificationKey('id_jag', kid))
  }
  await assert.rejects(here.rotate())
  await here.keep()
  assert.ok(house.logs.some((line) => line.includes('could not be moved along')))

  await house.back()
  await here.rotate()
  const after = await there.sign('id_jag', 'ES256', TYP, {})
  assert.notEqual(after.kid, kid)
  assert.equal(after.kid, await kidOf(house, { ...SLOT, status: 'active' }))
  const fresh = await there.freshJwks()
  assert.ok(!fresh.stale && fresh.etag !== etag && fresh.etag === here.jwks().etag)
})

test('a replica that starts after a rotation and a dropped key signs correctly from its first request', async (t) => {
  const house = await openRings(t)
  const ring = await house.open({}, false)
  house.wait(CEILING)
  await ring.rotate()
  await ring.drop((await ring.sign('id_token', 'EdDSA', 'JWT', {})).kid)
  const fresh = await house.open({}, false)
  assert.ok(fresh.ready())
  assert.equal(fresh.jwks().body, ring.jwks().body)
  for (const { purpose, alg } of KEY_SLOTS) {
    const { kid } = await fresh.sign(purpose, alg, TYP, {})
    assert.equal(kid, await kidOf(house, { purpose, alg, status: 'active' }))
    assert.ok(await fresh.stillSign(house.db, [kid]))
  }
})

/** An algorithm that is added to SIGNING_ALGS: relying apps cannot know its first keys yet. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addSeconds } from '../../src/oauth/numeric-date.ts'
import type { SigningAlg } from '../../src/oauth/signing-alg.ts'
import { findRow, kidOf, kidsIn } from './ring-rows.ts'
import { openRings } from './rings.ts'

const CEILING = 86_400
const MARGIN = 10
const ALL: SigningAlg[] = ['ES256', 'RS256', 'EdDSA', 'PS256', 'ES384']

test('nothing is signed with it before its key was published for a ceiling (DS-21)', async (t) => {
  const house = await openRings(t, { SIGNING_ALGS: 'ES256,RS256' })
  const before = await house.open({}, false)
  assert.equal(before.algFor('id_jag', 'EdDSA'), 'ES256')
  assert.equal(before.algFor('id_token', 'EdDSA'), 'RS256')
  await assert.rejects(before.sign('id_jag', 'EdDSA', 'x', {}), /no active EdDSA key/)

  house.wait(CEILING)
  const ring = await house.open({ signingAlgs: ALL }, false)
  const [active, next] = [
    await findRow(house, await kidOf(house, { purpose: 'id_jag', alg: 'EdDSA', status: 'active' })),
    await findRow(house, await kidOf(house, { purpose: 'id_jag', alg: 'EdDSA', status: 'next' })),
  ]
  for (const { kid, published_at } of [active, next]) {
    assert.ok(kidsIn(ring.jwks()).includes(kid))
    // The replica of before serves it within a margin.
    assert.deepEqual(published_at, addSeconds(house.clock.now, MARGIN))
  }
  await before.refresh()
  assert.equal(before.jwks().body, ring.jwks().body)

  for (const wanted of ['EdDSA', 'PS256', 'ES384']) {
    assert.equal(ring.algFor('id_jag', wanted), 'ES256')
    assert.equal(ring.algFor('id_token', wanted), 'RS256')
  }
  for (const known of ['ES256', 'RS256']) {
    assert.equal(ring.algFor('id_jag', known), known)
    assert.equal(ring.algFor('id_token', known), known)
  }
  house.wait(MARGIN + CEILING - 1)
  await assert.rejects(ring.rotate({ alg: 'EdDSA' }), { code: 'too_early' })
  assert.equal(ring.algFor('id_jag', 'EdDSA'), 'ES256')
  house.wait(1)
  assert.equal(ring.algFor('id_jag', 'EdDSA'), 'EdDSA')
  assert.equal(ring.algFor('id_token', 'ES384'), 'ES384')
  // A rotation brings a key that everybody knows.
  await ring.rotate({ alg: 'EdDSA' })
  assert.equal(ring.algFor('id_jag', 'EdDSA'), 'EdDSA')
})

test('at the first start of all nobody knows any key, and every algorithm is as good', async (t) => {
  const house = await openRings(t)
  const ring = await house.open({}, false)
  for (const alg of ALL) {
    assert.equal(ring.algFor('id_jag', alg), alg)
    assert.equal(ring.algFor('id_token', alg), alg)
  }
  assert.equal(ring.algFor('id_jag', 'HS256'), 'ES256')
})

/** What fails, hangs or is foreign in one place holds up nothing in another. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KeyStore } from '../../src/keys/open-custody.ts'
import { KEY_SLOTS } from '../../src/keys/schedule.ts'
import { insertForeignKey } from '../support/foreign-key.ts'
import { findRow, kidOf, listEvents } from './ring-rows.ts'
import { openRings, unableTo } from './rings.ts'

const TYP = 'oauth-id-jag+jwt'
const MONTH = 30 * 86_400

test('a slot whose keys cannot be made does not rotate; every other one does, and what is retired is ended (DS-28)', async (t) => {
  const house = await openRings(t)
  let broken = false
  const ring = await house.open(
    {},
    false,
    unableTo(({ alg }) => broken && alg === 'EdDSA'),
  )
  const { kid } = await ring.sign('id_jag', 'ES256', TYP, {})
  const stuck = await ring.sign('id_jag', 'EdDSA', TYP, {})
  broken = true
  house.wait(MONTH)
  await ring.refresh()
  await ring.keep()
  assert.equal((await listEvents(house, 'key.rotated')).length, KEY_SLOTS.length - 2)
  assert.equal((await findRow(house, stuck.kid)).status, 'active')
  assert.ok(house.logs.some((line) => line.includes('the custody makes no keys')))
  house.wait(11)
  await ring.refresh()
  await ring.keep()
  const { status, private_key } = await findRow(house, kid)
  assert.deepEqual([status, private_key], ['retired', null])

  broken = false
  await ring.keep()
  assert.equal((await listEvents(house, 'key.rotated')).length, KEY_SLOTS.length)
})

test('no private key is ended by the word of a row that somebody else wrote (DS-27)', async (t) => {
  const house = await openRings(t)
  const ended: string[] = []
  const ring = await house.open({}, false, (custody: KeyStore) => ({
    ...custody,
    async destroy(key) {
      ended.push(key.reference)
    },
  }))
  const { kid } = await ring.sign('id_jag', 'ES256', TYP, {})
  const mine = (await findRow(house, kid)).private_key
  const private_key = 'http:the-key-of-somebody-else'
  await insertForeignKey(house.db, { purpose: 'id_jag', status: 'retired', private_key })
  house.wait(MONTH)
  await ring.rotate({ purpose: 'id_jag', alg: 'ES256' })
  house.wait(11)
  await ring.refresh()
  await ring.keep()
  assert.ok(ended.includes(mine as string))
  assert.ok(!ended.includes(private_key))
})

test('while the place of one key does not answer, the key set is current and other keys sign', async (t) => {
  const house = await openRings(t)
  const here = await house.open({}, false)
  const hanging = new Set<string>()
  const waiting: (() => void)[] = []
  const { promise: asked, resolve: isAsked } = Promise.withResolvers<void>()
  const there = await house.open({}, false, (custody: KeyStore) => ({
    ...custody,
    async open(key) {
      if (!hanging.has(key.alg)) return custody.open(key)
      isAsked()
      await new Promise<void>((resolve) => waiting.push(resolve))
      return custody.open(key)
    },
  }))
  t.after(() => {
    for (const go of waiting) go()
  })
  house.wait(MONTH)
  hanging.add('EdDSA')
  await here.rotate({ purpose: 'id_jag', alg: 'EdDSA' })
  await there.refresh()
  await asked
  assert.equal(there.jwks().body, here.jwks().body)
  const next = await kidOf(house, { purpose: 'id_jag', alg: 'EdDSA', status: 'next' })
  assert.ok(there.jwks().body.includes(next))
  for (const alg of ['ES256', 'RS256'] as const) await there.sign('id_jag', alg, TYP, {})
  // The one that took over was open before: a hanging place is met one rotation early.
  assert.equal(
    (await there.sign('id_jag', 'EdDSA', TYP, {})).kid,
    (await here.sign('id_jag', 'EdDSA', TYP, {})).kid,
  )
})

/** Whatever is done to the keys at once, on three replicas: one active and one next key of each (DS-27). */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { ProblemError } from '../../src/http/problem.ts'
import { KEY_SLOTS } from '../../src/keys/schedule.ts'
import { assertOneOfEach, kidOf, listEvents } from './ring-rows.ts'
import { openRings } from './rings.ts'

const CEILING = 86_400
const MARGIN = 10
const TYP = 'oauth-id-jag+jwt'
const CHEAP = (['ES256', 'EdDSA', 'ES384'] as const).flatMap((alg) => [
  { purpose: 'id_token' as const, alg },
  { purpose: 'id_jag' as const, alg },
])
const REFUSALS = ['too_early', 'not_found', 'invalid_transition']

/** For the moment in which both keys of a slot are dropped. */
const isWithoutKey = (error: unknown) => /^There is no active /.test((error as Error).message)
const isRefusal = (error: unknown) => error instanceof ProblemError && REFUSALS.includes(error.code)

test('rotations, keepers, dropped keys and starts that race leave one of each, and nobody sees an error', async (t) => {
  const house = await openRings(t)
  const rings = [await house.open(), await house.open(), await house.open()] as const
  const [one, two, three] = rings
  let refused = 0
  for (let round = 0; round < 24; round++) {
    house.wait(CEILING + MARGIN + 1)
    await Promise.all(rings.map((ring) => ring.refresh()))
    const slot = CHEAP[round % CHEAP.length] ?? CHEAP[0]
    assert.ok(slot)
    const { purpose, alg } = slot
    const active = await kidOf(house, { purpose, alg, status: 'active' })
    const next = await kidOf(house, { purpose, alg, status: 'next' })
    const drops = [[active], [next], [active, next], []][round % 4] ?? []
    const acts = [
      () => one.rotate(slot),
      () => two.rotate({ alg }),
      () => three.rotate({ purpose: 'seal' }),
      ...rings.map((ring) => () => ring.keep()),
      ...drops.flatMap((kid) => [() => two.drop(kid), () => three.drop(kid)]),
      () => house.open({}, false),
      () => one.sign(purpose, alg, TYP, {}),
      () => one.rewrap(),
    ]
    const turned = [...acts.slice(round % acts.length), ...acts.slice(0, round % acts.length)]
    for (const outcome of await Promise.allSettled(turned.map((act) => act()))) {
      if (outcome.status === 'fulfilled') continue
      if (isWithoutKey(outcome.reason)) continue
      if (!isRefusal(outcome.reason)) throw outcome.reason
      refused += 1
    }
    await assertOneOfEach(house)
    for (const ring of rings) {
      await ring.refresh()
      for (const slot of CHEAP) {
        const { kid } = await ring.sign(slot.purpose, slot.alg, TYP, {})
        assert.equal(kid, await kidOf(house, { ...slot, status: 'active' }))
      }
    }
  }
  assert.ok(refused >= 5, `${refused} refused`)
  assert.deepEqual(
    house.logs.filter((line) => !line.includes('a signing key was dropped')),
    [],
  )
  const dropped = await listEvents(house, 'key.compromised')
  assert.equal(new Set(dropped.map(({ kid }) => kid)).size, dropped.length)
})

test('at no moment of a rotation is there another number of active keys than one', async (t) => {
  const house = await openRings(t)
  const rings = [await house.open(), await house.open(), await house.open()]
  let over = false
  let looks = 0
  const watch = async () => {
    while (!over) {
      const rows = await house.db
        .selectFrom('signing_keys')
        .select(['purpose', 'alg'])
        .where('status', '=', 'active')
        .execute()
      const slots = rows.map(({ purpose, alg }) => `${purpose} ${alg}`)
      assert.equal(slots.length, KEY_SLOTS.length)
      assert.equal(new Set(slots).size, KEY_SLOTS.length)
      looks += 1
      await setImmediate()
    }
  }
  const watching = watch()
  for (let round = 0; round < 6; round++) {
    house.wait(CEILING + MARGIN + 1)
    const alg = (['ES256', 'EdDSA', 'ES384'] as const)[round % 3]
    const tries = rings.map((ring) => ring.rotate(alg ? { alg } : {}))
    const outcomes = await Promise.allSettled([...tries, ...rings.map((ring) => ring.keep())])
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected' && !isRefusal(outcome.reason)) throw outcome.reason
    }
    // With a next key there is somebody at once.
    if (alg) await rings[0]?.drop(await kidOf(house, { purpose: 'id_jag', alg, status: 'active' }))
  }
  over = true
  await watching
  assert.ok(looks > 20)
})

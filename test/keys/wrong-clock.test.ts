/** A server whose clock is not the database's moves no key, but drops one that is lost (DS-21, DS-22, DS-26). */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { compromise } from '../../src/keys/compromise.ts'
import { startKeepingSchedule } from '../../src/keys/keep-schedule.ts'
import { openKeyRing } from '../../src/keys/open-key-ring.ts'
import { rotateKeys } from '../../src/keys/rotate.ts'
import { addSeconds } from '../../src/oauth/numeric-date.ts'
import { inWords } from '../../src/operator-words.ts'
import { openHouse } from '../support/house.ts'
import { assertOneOfEach, findRow, kidOf, listEvents, listRows, type Rings } from './ring-rows.ts'
import { openRings } from './rings.ts'

const DAY = 86_400
const MARGIN = 10
const SLOT = { purpose: 'id_jag', alg: 'ES256' } as const
const BY = { actor: { kind: 'system' } } as const

/** A replica of that house with a clock of its own, so many seconds ahead of the database's. */
async function openAhead(t: TestContext, house: Rings, seconds: number) {
  const { deps } = await house.open({}, false)
  const now = () => addSeconds(house.clock.now, seconds)
  const wrong = { ...deps, now, clockSkew: async () => -1_000 * seconds }
  const keys = await openKeyRing(wrong, false)
  t.after(() => keys.close())
  return { ...wrong, keys }
}

for (const seconds of [DAY + 3600, -2 * DAY]) {
  test(`by a clock ${seconds} s ahead no key is rotated by hand, and the answer says why`, async (t) => {
    const house = await openRings(t)
    const wrong = await openAhead(t, house, seconds)
    const before = await listRows(house)
    if (seconds < 0) house.wait(10 * DAY)
    await assert.rejects(rotateKeys(wrong, SLOT, BY), { code: 'unavailable', message: /clock/ })
    assert.deepEqual(await listRows(house), before)
  })

  test(`by a clock ${seconds} s ahead a lost key is dropped at the time of the database, and another server makes the next one`, async (t) => {
    const house = await openRings(t)
    const right = await house.open({}, false)
    const wrong = await openAhead(t, house, seconds)
    house.wait(3600)
    const kid = await kidOf(house, { ...SLOT, status: 'active' })
    const next = await kidOf(house, { ...SLOT, status: 'next' })
    const { compromised_at } = await compromise(wrong, kid, BY)
    assert.deepEqual(compromised_at, house.clock.now)
    assert.deepEqual((await findRow(house, kid)).compromised_at, house.clock.now)
    assert.deepEqual((await findRow(house, next)).activated_at, house.clock.now)
    assert.ok(house.logs.some((line) => line.includes('no new signing key could be made')))
    const made = (await listRows(house)).filter(
      ({ purpose, alg, status }) => purpose === 'id_jag' && alg === 'ES256' && status === 'next',
    )
    assert.deepEqual(made, [])

    await right.refresh()
    await right.keep()
    await assertOneOfEach(house)
    const { published_at } = await findRow(house, await kidOf(house, { ...SLOT, status: 'next' }))
    assert.deepEqual(published_at, addSeconds(house.clock.now, MARGIN))
  })
}

test('by a wrong clock no keeper moves a key, and the log says once why; set right, it goes on', async (t) => {
  const house = await openRings(t, { JWKS_CEILING: '2' })
  const { deps } = await house.open()
  let [skew, rounds] = [1_000, 0]
  const clockSkew = async () => {
    rounds += 1
    return skew
  }
  const before = await listRows(house)
  house.wait(31 * DAY)
  const worker = startKeepingSchedule({ ...deps, clockSkew })
  t.after(() => worker.stop())
  await until(async () => rounds > 2)
  assert.deepEqual(await listRows(house), before)
  const told = house.logs.filter((line) => line.includes('could not be moved along'))
  assert.equal(told.length, 1)
  assert.match(told[0] ?? '', /clock of this machine is not that of the database/)
  skew = 0
  await until(async () => (await listEvents(house, 'key.rotated')).length > 0)
})

test('a server with a wrong clock answers a rotation with 503, and a start makes no keys by it', async (t) => {
  const house = await openHouse(t)
  house.deps.clockSkew = async () => 60_000
  const { status, body } = await house.admin('POST', '/keys/rotate', {})
  assert.deepEqual([status, body.type], [503, '/problems/unavailable'])
  assert.match(body.detail, /clock/)

  // With all of its keys it starts: it is the moving of keys that has to wait.
  const again = await openKeyRing(house.deps, false)
  again.close()
  await house.deps.db.deleteFrom('signing_keys').where('status', '=', 'next').execute()
  await assert.rejects(openKeyRing(house.deps, false), (error) => {
    // Whoever starts it reads what to do, and no stack.
    assert.match(
      inWords(error) ?? '',
      /clock of this machine is not that of the database.*time server/,
    )
    return true
  })
})

async function until(condition: () => Promise<boolean>): Promise<void> {
  const patience = AbortSignal.timeout(30_000)
  while (!(await condition())) {
    assert.ok(!patience.aborted, 'it never came about')
    await pause(20)
  }
}

/** A replica that is frozen while it reads the keys goes on with what the database said before (DS-29). */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openKeyRing } from '../../src/keys/open-key-ring.ts'
import { openSigners } from '../../src/keys/open-signers.ts'
import { listSigningKeys } from '../../src/keys/queries.ts'
import { replicaMargin } from '../../src/keys/schedule.ts'
import { findRow, kidOf } from './ring-rows.ts'
import { openRings } from './rings.ts'

for (const [end, what] of [
  [undefined, 'has its answer'],
  [new Error('Query read timeout'), 'has waited too long for its answer'],
] as const) {
  test(`a reading that began before the freeze, and ${what} when it goes on, is not relied on`, async (t) => {
    const house = await openRings(t)
    const awake = await house.open({}, false)
    let gate: Promise<void> | undefined
    const aside = house.db.withPlugin({
      transformQuery: ({ node }) => node,
      async transformResult({ result }) {
        await gate
        return result
      },
    })
    const frozen = await openKeyRing({ ...awake.deps, aside }, false)
    t.after(() => frozen.close())

    const { promise, resolve, reject } = Promise.withResolvers<void>()
    gate = promise
    const reading = frozen.refresh()
    // Long enough for the database to answer, with the keys of before.
    await house.db.selectFrom('signing_keys').select('kid').execute()
    house.wait(100_000)
    await awake.rotate({ alg: 'ES256' })
    const asked = frozen.freshJwks()
    const sound = frozen.upToDate()
    gate = undefined
    if (end) reject(end)
    else resolve()
    await reading.catch((error) => assert.equal(error, end))

    const { body, stale } = await asked
    assert.equal(body, awake.jwks().body)
    assert.equal(stale, false)
    await sound
    const { kid } = await frozen.sign('id_jag', 'ES256', 'oauth-id-jag+jwt', {})
    assert.equal(kid, (await awake.sign('id_jag', 'ES256', 'oauth-id-jag+jwt', {})).kid)
    assert.doesNotMatch(house.logs.join(''), /"level":50/)
  })
}

test('a private key that was being read then is read again', async (t) => {
  const house = await openRings(t)
  const { deps } = await house.open({}, false)
  let reads = 0
  const db = house.db.withPlugin({
    transformQuery: ({ node }) => node,
    async transformResult({ result }) {
      reads++
      if (reads === 1) throw new Error('Query read timeout')
      return result
    },
  })
  const [key] = await listSigningKeys(house.db)
  assert.ok(key)
  const signers = openSigners({ ...deps, db })
  signers.keep([key.kid])
  await signers.settled()
  assert.ok(signers.has(key.kid))
  assert.equal(reads, 2)
})

test('a private key that was destroyed meanwhile is no fault: the replica reads the keys again and signs by another', async (t) => {
  const house = await openRings(t)
  const awake = await house.open({}, false)
  const slot = { purpose: 'id_jag', alg: 'ES256' } as const
  const old = await kidOf(house, { ...slot, status: 'active' })

  const asleep = Promise.withResolvers<void>()
  const destroyed = Promise.withResolvers<void>()
  let reads = 0
  const aside = house.db.withPlugin({
    transformQuery: ({ node }) => node,
    async transformResult({ result }) {
      const isIt = result.rows.some((row) => 'private_key' in row && row.kid === old)
      if (!isIt || reads++ > 0) return result
      asleep.resolve()
      await destroyed.promise
      throw new Error('Query read timeout')
    },
  })
  // Its clock stands still with it, so that what it read before counts as recent.
  const stoodAt = house.clock.now
  const opening = openKeyRing({ ...awake.deps, aside, now: () => stoodAt }, false)
  await asleep.promise
  house.wait(house.config.jwksCeiling + replicaMargin(house.config))
  await awake.rotate({ alg: 'ES256' })
  house.wait(replicaMargin(house.config))
  await awake.keep()
  assert.equal((await findRow(house, old)).private_key, null)
  destroyed.resolve()

  const frozen = await opening
  t.after(() => frozen.close())
  const { kid } = await frozen.sign('id_jag', 'ES256', 'oauth-id-jag+jwt', {})
  assert.equal(kid, await kidOf(house, { ...slot, status: 'active' }))
  assert.equal(reads, 3, 'when it listed the keys, again after the failure, and for the signature')
  assert.doesNotMatch(house.logs.join(''), /"level":50/)
})

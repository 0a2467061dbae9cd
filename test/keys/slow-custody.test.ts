/** Making a key may take long: an RSA key in hardware, or a replica that freezes meanwhile. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Deps } from '../../src/deps.ts'
import { keepSchedule } from '../../src/keys/keep-schedule.ts'
import { type By, rotateKeys } from '../../src/keys/rotate.ts'
import { publishedAt } from '../../src/keys/schedule.ts'
import { openRings } from './rings.ts'

const BY: By = { actor: { kind: 'system' } }
/** Seconds that each key takes. */
const SLOW = 3_600

/** A ring in whose custody time passes while a key is made. */
async function openSlow(t: Parameters<typeof openRings>[0]) {
  const house = await openRings(t, { JWKS_CEILING: '600' })
  const { deps, ...ring } = await house.open()
  const custody: Deps['custody'] = {
    ...deps.custody,
    async generate(slot) {
      house.wait(SLOW)
      return deps.custody.generate(slot)
    },
  }
  house.wait(600)
  const listBornSince = (since: Date) =>
    house.db
      .selectFrom('signing_keys')
      .select(['status', 'created_at', 'published_at'])
      .where('published_at', '>', since)
      .execute()
  return { ...house, ring, deps: { ...deps, custody }, listBornSince }
}

test('a new key is published once it is made, however long that took (DS-21)', async (t) => {
  const { deps, config, clock, listBornSince } = await openSlow(t)
  const since = clock.now
  await rotateKeys(deps, { purpose: 'id_token' }, BY)
  const born = await listBornSince(since)
  assert.equal(born.length, 5)
  for (const { status, published_at, created_at } of born) {
    assert.equal(status, 'next')
    assert.deepEqual(created_at, clock.now)
    assert.deepEqual(published_at, publishedAt(clock.now, config))
  }
  const { retired_at } = await deps.db
    .selectFrom('signing_keys')
    .select('retired_at')
    .where('status', '=', 'retired')
    .where('alg', '=', 'ES256')
    .executeTakeFirstOrThrow()
  // The old one signed until then.
  assert.deepEqual(retired_at, clock.now)
})

test('so is one that makes up for a missing one', async (t) => {
  const { deps, config, clock, db, ring, listBornSince } = await openSlow(t)
  await db
    .deleteFrom('signing_keys')
    .where('status', '=', 'next')
    .where('purpose', '=', 'id_jag')
    .execute()
  await ring.refresh()
  const since = clock.now
  await keepSchedule(deps)
  const born = await listBornSince(since)
  assert.equal(born.length, 5)
  for (const { published_at } of born) {
    assert.deepEqual(published_at, publishedAt(clock.now, config))
  }
})

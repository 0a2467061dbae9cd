// The memory of an Idempotency-Key across a change of KEY_ENCRYPTION_KEY.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { openHouse } from '../support/house.ts'

test('a retry that comes after a change of KEY_ENCRYPTION_KEY is known again while the earlier value is there', async (t) => {
  const house = await openHouse(t)
  const [old] = house.config.keyEncryptionKeys as [Buffer]
  const newest = randomBytes(32)
  const add = (name: string) =>
    house.admin(
      'POST',
      '/users',
      { email: 'once@orbit.example', name },
      { 'idempotency-key': 'add-once' },
    )
  const first = await add('Once')
  assert.equal(first.status, 201, first.text)

  house.config.keyEncryptionKeys = [newest, old]
  const again = await add('Once')
  assert.deepEqual([again.status, again.body.id], [201, first.body.id])
  const other = await add('Other')
  assert.deepEqual([other.status, other.body.type], [409, '/problems/idempotency_conflict'])

  house.config.keyEncryptionKeys = [newest]
  assert.equal((await add('Once')).status, 409)
})

/** Private keys and proofs come under another key encryption key while the server runs (DS-27). */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { openCustody } from '../../src/keys/open-custody.ts'
import { KeyEncryptionError, kekId } from '../../src/keys/private-key-envelope.ts'
import { rewrapKeys } from '../../src/keys/rewrap.ts'
import { KEY_SLOTS } from '../../src/keys/schedule.ts'
import { openHeader } from '../../src/streams/sealed-header.ts'
import { openEndpoint, openReceiver, PUSH } from '../streams/receiver.ts'
import { insertForeignKey } from '../support/foreign-key.ts'
import { openHouse } from '../support/house.ts'
import { findRow, kidOf, listEvents, listRows } from './ring-rows.ts'
import { openRings } from './rings.ts'

const CEILING = 86_400
const TYP = 'oauth-id-jag+jwt'
const NEW = randomBytes(32)

test('everything comes under the newest, replicas sign on meanwhile, and the earlier one may go', async (t) => {
  const house = await openRings(t)
  const keyEncryptionKeys = [NEW, ...(house.config.keyEncryptionKeys ?? [])]
  const earlier = await house.open({}, false)
  house.wait(CEILING)
  await earlier.rotate({ alg: 'ES256' })
  const rings = [
    await house.open({ keyEncryptionKeys }, false),
    await house.open({ keyEncryptionKeys }, false),
  ] as const
  const count = (await listRows(house)).length
  const seal = await house.db
    .selectFrom('signing_keys')
    .select('kid')
    .where('purpose', '=', 'seal')
    .where('status', '=', 'retired')
    .executeTakeFirstOrThrow()

  const signing = KEY_SLOTS.flatMap(({ purpose, alg }) =>
    rings.map((ring) => ring.sign(purpose, alg, TYP, {})),
  )
  const [done, again] = await Promise.all([rings[0].rewrap(), rings[1].rewrap(), ...signing])
  // One of the two calls found nothing left to do.
  const made = {
    private_keys: count,
    proofs: count,
    stream_headers: 0,
    unproven: [],
    key_encryption_key: kekId(NEW),
  }
  const none = { ...made, private_keys: 0, proofs: 0 }
  const [first, second] = done.proofs > 0 ? [done, again] : [again, done]
  assert.deepEqual([first, second], [made, none])
  for (const { private_key, proof } of await listRows(house)) {
    assert.ok(private_key?.startsWith(`v1.${kekId(NEW)}.`))
    assert.ok(proof.startsWith(`v1.${kekId(NEW)}.`))
  }
  const events = await listEvents(house, 'key.rewrapped')
  assert.deepEqual(
    events.sort((a, b) => Number(b.proofs) - Number(a.proofs)),
    [made, none],
  )

  const alone = await house.open({ keyEncryptionKeys: [NEW] }, false)
  assert.equal(alone.jwks().body, rings[0].jwks().body)
  assert.ok((await alone.sealKeys(house.db)).has(seal.kid))
  for (const ring of [...rings, alone]) {
    await ring.refresh()
    for (const { purpose, alg } of KEY_SLOTS) {
      const { kid } = await ring.sign(purpose, alg, TYP, {})
      assert.equal(kid, await kidOf(house, { purpose, alg, status: 'active' }))
    }
  }
  house.wait(CEILING + 10)
  await alone.rotate()
  await assert.rejects(house.open({}, false), KeyEncryptionError)
})

test('the headers that receivers want to see come under it too, so that the earlier one may go at once', async (t) => {
  const house = await openHouse(t)
  const endpoint = await openEndpoint(t)
  const receiver = await openReceiver(house)
  const header = 'Bearer a-secret-of-the-receiver-0123456789'
  const delivery = { method: PUSH, endpoint_url: endpoint.url, authorization_header: header }
  const { stream_id } = (await receiver.create(delivery)).body
  const config = {
    ...house.config,
    keyEncryptionKeys: [NEW, ...(house.config.keyEncryptionKeys ?? [])],
  }
  const deps = { ...house.deps, config, custody: await openCustody(config) }
  const rewrap = () => rewrapKeys(deps, { actor: { kind: 'system' } })
  const counts = (await Promise.all([rewrap(), rewrap()])).map((done) => done.stream_headers)
  assert.ok(counts.includes(1), `${counts}`)
  assert.equal((await rewrap()).stream_headers, 0)
  const { authorization_header } = await house.deps.db
    .selectFrom('streams')
    .select('authorization_header')
    .where('id', '=', stream_id)
    .executeTakeFirstOrThrow()
  const opened = openHeader([NEW], stream_id, authorization_header ?? '')
  assert.deepEqual(opened, { header, stale: false })
})

test('what is under a key that is not there stays as it is, and so does all the rest', async (t) => {
  const house = await openRings(t)
  const keyEncryptionKeys = [NEW, ...(house.config.keyEncryptionKeys ?? [])]
  const ring = await house.open({ keyEncryptionKeys }, false)
  const { kid } = await ring.sign('id_jag', 'ES256', TYP, {})
  const { private_key } = await findRow(house, kid)
  const elsewhere = private_key?.replace(kekId(NEW), kekId(randomBytes(32)))
  const set = (private_key: string | null | undefined) =>
    house.db
      .updateTable('signing_keys')
      .set({ private_key: private_key ?? null })
      .where('kid', '=', kid)
      .execute()
  // One of these keys is under a third, and the others are to come under a fourth.
  await set(elsewhere)
  const changes = { keyEncryptionKeys: [randomBytes(32), ...keyEncryptionKeys] }
  const config = { ...house.config, ...changes }
  const deps = { ...ring.deps, config, custody: await openCustody(config) }
  const before = await listRows(house)
  const rewrap = () => rewrapKeys(deps, { actor: { kind: 'system' } })
  await assert.rejects(
    rewrap(),
    (error) => error instanceof KeyEncryptionError && error.message.includes(kid),
  )
  assert.deepEqual(await listRows(house), before)
  assert.deepEqual(await listEvents(house, 'key.rewrapped'), [])
  await ring.sign('id_jag', 'ES256', TYP, {})

  await set(private_key)
  assert.equal((await rewrap()).private_keys, before.length)
})

test('a row that somebody else wrote is not made ours by it', async (t) => {
  const house = await openRings(t)
  const keyEncryptionKeys = [NEW, ...(house.config.keyEncryptionKeys ?? [])]
  await house.open({}, false)
  const ring = await house.open({ keyEncryptionKeys }, false)
  const { kid } = await insertForeignKey(house.db, {
    purpose: 'id_jag',
    status: 'retired',
    private_key: 'x',
  })
  const foreign = await findRow(house, kid)
  const { proofs, unproven } = await ring.rewrap()
  assert.equal(proofs, 2 * KEY_SLOTS.length)
  // Told, for it might also be ours under a value that is missing here.
  assert.deepEqual(unproven, [kid])
  assert.deepEqual(await findRow(house, kid), foreign)
  assert.equal(ring.verificationKey('id_jag', kid), undefined)
})

test('a rotation proves every key anew as well, those too that sign no more', async (t) => {
  const house = await openRings(t)
  const keyEncryptionKeys = [NEW, ...(house.config.keyEncryptionKeys ?? [])]
  const before = await house.open({}, false)
  house.wait(86_400)
  await before.rotate({ purpose: 'id_jag', alg: 'ES256' })
  const ring = await house.open({ keyEncryptionKeys }, false)
  house.wait(86_400 + 10)
  await ring.rotate({ purpose: 'id_jag', alg: 'ES256' })
  const rows = await listRows(house)
  assert.ok(rows.some(({ status }) => status === 'retired'))
  for (const { proof, kid } of rows) assert.ok(proof.startsWith(`v1.${kekId(NEW)}.`), kid)
})

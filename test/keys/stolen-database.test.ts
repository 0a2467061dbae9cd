/** Somebody has every table, and perhaps may write them, but not the key encryption key (DS-27). */

import assert from 'node:assert/strict'
import { type KeyObject, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { sql } from 'kysely'
import { openCustody } from '../../src/keys/open-custody.ts'
import { KeyEncryptionError, kekId, openPrivateKey } from '../../src/keys/private-key-envelope.ts'
import { proveKey } from '../../src/keys/proof.ts'
import type { SigningAlg } from '../../src/oauth/signing-alg.ts'
import { findRow, kidsIn, listRows, type Rings } from './ring-rows.ts'
import { openRings } from './rings.ts'

const CEILING = 86_400
const THIEF = randomBytes(32)

const heldOf = (row: Awaited<ReturnType<typeof listRows>>[number]) => ({
  kid: row.kid,
  purpose: row.purpose,
  alg: row.alg as SigningAlg,
  public_jwk: row.public_jwk,
  reference: row.private_key ?? '',
})

/** All that is in the database, as text. */
async function dump({ db }: Rings): Promise<string> {
  const { rows: tables } = await sql<{ name: string }>`
    select tablename as name from pg_tables where schemaname = 'public'`.execute(db)
  const texts: string[] = []
  for (const { name } of tables) {
    const { rows } = await sql<{ row: string }>`
      select row_to_json(t)::text as row from ${sql.table(name)} t`.execute(db)
    texts.push(...rows.map(({ row }) => row))
  }
  return texts.join('\n')
}

/** How a private key, or the number that it comes to, might be written down. */
function spellings(key: KeyObject): string[] {
  const { d = '', p = '', q = '', qi = '' } = key.export({ format: 'jwk' })
  const secrets = [d, p, q, qi].filter(Boolean).map((text) => Buffer.from(text, 'base64url'))
  // A part of it, at each of the three places where base64 may begin.
  return secrets.flatMap((secret) => [
    secret.subarray(0, 24).toString('hex'),
    ...[0, 1, 2].flatMap((from) => [
      secret.subarray(from, from + 24).toString('base64'),
      secret.subarray(from, from + 24).toString('base64url'),
    ]),
  ])
}

test('no private key is in any table, and no value in one opens without the key encryption key', async (t) => {
  const house = await openRings(t)
  const ring = await house.open({}, false)
  house.wait(CEILING)
  await ring.rotate({ alg: 'ES256' })
  await ring.drop((await ring.sign('id_jag', 'EdDSA', 'x', {})).kid)
  const rows = await listRows(house)
  const everything = await dump(house)
  assert.ok(everything.includes(rows[0]?.private_key ?? '-'))
  const keks = house.config.keyEncryptionKeys ?? []
  const thief = await openCustody({ ...house.config, keyEncryptionKeys: [THIEF] })
  for (const row of rows) {
    const envelope = row.private_key ?? ''
    const key = openPrivateKey(keks, heldOf(row), envelope)
    const found = (text: string) => spellings(key).some((secret) => text.includes(secret))
    assert.equal(found(everything), false)
    // It would have been, whichever way it lay there.
    const der = key.export({ type: 'pkcs8', format: 'der' })
    for (const plain of [
      JSON.stringify(key.export({ format: 'jwk' })),
      der.toString('hex'),
      der.toString('base64'),
    ]) {
      assert.equal(found(plain), true)
    }
    await assert.rejects(thief.open(heldOf(row)), KeyEncryptionError)
    // Nor does it help to say that it is under the thief's own.
    const [version, , ...rest] = envelope.split('.')
    const renamed = [version, kekId(THIEF), ...rest].join('.')
    await assert.rejects(thief.open({ ...heldOf(row), reference: renamed }), /changed or damaged/)
  }
})

test('a server on the stolen tables does not start, and changes nothing', async (t) => {
  const house = await openRings(t)
  await house.open({}, false)
  const before = await listRows(house)
  for (const keyEncryptionKeys of [[THIEF], undefined, []]) {
    await assert.rejects(house.open({ keyEncryptionKeys }, false), KeyEncryptionError)
  }
  assert.deepEqual(await listRows(house), before)
})

test('a private key moved to another kid, purpose or algorithm does not open', async (t) => {
  const house = await openRings(t)
  const { deps } = await house.open({}, false)
  const rows = (await listRows(house)).map(heldOf)
  for (const row of rows) {
    await deps.custody.open(row)
    for (const { reference } of rows) {
      if (reference === row.reference) continue
      await assert.rejects(deps.custody.open({ ...row, reference }), KeyEncryptionError)
    }
    const purposes = (['id_token', 'id_jag', 'seal'] as const).filter((it) => it !== row.purpose)
    for (const purpose of purposes) {
      await assert.rejects(deps.custody.open({ ...row, purpose }), KeyEncryptionError)
    }
    for (const alg of ['ES256', 'RS256', 'EdDSA', 'PS256', 'ES384'] as const) {
      if (alg === row.alg) continue
      await assert.rejects(deps.custody.open({ ...row, alg }), KeyEncryptionError)
    }
  }
})

test('whoever writes the tables brings no key of their own into the key set, nor one of ours to another use', async (t) => {
  const house = await openRings(t)
  const ring = await house.open({}, false)
  house.wait(CEILING)
  const { kid } = await ring.sign('id_jag', 'ES256', 'x', {})
  const { kid: other } = await ring.sign('id_token', 'ES256', 'x', {})
  await ring.rotate({ alg: 'ES256' })
  const [here, there] = [await findRow(house, kid), await findRow(house, other)]
  const forged = proveKey([THIEF], here)
  const change = async (values: object) => {
    await house.db.updateTable('signing_keys').set(values).where('kid', '=', kid).execute()
    const fresh = await house.open({}, false)
    const found = fresh.verificationKey('id_token', kid) ?? fresh.verificationKey('id_jag', kid)
    await house.db
      .updateTable('signing_keys')
      .set({
        purpose: here.purpose,
        alg: here.alg,
        proof: here.proof,
        public_jwk: JSON.stringify(here.public_jwk),
      })
      .where('kid', '=', kid)
      .execute()
    return found !== undefined || kidsIn(fresh.jwks()).includes(kid)
  }
  assert.equal(await change({ proof: here.proof }), true)
  for (const values of [
    { proof: there.proof },
    { proof: forged },
    { proof: forged.replace(kekId(THIEF), here.proof.split('.')[1] ?? '') },
    { purpose: 'id_token' },
    { purpose: 'seal' },
    { alg: 'ES384' },
    { public_jwk: JSON.stringify(there.public_jwk) },
    { public_jwk: JSON.stringify(there.public_jwk), proof: there.proof },
  ]) {
    assert.equal(await change(values), false, Object.keys(values).join())
  }
})

import assert from 'node:assert/strict'
import { createPrivateKey, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose'
import type { KeyRing } from '../../src/keys/key-ring.ts'
import { KeyEncryptionError } from '../../src/keys/private-key-envelope.ts'
import { thumbprint } from '../../src/keys/public-jwk.ts'
import { KEY_SLOTS } from '../../src/keys/schedule.ts'
import { addSeconds, numericDate } from '../../src/oauth/numeric-date.ts'
import { assertOneOfEach, listRows } from './ring-rows.ts'
import { openRings } from './rings.ts'

const CEILING = 86_400
/** Until a rotation's new key counts as published. */
const MARGIN = 10
const TYP = 'oauth-id-jag+jwt'
/** Their keys are in the JWKS. */
const TOKEN_SLOTS = KEY_SLOTS.filter(({ purpose }) => purpose !== 'seal')

const jwksOf = (ring: KeyRing): JSONWebKeySet => JSON.parse(ring.jwks().body)
const kidsOf = (ring: KeyRing) => jwksOf(ring).keys.map(({ kid }) => kid)

const isTooEarly = (error: unknown) => (error as { code?: string }).code === 'too_early'

test('the first start makes an active and a next key of each, and signs at once', async (t) => {
  const house = await openRings(t)
  const ring = await house.open()
  assert.ok(ring.ready())
  await assertOneOfEach(house)
  const rows = await listRows(house)
  assert.equal(rows.length, 2 * KEY_SLOTS.length)
  for (const row of rows) {
    assert.equal(row.kid, thumbprint(row.public_jwk))
    assert.doesNotMatch(row.private_key ?? '', /PRIVATE|"d"/)
  }
  for (const { purpose, alg } of KEY_SLOTS) {
    const { jws, kid } = await ring.sign(purpose, alg, TYP, { sub: 'usr_1' })
    const [header] = jws.split('.')
    assert.deepEqual(JSON.parse(Buffer.from(header ?? '', 'base64url').toString()), {
      alg,
      kid,
      typ: TYP,
    })
    const verifying = ring.verificationKey(purpose, kid)
    assert.ok(verifying)
    assert.equal(verifying.alg, alg)
    await jwtVerify(jws, verifying.key, { typ: TYP, currentDate: house.clock.now })
  }
})

test('nothing is signed with none, a shared secret or any algorithm but the five (IJ-02)', async (t) => {
  const house = await openRings(t)
  const ring = await house.open()
  for (const alg of ['none', 'HS256', 'HS512', 'PS512', 'ES512', 'ES256K', 'es256', '']) {
    await assert.rejects(
      async () => ring.sign('id_jag', alg as 'ES256', TYP, {}),
      { message: `There is no active ${alg} key for id_jag` },
      alg,
    )
  }
})

test('a key of one purpose verifies nothing of another', async (t) => {
  const house = await openRings(t)
  const ring = await house.open()
  const purposes = ['id_token', 'id_jag', 'seal'] as const
  for (const purpose of purposes) {
    const { kid } = await ring.sign(purpose, 'ES256', TYP, {})
    for (const other of purposes) {
      assert.equal(ring.verificationKey(other, kid) !== undefined, other === purpose)
    }
  }
  assert.equal(ring.verificationKey('id_jag', 'unknown'), undefined)
  await assert.rejects(ring.sign('seal', 'RS256', TYP, {}), /no active RS256 key for seal/)
})

test('replicas that start at once make one set of keys between them', async (t) => {
  const house = await openRings(t)
  const rings = await Promise.all([house.open(), house.open(), house.open()])
  await assertOneOfEach(house)
  assert.equal((await listRows(house)).length, 2 * KEY_SLOTS.length)
  for (const ring of rings) assert.equal(ring.jwks().etag, rings[0]?.jwks().etag)
  const again = await house.open()
  assert.equal(again.jwks().body, rings[0]?.jwks().body)
})

test('the JWKS holds public keys of tokens alone, in an order that every replica shares', async (t) => {
  const house = await openRings(t)
  const ring = await house.open()
  const { keys } = jwksOf(ring)
  assert.equal(keys.length, 2 * TOKEN_SLOTS.length)
  const own: Record<string, string[]> = {
    EC: ['crv', 'x', 'y'],
    OKP: ['crv', 'x'],
    RSA: ['e', 'n'],
  }
  for (const key of keys) {
    const members = own[key.kty ?? ''] ?? []
    assert.deepEqual(Object.keys(key).sort(), [...members, 'alg', 'kid', 'kty', 'use'].sort())
    assert.equal(key.kid, thumbprint(key))
    assert.equal(key.use, 'sig')
  }
  const seals = (await listRows(house)).filter(({ purpose }) => purpose === 'seal')
  for (const { kid } of seals) assert.ok(!kidsOf(ring).includes(kid))
  const { etag } = ring.jwks()
  await ring.refresh()
  assert.equal(ring.jwks().etag, etag)
  assert.match(etag, /^"[\w-]{43}"$/)
})

test('before the next key was published for JWKS_CEILING nothing changes', async (t) => {
  const house = await openRings(t)
  const ring = await house.open()
  const before = await listRows(house)
  house.wait(CEILING - 1)
  await assert.rejects(ring.rotate(), (error: { extra: { members: object } }) => {
    const ready_at = addSeconds(house.clock.now, 1).toISOString()
    assert.deepEqual(error.extra.members, { ready_at })
    return isTooEarly(error)
  })
  assert.deepEqual(await listRows(house), before)
  house.wait(1)
  await ring.rotate({ purpose: 'id_jag', alg: 'RS256' })
  const between = await listRows(house)
  // One of the selected keys is too young now: the others wait with it.
  await assert.rejects(ring.rotate({ purpose: 'id_jag' }), isTooEarly)
  await assert.rejects(ring.rotate({ alg: 'RS256' }), isTooEarly)
  await assert.rejects(ring.rotate(), isTooEarly)
  assert.deepEqual(await listRows(house), between)
  await ring.rotate({ purpose: 'id_jag', alg: 'ES256' })
  await assertOneOfEach(house)
})

test('a rotation moves next to active and active to retired, and is audited', async (t) => {
  const house = await openRings(t)
  const ring = await house.open()
  house.wait(CEILING)
  const before = await listRows(house)
  const old = jwksOf(ring)
  await ring.rotate()
  await assertOneOfEach(house)
  for (const row of await listRows(house)) {
    const was = before.find(({ kid }) => kid === row.kid)?.status
    assert.equal(row.status, was === 'active' ? 'retired' : was === 'next' ? 'active' : 'next')
  }
  assert.equal(jwksOf(ring).keys.length, old.keys.length + TOKEN_SLOTS.length)
  const { kid } = await ring.sign('id_jag', 'ES256', TYP, {})
  assert.equal(before.find((row) => row.kid === kid)?.status, 'next')

  const events = await house.db.selectFrom('audit_events').selectAll().execute()
  assert.equal(events.length, KEY_SLOTS.length)
  for (const { type, detail, actor_kind } of events) {
    assert.deepEqual([type, actor_kind], ['key.rotated', 'system'])
    assert.equal(before.find((row) => row.kid === detail?.kid)?.status, 'next')
    assert.equal(before.find((row) => row.kid === detail?.retired_kid)?.status, 'active')
  }
})

test('of rotations that race, on two replicas, one wins and the rest come too early', async (t) => {
  const house = await openRings(t)
  const rings = [await house.open(), await house.open()] as const
  for (let round = 0; round < 3; round++) {
    house.wait(CEILING + MARGIN)
    const tries = [0, 1, 0, 1, 0].map((which) => rings[which as 0 | 1].rotate())
    const outcomes = await Promise.allSettled(tries)
    assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') assert.ok(isTooEarly(outcome.reason), outcome.reason)
    }
    await assertOneOfEach(house)
  }
})

test('rotations of overlapping choices that race leave one active and one next key each', async (t) => {
  const house = await openRings(t)
  const rings = [await house.open(), await house.open()] as const
  house.wait(CEILING)
  await Promise.allSettled([
    rings[0].rotate({ alg: 'ES256' }),
    rings[1].rotate({ purpose: 'id_jag' }),
    rings[0].rotate({ purpose: 'seal' }),
    rings[1].rotate(),
  ])
  await assertOneOfEach(house)
})

test('another replica learns of a rotation by itself', async (t) => {
  const house = await openRings(t, { JWKS_CEILING: '1' })
  const [here, there] = [await house.open(), await house.open()]
  house.wait(1)
  await here.rotate()
  const until = Date.now() + 10_000
  while (there.jwks().etag !== here.jwks().etag) {
    assert.ok(Date.now() < until, 'the other replica still serves the old key set')
    await pause(10)
  }
  const [mine, theirs] = await Promise.all([
    here.sign('id_jag', 'ES256', TYP, {}),
    there.sign('id_jag', 'ES256', TYP, {}),
  ])
  assert.equal(theirs.kid, mine.kid)
})

test('a replica that could not look for too long looks before it signs', async (t) => {
  const house = await openRings(t)
  const [here, there] = [await house.open(), await house.open()]
  house.wait(CEILING)
  await here.rotate()
  const { kid } = await here.sign('id_jag', 'ES256', TYP, {})
  // As after a suspended process: the interval has not run, but the time has passed.
  const { now } = performance
  const late = t.mock.method(performance, 'now', () => now.call(performance) + MARGIN * 1000 + 1)
  assert.equal((await there.sign('id_jag', 'ES256', TYP, {})).kid, kid)
  late.mock.restore()
})

test('TV-86: through all steps of a rotation every token verifies, also against old copies (IJ-03)', async (t) => {
  const house = await openRings(t)
  const [here, there] = [await house.open(), await house.open()]
  type Copy = { at: Date; set: JSONWebKeySet }
  type Minted = { jws: string; exp: Date; kid: string }
  const copies: Copy[] = []
  let tokens: Minted[] = []

  const look = async () => {
    const { now } = house.clock
    copies.push({ at: now, set: jwksOf(here) }, { at: now, set: jwksOf(there) })
    for (const ring of [here, there]) {
      for (const [purpose, alg] of [
        ['id_jag', 'ES256'],
        ['id_jag', 'RS256'],
        ['id_token', 'ES256'],
      ] as const) {
        const life = purpose === 'id_jag' ? 300 : 600
        const exp = addSeconds(now, life)
        const claims = { iat: numericDate(now), exp: numericDate(exp) }
        tokens.push({ ...(await ring.sign(purpose, alg, TYP, claims)), exp })
      }
    }
    tokens = tokens.filter(({ exp }) => exp > now)
    const usable = copies.filter(({ at }) => at >= addSeconds(now, -CEILING))
    for (const { jws } of tokens) {
      for (const { set } of usable) {
        await jwtVerify(jws, createLocalJWKSet(set), { typ: TYP, currentDate: now })
      }
    }
  }

  const [{ kid: firstKid }] = [await here.sign('id_jag', 'ES256', TYP, {})]
  await look()
  for (let rotation = 0; rotation < 3; rotation++) {
    for (const seconds of [200, CEILING - 200 - 150, 150 + MARGIN]) {
      house.wait(seconds)
      await Promise.all([here.refresh(), there.refresh()])
      await Promise.all([here.keep(), there.keep()])
      await look()
    }
    await here.rotate()
    // The other replica has not heard yet: it signs with the key that was retired just now.
    await look()
    house.wait(MARGIN / 2)
    await there.refresh()
    await look()
    house.wait(290)
    await look()
  }

  const first = (await listRows(house)).find(({ kid }) => kid === firstKid)
  assert.equal(first?.status, 'removed')
  assert.equal(first?.private_key, null)
  assert.ok(!kidsOf(here).includes(firstKid))
  assert.equal(here.verificationKey('id_jag', firstKid), undefined)
  const events = await house.db
    .selectFrom('audit_events')
    .select('detail')
    .where('type', '=', 'key.removed')
    .execute()
  const removals = events.filter(({ detail }) => detail?.kid === firstKid)
  assert.equal(removals.length, 1, 'two replicas, one removal')
})

test('a retired key verifies until its last token and copy are over, and not a second longer (DS-22)', async (t) => {
  const house = await openRings(t, { ID_TOKEN_LIFETIME: '7200' })
  const [here, there] = [await house.open(), await house.open()]
  const { kid } = await here.sign('id_jag', 'ES256', TYP, {})
  house.wait(CEILING)
  await here.rotate()
  house.wait(MARGIN + 7200 + CEILING - 1)
  await here.keep()
  assert.ok(kidsOf(here).includes(kid) && here.verificationKey('id_jag', kid))
  house.wait(1)
  await here.keep()
  await there.refresh()
  for (const ring of [here, there]) {
    assert.ok(!kidsOf(ring).includes(kid))
    assert.equal(ring.verificationKey('id_jag', kid), undefined)
  }
})

test('the private part of a retired key is gone once no replica may still sign with it (DS-27)', async (t) => {
  const house = await openRings(t)
  const ring = await house.open()
  house.wait(CEILING)
  await ring.rotate()
  const privateParts = async () =>
    (await listRows(house)).filter(({ status }) => status === 'retired').map((r) => r.private_key)
  house.wait(MARGIN - 1)
  await ring.keep()
  const before = await privateParts()
  assert.equal(before.length, KEY_SLOTS.length)
  assert.ok(before.every((part) => part?.startsWith('v1.')))
  house.wait(1)
  await ring.keep()
  assert.ok((await privateParts()).every((part) => part === null))
  await assertOneOfEach(house)
  // What signs, and what will, is as it was.
  for (const row of await listRows(house)) {
    assert.equal(row.private_key === null, row.status === 'retired')
  }
})

test('a sealing key verifies its seals when it is long removed', async (t) => {
  const house = await openRings(t)
  const ring = await house.open()
  const { jws, kid } = await ring.sign('seal', 'ES256', 'audit-seal+jwt', {})
  house.wait(CEILING)
  await ring.rotate({ purpose: 'seal' })
  house.wait(10 * 365 * 86_400)
  await ring.keep()
  assert.equal((await listRows(house)).find((row) => row.kid === kid)?.status, 'removed')
  const fresh = await house.open()
  for (const { verificationKey } of [ring, fresh]) {
    const found = verificationKey('seal', kid)
    assert.ok(found)
    await jwtVerify(jws, found.key, { currentDate: house.clock.now })
  }
})

test('a start with another key encryption key is refused in words, and changes nothing', async (t) => {
  const house = await openRings(t)
  const ring = await house.open()
  const before = await listRows(house)
  await assert.rejects(
    house.open({ keyEncryptionKeys: [randomBytes(32)] }),
    (error) => error instanceof KeyEncryptionError && /newest first/.test(error.message),
  )
  await assert.rejects(house.open({ keyEncryptionKeys: undefined }), KeyEncryptionError)
  assert.deepEqual(await listRows(house), before)

  const both = [randomBytes(32), ...(house.config.keyEncryptionKeys ?? [])]
  const renewed = await house.open({ keyEncryptionKeys: both })
  house.wait(CEILING)
  await renewed.rotate()
  // The next key is sealed anew by then; this replica has only the earlier key encryption key.
  house.wait(CEILING + MARGIN)
  await assert.rejects(ring.rotate(), KeyEncryptionError)
  await assertOneOfEach(house)
  await renewed.rotate()
  await ring.refresh()
  assert.equal(ring.ready(), false)
  await assert.rejects(ring.sign('id_jag', 'ES256', TYP, {}), /no active/)
  // Whose keys it cannot prove, it does not publish; what it knew before stays.
  const [known, all] = [kidsOf(ring), kidsOf(renewed)]
  assert.ok(known.length >= 2 * TOKEN_SLOTS.length && known.every((kid) => all.includes(kid)))
  assert.ok(house.logs.some((line) => line.includes('KEY_ENCRYPTION_KEY')))
})

test('a private key moved to another row, or a public key exchanged, stops the start', async (t) => {
  const house = await openRings(t)
  await house.open()
  const rows = await listRows(house)
  const [here, there] = rows.filter(({ status, alg }) => status === 'active' && alg === 'ES256')
  assert.ok(here && there)
  const set = (kid: string, change: object) =>
    house.db.updateTable('signing_keys').set(change).where('kid', '=', kid).execute()

  await set(here.kid, { private_key: there.private_key })
  await assert.rejects(house.open(), KeyEncryptionError)
  await set(here.kid, { private_key: here.private_key })
  await set(here.kid, { public_jwk: JSON.stringify(there.public_jwk) })
  await assert.rejects(house.open(), /not the one it was made with/)
  await set(here.kid, { public_jwk: JSON.stringify(here.public_jwk) })
  await house.open()
})

test('no private key is in a log, an error or the key set', async (t) => {
  const house = await openRings(t)
  const ring = await house.open()
  house.wait(CEILING)
  await ring.rotate()
  const told = house.logs.join('\n') + ring.jwks().body
  for (const { private_key } of await listRows(house)) {
    assert.ok(!told.includes(private_key ?? '-'))
    assert.throws(() => createPrivateKey(private_key ?? ''))
  }
  assert.doesNotMatch(ring.jwks().body, /"(d|p|q|dp|dq|qi|k)":/)
})

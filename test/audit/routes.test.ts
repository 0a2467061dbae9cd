import assert from 'node:assert/strict'
import { test } from 'node:test'
import { recordEvent } from '../../src/audit/record.ts'
import { newId } from '../../src/db/ids.ts'
import { openLog } from './log.ts'

test('issuances are listed newest first, page by page, without what only the sealer needs', async (t) => {
  const log = await openLog(t)
  const jtis: string[] = []
  for (let n = 0; n < 5; n++) {
    jtis.unshift(await log.issue())
    log.wait(1)
  }
  const seen: string[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const { status, body } = await log.admin(
      'GET',
      `/issuances?limit=2${cursor && `&cursor=${cursor}`}`,
    )
    assert.equal(status, 200)
    seen.push(...body.data.map(({ jti }: { jti: string }) => jti))
    cursor = body.next_cursor
  }
  assert.deepEqual(seen, jtis)

  const { body } = await log.admin('GET', `/issuances?jti=${jtis[1]}`)
  assert.equal(body.data.length, 1)
  const [row] = body.data
  assert.deepEqual(row.scopes, ['contacts.read', 'contacts.write'])
  assert.equal(row.at, new Date(row.at).toISOString())
  assert.equal(row.credential_id, null)
  assert.equal('xid' in row || 'cluster' in row, false)
})

test('a span holds its beginning and not its end', async (t) => {
  const log = await openLog(t)
  const start = log.deps.now()
  const at = (seconds: number) =>
    encodeURIComponent(new Date(start.getTime() + seconds * 1000).toISOString())
  const jtis: string[] = []
  for (let n = 0; n < 4; n++) {
    jtis.push(await log.issue())
    await log.happen()
    log.wait(1)
  }
  const { body } = await log.admin('GET', `/issuances?from=${at(1)}&to=${at(3)}`)
  assert.deepEqual(
    body.data.map(({ jti }: { jti: string }) => jti),
    [jtis[2], jtis[1]],
  )
  const events = await log.admin(
    'GET',
    `/audit-events?type=agent.suspended&from=${at(1)}&to=${at(3)}`,
  )
  assert.equal(events.body.data.length, 2)
  const offset = encodeURIComponent(start.toISOString().replace('Z', '+02:00'))
  assert.equal((await log.admin('GET', `/issuances?to=${offset}`)).body.data.length, 0)
})

test('events are found by whom they are about, by type and by jti', async (t) => {
  const log = await openLog(t)
  const about = {
    agent_id: newId('agt'),
    user_id: newId('usr'),
    audience_id: newId('aud'),
    jti: 'some-jti',
  }
  await recordEvent(log.deps.db, {
    type: 'exchange.refused',
    at: log.deps.now(),
    actor: { kind: 'agent', id: about.agent_id },
    ...about,
    error: 'invalid_target',
    reason: 'no_entitlement',
    detail: { audience: { alias: true }, tries: 2 },
  })
  await log.happen(3)
  for (const [name, value] of Object.entries({ ...about, type: 'exchange.refused' })) {
    const { body } = await log.admin('GET', `/audit-events?${name}=${value}`)
    assert.equal(body.data.length, 1, name)
    const [event] = body.data
    assert.equal(event.reason, 'no_entitlement')
    assert.deepEqual(event.detail, { audience: { alias: true }, tries: 2 })
    assert.equal('xid' in event || 'cluster' in event, false)
    const other = await log.admin('GET', `/audit-events?${name}=${value}x`)
    assert.deepEqual(other.body, { data: [], next_cursor: null })
  }
})

test('the verdict is told over HTTP, and its head can be given back', async (t) => {
  const log = await openLog(t)
  await log.happen(2)
  await log.seal()
  await log.happen()
  const { status, body } = await log.admin('GET', '/audit-events/verify')
  assert.equal(status, 200)
  const { position, hash } = body.sealed_through
  assert.deepEqual(body, {
    ok: true,
    sealed_through: { position: 1, at: log.deps.now().toISOString(), hash },
    unsealed: 1,
  })
  for (const head of [hash, hash.toUpperCase(), `${position}:${hash}`]) {
    assert.equal((await log.admin('GET', `/audit-events/verify?head=${head}`)).body.ok, true)
  }
  const gone = await log.admin('GET', `/audit-events/verify?head=7:${hash}`)
  assert.deepEqual(gone.body.broken, { table: 'seals', id: `7:${hash}`, kind: 'missing' })

  const empty = await (await openLog(t)).admin('GET', '/audit-events/verify')
  assert.deepEqual(empty.body, { ok: true, sealed_through: null, unsealed: 0 })
})

test('what is no head, no cursor, no instant and no filter is refused by name', async (t) => {
  const log = await openLog(t)
  await log.happen()
  const { body: page } = await log.admin('GET', '/audit-events?limit=1')
  for (const [path, pointer] of [
    ['/audit-events/verify?head=', '/head'],
    ['/audit-events/verify?head=abc', '/head'],
    [`/audit-events/verify?head=0:${'a'.repeat(64)}`, '/head'],
    [`/audit-events/verify?head=${'g'.repeat(64)}`, '/head'],
    [`/audit-events/verify?head=${'a'.repeat(64)}&head=${'b'.repeat(64)}`, '/head'],
    ['/audit-events?cursor=%20', '/cursor'],
    ['/seals?cursor=ZXZ0X2E', '/cursor'],
    ['/audit-events?from=yesterday', '/from'],
    ['/issuances?to=2026-02-30T00:00:00Z', '/to'],
    ['/issuances?type=exchange.refused', '/type'],
    ['/issuances?limit=201', '/limit'],
  ]) {
    const { status, body } = await log.admin('GET', path as string)
    assert.equal(status, 422, path)
    assert.equal(body.type, '/problems/validation_failed')
    assert.equal(body.errors[0].pointer, pointer, path)
  }
  assert.equal(page.next_cursor, null)
})

test('the heads are listed, newest first, with what it takes to check them elsewhere', async (t) => {
  const log = await openLog(t)
  for (let n = 0; n < 3; n++) {
    await log.happen()
    await log.seal()
  }
  const { body: first } = await log.admin('GET', '/seals?limit=2')
  const { body: second } = await log.admin('GET', `/seals?limit=2&cursor=${first.next_cursor}`)
  const seals = [...first.data, ...second.data]
  assert.deepEqual(
    seals.map(({ position }) => position),
    [3, 2, 1],
  )
  assert.equal(seals[0].previous_hash, seals[1].hash)
  assert.equal(seals[2].previous_hash, '0'.repeat(64))
  assert.equal(second.next_cursor, null)
})

test('reading the log takes audit:read', async (t) => {
  const log = await openLog(t)
  const make = async (scopes: string[]) => {
    const expires_at = new Date(log.deps.now().getTime() + 3600_000).toISOString()
    const { body } = await log.admin('POST', '/admin-keys', { name: 'Auditor', scopes, expires_at })
    return { authorization: `Bearer ${body.key}` }
  }
  const [auditor, other] = [await make(['audit:read']), await make(['users:read'])]
  for (const path of ['/issuances', '/audit-events', '/audit-events/verify', '/seals']) {
    assert.equal((await log.admin('GET', path, undefined, auditor)).status, 200)
    assert.equal((await log.admin('GET', path, undefined, other)).status, 403)
  }
})

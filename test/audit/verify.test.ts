import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { type Kysely, sql } from 'kysely'
import { NO_HASH, type SealContent, type SealHead, sealHash } from '../../src/audit/chain.ts'
import { merkleRoot } from '../../src/audit/merkle.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import type { Tables } from '../../src/db/tables.ts'
import { signJws } from '../../src/oauth/jws.ts'
import { insertForeignKey } from '../support/foreign-key.ts'
import { asLesserRole } from '../support/lesser-role.ts'
import { type Log, openLog } from './log.ts'

/** Five seals of three rows each, and a row that no seal closes yet. */
async function openSealed(t: TestContext) {
  const log = await openLog(t)
  const rows: string[] = []
  for (let n = 0; n < 5; n++) {
    rows.push(...(await log.happen(2)))
    await log.issue()
    await log.seal()
    log.wait(1)
  }
  await log.happen()
  const { ok, sealed_through, unsealed } = await log.verify()
  assert.deepEqual(
    { ok, unsealed, position: sealed_through?.position },
    { ok: true, unsealed: 1, position: 5 },
  )
  return { ...log, rows, head: sealed_through ?? assert.fail() }
}

const broken = async (log: Log, known?: Parameters<Log['verify']>[0]) => {
  const verdict = await log.verify(known)
  assert.equal(verdict.ok, false)
  return verdict.broken
}

test('a changed row shows, whichever member was changed', async (t) => {
  const log = await openSealed(t)
  const id = log.rows[4]
  for (const change of [
    `reason = 'no_delegation'`,
    `at = at + interval '1 millisecond'`,
    `agent_id = null`,
    `detail = '{}'`,
    `detail = '{"before": 1}'`,
    `xid = xid - 1`,
    `cluster = cluster + 1`,
    `tenant_id = 'ten_other'`,
  ]) {
    await log.tamper(`create table kept as select * from audit_events where id = '${id}'`)
    await log.tamper(`update audit_events set ${change} where id = '${id}'`)
    assert.deepEqual(await broken(log), { table: 'audit_events', id, kind: 'changed' }, change)
    await log.tamper(`delete from audit_events where id = '${id}'`)
    await log.tamper(`insert into audit_events select * from kept`)
    await log.tamper('drop table kept')
    assert.equal((await log.verify()).ok, true)
  }
})

test('a changed issuance shows, and what stands before it is told', async (t) => {
  const log = await openSealed(t)
  const { jti } = await log.deps.db
    .selectFrom('issuances')
    .select('jti')
    .orderBy('jti')
    .offset(2)
    .limit(1)
    .executeTakeFirstOrThrow()
  await log.tamper(`update issuances set scopes = '{contacts.read}' where jti = '${jti}'`)
  const verdict = await log.verify()
  assert.deepEqual(verdict.broken, { table: 'issuances', id: jti, kind: 'changed' })
  assert.equal(verdict.sealed_through?.position, 2)
})

test('a missing row shows', async (t) => {
  const log = await openSealed(t)
  await log.tamper(`delete from audit_events where id = '${log.rows[7]}'`)
  assert.deepEqual(await broken(log), { table: 'audit_events', id: log.rows[7], kind: 'missing' })
})

test('a row under a new id shows, as the one that is missing', async (t) => {
  const log = await openSealed(t)
  await log.tamper(`update audit_events set id = 'evt_0' where id = '${log.rows[0]}'`)
  assert.deepEqual(await broken(log), { table: 'audit_events', id: log.rows[0], kind: 'missing' })
})

test('a row that claims an older transaction shows as inserted, in every seal', async (t) => {
  const log = await openSealed(t)
  const { rows } = await sql<{ xid: string }>`select xid from audit_events order by xid`.execute(
    log.deps.db,
  )
  for (const { xid } of [...rows.slice(0, -1), { xid: '3' }]) {
    await log.tamper(`insert into audit_events (id, at, type, actor_kind, xid)
      values ('evt_slipped', now(), 'agent.approved', 'admin', ${xid})`)
    const inserted = { table: 'audit_events', id: 'evt_slipped', kind: 'inserted' }
    assert.deepEqual(await broken(log), inserted, `in transaction ${xid}`)
    await log.tamper(`delete from audit_events where id = 'evt_slipped'`)
  }
})

test('a row that claims a cluster the log never lived in shows as inserted', async (t) => {
  const log = await openSealed(t)
  await log.tamper(`insert into audit_events (id, at, type, actor_kind, cluster)
    values ('evt_slipped', now(), 'agent.approved', 'admin', 7)`)
  assert.deepEqual(await broken(log), {
    table: 'audit_events',
    id: 'evt_slipped',
    kind: 'inserted',
  })
})

test('what a writer adds in a transaction of today is sealed as new', async (t) => {
  const log = await openSealed(t)
  await sql`insert into audit_events (id, at, type, actor_kind)
    values ('evt_000000000000old', '2020-01-01', 'agent.approved', 'admin')`.execute(log.deps.db)
  await log.seal()
  assert.deepEqual(await log.verify().then(({ ok, unsealed }) => ({ ok, unsealed })), {
    ok: true,
    unsealed: 0,
  })
})

test('a row that an honest seal closes cannot be moved to another table', async (t) => {
  const log = await openSealed(t)
  await log.tamper(`update seals set row_tables = array_replace(row_tables, 'issuances', 'audit_events')
    where position = 2`)
  assert.equal((await broken(log))?.kind, 'missing')
})

const ALTERATIONS = [
  ['position', 'position = 9'],
  ['instant', `at = at + interval '1 second'`],
  ['instant beyond all time', `at = 'infinity'`],
  ['snapshot', `snapshot = '1:1:'`],
  ['snapshot that is none', `snapshot = 'everything'`],
  ['cluster', 'cluster = 1'],
  ['previous hash', `previous_hash = decode(repeat('ab', 32), 'hex')`],
  ['root', `root = decode(repeat('ab', 32), 'hex')`],
  ['hash', `hash = decode(repeat('ab', 32), 'hex')`],
  ['leaves', `leaves = set_byte(leaves, 33, get_byte(leaves, 33) # 1)`],
  ['signature', `signature = overlay(signature placing 'AAAA' from length(signature) - 10)`],
  ['signature that is none', `signature = 'x'`],
  [
    'payload',
    `signature = split_part(signature, '.', 1) || '.e30.' || split_part(signature, '.', 3)`,
  ],
  [
    'key',
    `kid = (select kid from signing_keys where purpose = 'id_jag' and alg = 'ES256' limit 1)`,
  ],
] as const

test('whatever is altered in a seal shows, in the middle of the chain and at its end', async (t) => {
  const log = await openSealed(t)
  await log.tamper('create table kept as select * from seals')
  for (const position of [3, 5]) {
    for (const [what, change] of ALTERATIONS) {
      await log.tamper(`update seals set ${change} where position = ${position}`)
      const verdict = await log.verify()
      const kind = what === 'position' ? 'missing' : 'changed'
      assert.deepEqual(verdict.broken, { table: 'seals', id: String(position), kind }, what)
      assert.equal(verdict.sealed_through?.position, position - 1)
      await log.tamper('delete from seals where position >= 3')
      await log.tamper('insert into seals select * from kept where position >= 3')
    }
  }
  assert.equal((await log.verify()).ok, true)
})

test('a member taken from a seal together with its row shows', async (t) => {
  const log = await openSealed(t)
  await log.tamper(`delete from audit_events where id = '${log.rows[2]}'`)
  await log.tamper(`update seals set row_count = 2, row_ids = row_ids[2:3], row_tables = row_tables[2:3],
    leaves = substring(leaves from 33) where position = 2`)
  assert.deepEqual(await broken(log), { table: 'seals', id: '2', kind: 'changed' })
})

test('a seal taken from the middle shows, and so do two that changed places', async (t) => {
  const log = await openSealed(t)
  await log.tamper('create table kept as select * from seals')
  await log.tamper('delete from seals where position = 3')
  assert.deepEqual(await broken(log), { table: 'seals', id: '3', kind: 'missing' })
  await log.tamper('insert into seals select * from kept where position = 3')
  await log.tamper('update seals set position = 7 - position + 100 where position in (3, 4)')
  await log.tamper('update seals set position = position - 100 where position > 100')
  assert.deepEqual(await broken(log), { table: 'seals', id: '3', kind: 'changed' })
})

test('the first seals cut away show', async (t) => {
  const log = await openSealed(t)
  await log.tamper('delete from seals where position <= 2')
  assert.deepEqual(await broken(log), { table: 'seals', id: '1', kind: 'missing' })
})

test('a cut tail shows to whoever kept a head, and not without one', async (t) => {
  const log = await openSealed(t)
  const { head } = log
  const known = { hash: head.hash, position: 5 }
  assert.equal((await log.verify(known)).ok, true)
  assert.equal((await log.verify({ hash: head.hash })).ok, true)

  const { xid } = await log.deps.db
    .selectFrom('audit_events')
    .select('xid')
    .where('id', '=', log.rows.at(-2) as string)
    .executeTakeFirstOrThrow()
  await log.tamper('delete from seals where position = 5')
  await log.tamper(`delete from issuances where xid >= ${xid}`)
  await log.tamper(`delete from audit_events where xid >= ${xid}`)
  assert.equal((await log.verify()).ok, true)
  assert.deepEqual(await broken(log, known), {
    table: 'seals',
    id: `5:${head.hash}`,
    kind: 'missing',
  })
  assert.deepEqual(await broken(log, { hash: head.hash }), {
    table: 'seals',
    id: head.hash,
    kind: 'missing',
  })

  // Sealing on does not hide it.
  await log.happen(3)
  await log.seal()
  assert.equal((await log.verify()).ok, true)
  assert.equal((await broken(log, known))?.kind, 'missing')
})

test('a known head of another place is missing', async (t) => {
  const log = await openSealed(t)
  const verdict = await log.verify({ hash: log.head.hash, position: 4 })
  assert.deepEqual(verdict.broken, { table: 'seals', id: `4:${log.head.hash}`, kind: 'missing' })
})

test('a chain written anew shows by its keys, or by a head that somebody kept', async (t) => {
  const log = await openSealed(t)
  const forge = async (kid: string, sign: (content: SealContent) => Promise<string> | string) => {
    const seals = await log.deps.db.selectFrom('seals').selectAll().orderBy('position').execute()
    let previous = NO_HASH
    for (const seal of seals) {
      const content: SealContent = {
        position: Number(seal.position),
        at: new Date(0).toISOString(),
        snapshot: seal.snapshot,
        cluster: seal.cluster,
        previous_hash: previous,
        root: seal.root.toString('hex'),
        row_count: seal.row_count,
      }
      previous = sealHash(content)
      await log.tamper(`update seals set at = '${content.at}', kid = '${kid}', signature = '${await sign(content)}',
        previous_hash = decode('${content.previous_hash}', 'hex'), hash = decode('${previous}', 'hex')
        where position = ${seal.position}`)
    }
  }
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { kid } = await log.deps.keys.sign('seal', 'ES256', 'x', {})
  await forge(kid, (content) =>
    signJws({ typ: 'audit-seal+jwt', kid }, content, 'ES256', privateKey),
  )
  assert.deepEqual(
    await broken(log),
    { table: 'seals', id: '1', kind: 'changed' },
    'a key of their own',
  )

  const other = await log.deps.keys.sign('id_jag', 'ES256', 'x', {})
  await forge(other.kid, async (content) => {
    const { jws } = await log.deps.keys.sign('id_jag', 'ES256', 'audit-seal+jwt', content)
    return jws
  })
  assert.deepEqual(await broken(log), { table: 'seals', id: '1', kind: 'changed' }, 'an ID-JAG key')

  await forge(
    kid,
    async (content) => (await log.deps.keys.sign('seal', 'ES256', 'JWT', content)).jws,
  )
  assert.deepEqual(
    await broken(log),
    { table: 'seals', id: '1', kind: 'changed' },
    'another kind of token',
  )

  await forge(kid, async (content) => {
    return (await log.deps.keys.sign('seal', 'ES256', 'audit-seal+jwt', content)).jws
  })
  assert.equal((await log.verify()).ok, true, 'with the seal key itself nothing inside can tell')
  assert.equal((await broken(log, { hash: log.head.hash }))?.kind, 'missing')
})

test('seals stand when their key was rotated away and removed', async (t) => {
  const log = await openSealed(t)
  await sql`update signing_keys set status = 'removed', private_key = null, removed_at = now()
    where purpose = 'seal'`.execute(log.deps.db)
  assert.equal((await log.verify()).ok, true)
  await log.deps.keys.refresh()
  assert.equal((await log.verify()).ok, true)
})

type SignSeal = (content: SealContent) => Promise<{ kid: string; jws: string }>

/** The next seal of the chain, over the event `evt_forged` alone, made of nothing but inserts. */
async function forgeSeal(db: Kysely<Tables>, head: SealHead, signSeal: SignSeal): Promise<void> {
  await db.transaction().execute(async (tx) => {
    await sql`set local timezone = 'UTC'`.execute(tx)
    const { rows } = await sql<{ leaf: Buffer; snapshot: string; cluster: string }>`
      select sha256('\\x00'::bytea || convert_to(concat_ws(chr(10), 'audit_events',
          jsonb_strip_nulls(to_jsonb(r))::text, r.detail::text), 'UTF8')) as leaf,
        pg_current_snapshot()::text as snapshot, r.cluster
      from audit_events r where id = 'evt_forged'`.execute(tx)
    const [row] = rows
    assert.ok(row)
    const content: SealContent = {
      position: head.position + 1,
      at: head.at.toISOString(),
      snapshot: row.snapshot,
      cluster: row.cluster,
      previous_hash: head.hash,
      root: merkleRoot(row.leaf).toString('hex'),
      row_count: 1,
    }
    const { kid, jws } = await signSeal(content)
    await tx
      .insertInto('seals')
      .values({
        ...content,
        position: String(content.position),
        at: head.at,
        previous_hash: Buffer.from(content.previous_hash, 'hex'),
        root: Buffer.from(content.root, 'hex'),
        row_tables: ['audit_events'],
        row_ids: ['evt_forged'],
        leaves: row.leaf,
        kid,
        signature: jws,
        hash: Buffer.from(sealHash(content), 'hex'),
      })
      .execute()
  })
}

/** Inserts a key of somebody's own as one that sealed once, and signs by it. */
const byForeignKey =
  (db: Kysely<Tables>): SignSeal =>
  async (content) => {
    const { kid, privateKey } = await insertForeignKey(db, { purpose: 'seal', status: 'removed' })
    return { kid, jws: signJws({ typ: 'audit-seal+jwt', kid }, content, 'ES256', privateKey) }
  }

const sealAll = async (log: Log): Promise<SealHead> => {
  await log.seal()
  const { sealed_through } = await log.verify()
  return sealed_through ?? assert.fail()
}

test('a seal key that somebody inserted seals nothing', async (t) => {
  const log = await openSealed(t)
  const head = await sealAll(log)
  await asLesserRole(log.deps, async (lesser) => {
    await sql`insert into audit_events (id, at, type, actor_kind)
      values ('evt_forged', '2020-01-01', 'agent.approved', 'admin')`.execute(lesser)
    await forgeSeal(lesser, head, byForeignKey(lesser))
  })
  await log.deps.keys.refresh()
  for (const known of [undefined, head]) {
    assert.deepEqual(await broken(log, known), { table: 'seals', id: '7', kind: 'changed' })
  }
})

const SLIPPED_IN = sql`insert into audit_events (id, at, type, actor_kind, xid)
  select 'evt_forged', at, 'agent.approved', 'admin', xid from audit_events order by xid limit 1`

test('nor does it hide a row that claims an older transaction', async (t) => {
  const log = await openSealed(t)
  const head = await sealAll(log)
  const { db } = log.deps
  await SLIPPED_IN.execute(db)
  await forgeSeal(db, head, byForeignKey(db))
  for (const known of [undefined, head]) {
    const { broken } = await verifyLog(log.deps, known)
    assert.deepEqual(broken, { table: 'seals', id: '7', kind: 'changed' })
  }
})

test('a row that claims an older transaction shows also under a later seal, by our own key', async (t) => {
  const log = await openSealed(t)
  const head = await sealAll(log)
  const { db, keys } = log.deps
  await SLIPPED_IN.execute(db)
  await forgeSeal(db, head, (content) => keys.sign('seal', 'ES256', 'audit-seal+jwt', content))
  const { broken } = await verifyLog(log.deps)
  assert.deepEqual(broken, { table: 'audit_events', id: 'evt_forged', kind: 'inserted' })
})

test('the tables refuse update, delete and truncate', async (t) => {
  const log = await openSealed(t)
  for (const table of ['issuances', 'audit_events', 'seals']) {
    for (const statement of [
      `update ${table} set at = now()`,
      `update ${table} set at = at`,
      `delete from ${table}`,
      `truncate ${table}`,
    ]) {
      await assert.rejects(sql.raw(statement).execute(log.deps.db), { code: '42501' }, statement)
    }
  }
  assert.equal((await log.verify()).ok, true)
})

test('two seals cannot follow one', async (t) => {
  const log = await openSealed(t)
  await assert.rejects(
    sql`insert into seals select 6, tenant_id, at, snapshot, cluster, previous_hash, root, row_count, row_tables,
      row_ids, leaves, kid, signature, sha256(hash) from seals where position = 5`.execute(
      log.deps.db,
    ),
    { code: '23505' },
  )
})

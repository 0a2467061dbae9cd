import { sql } from 'kysely'
import { recordEvent } from '../../src/audit/record.ts'
import { seal } from '../../src/audit/seal.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import { newId, newTimeOrderedId } from '../../src/db/ids.ts'
import type { Db } from '../../src/db/tables.ts'
import { type House, openHouse } from '../support/house.ts'

export type Log = House & {
  /** So many events, each committed by itself; their ids. */
  happen(count?: number): Promise<string[]>
  issue(): Promise<string>
  seal(mostRows?: number): ReturnType<typeof seal>
  verify(known?: Parameters<typeof verifyLog>[1]): ReturnType<typeof verifyLog>
  /** A statement by somebody who may switch the triggers off. */
  tamper(statement: string): Promise<void>
}

export async function openLog(t: Parameters<typeof openHouse>[0]): Promise<Log> {
  const house = await openHouse(t)
  const { deps } = house
  return {
    ...house,
    happen: async (count = 1) => {
      const ids: string[] = []
      for (let n = 0; n < count; n++) ids.push(await writeEvent(deps.db, deps.now()))
      return ids
    },
    issue: () => writeIssuance(deps.db, deps.now()),
    seal: (mostRows) => seal(deps, mostRows),
    verify: (known) => verifyLog(deps, known, { seals: 3, rows: 5 }),
    tamper: async (statement) => {
      await deps.db.transaction().execute(async (tx) => {
        for (const table of ['issuances', 'audit_events', 'seals']) {
          await sql`alter table ${sql.table(table)} disable trigger user`.execute(tx)
        }
        await sql.raw(statement).execute(tx)
        for (const table of ['issuances', 'audit_events', 'seals']) {
          await sql`alter table ${sql.table(table)} enable trigger user`.execute(tx)
        }
      })
    },
  }
}

export async function writeEvent(db: Db, at: Date): Promise<string> {
  await recordEvent(db, {
    type: 'agent.suspended',
    at,
    actor: { kind: 'admin', id: newId('adm') },
    agent_id: newId('agt'),
    detail: { before: null },
  })
  const { id } = await db
    .selectFrom('audit_events')
    .select('id')
    .orderBy(sql`xid desc`)
    .limit(1)
    .executeTakeFirstOrThrow()
  return id
}

export async function writeIssuance(db: Db, at: Date): Promise<string> {
  const { jti } = await db
    .insertInto('issuances')
    .values({
      jti: newTimeOrderedId('', at),
      at,
      agent_id: newId('agt'),
      owner_id: newId('usr'),
      user_id: newId('usr'),
      audience_id: newId('aud'),
      delegation_id: newId('dlg'),
      session_id: newId('ses'),
      resources: ['https://api.crm.example/'],
      scopes: ['contacts.read', 'contacts.write'],
      kid: 'k'.repeat(43),
      auth_time: at,
      expires_at: new Date(at.getTime() + 300_000),
    })
    .returning('jti')
    .executeTakeFirstOrThrow()
  return jti
}

/** Every row under a seal, by table and id, in no order. */
export async function listSealed(db: Db): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select m."table" || ' ' || m.id as name
    from seals s cross join lateral unnest(s.row_tables, s.row_ids) m("table", id)`.execute(db)
  return rows.map(({ name }) => name).sort()
}

export async function listRows(db: Db): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select 'issuances ' || jti as name from issuances
    union all select 'audit_events ' || id from audit_events`.execute(db)
  return rows.map(({ name }) => name).sort()
}

import { sql } from 'kysely'
import type { Db } from '../db/tables.ts'

export type Subject = { audience_id: string; sub: string; user_id: string }

/**
 * Whom the audiences of a tenant may know: each `sub` that a delegation was ever made for there, whatever became
 * of it and whether or not anything was minted. A page, in one order; `after` is the last of the page before.
 */
export async function listSubjects(
  db: Db,
  { tenant_id, after, limit }: { tenant_id: string; after: Subject | undefined; limit: number },
): Promise<Subject[]> {
  const { rows } = await sql<Subject>`
    select distinct on (audience_id, sub_asserted) audience_id, sub_asserted as sub, user_id
    from delegations
    where tenant_id = ${tenant_id}
      and (audience_id, sub_asserted) > (${after?.audience_id ?? ''}, ${after?.sub ?? ''})
    order by audience_id, sub_asserted, id limit ${limit}`.execute(db)
  return rows
}

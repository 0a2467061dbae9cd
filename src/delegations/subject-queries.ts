import { sql, type Transaction } from 'kysely'
import type { Tables } from '../db/tables.ts'

type Tx = Transaction<Tables>

export type Subject = { audience_id: string; sub: string; user_id: string }

/**
 * Opens a cursor over whom the audiences of a tenant may know: each `sub` that a delegation was ever made for
 * there, whatever became of it and whether or not anything was minted.
 */
export async function openSubjects(tx: Tx, tenantId: string): Promise<void> {
  await sql`declare subjects no scroll cursor for
    select distinct on (audience_id, sub_asserted) audience_id, sub_asserted as sub, user_id
    from delegations where tenant_id = ${tenantId}
    order by audience_id, sub_asserted, id`.execute(tx)
}

/** None: these were all of them. */
export async function fetchSubjects(tx: Tx, most: number): Promise<Subject[]> {
  const { rows } = await sql<Subject>`fetch ${sql.lit(most)} from subjects`.execute(tx)
  return rows
}

export async function closeSubjects(tx: Tx): Promise<void> {
  await sql`close subjects`.execute(tx)
}

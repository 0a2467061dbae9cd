import { sql } from 'kysely'
import type { Db } from '../db/tables.ts'

/**
 * Lets the registrations of names in a tenant come one by one, to the end of the transaction. An alias and
 * an issuer stand in two tables: no index keeps one name from becoming both at once.
 */
export async function holdNames(tx: Db, tenantId: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`audience names ${tenantId}`}, 0))`.execute(
    tx,
  )
}

export async function listAliases(db: Db, audienceId: string): Promise<string[]> {
  const rows = await db
    .selectFrom('audience_aliases')
    .select('alias')
    .where('audience_id', '=', audienceId)
    .execute()
  return rows.map(({ alias }) => alias).sort()
}

/** Of these names, those that are aliases in the tenant. */
export async function findAliases(
  db: Db,
  { tenant_id, names }: { tenant_id: string; names: string[] },
): Promise<string[]> {
  const rows = await db
    .selectFrom('audience_aliases')
    .select('alias')
    .where('tenant_id', '=', tenant_id)
    .where('alias', 'in', names)
    .execute()
  return rows.map(({ alias }) => alias)
}

/** Of these names, those that are the issuers of live audiences in the tenant, this one apart. */
export async function findIssuersOfOthers(
  db: Db,
  { id, tenant_id, names }: { id: string; tenant_id: string; names: string[] },
): Promise<string[]> {
  const rows = await db
    .selectFrom('audiences')
    .select('issuer')
    .where('tenant_id', '=', tenant_id)
    .where('status', '<>', 'retired')
    .where('id', '<>', id)
    .where('issuer', 'in', names)
    .execute()
  return rows.map(({ issuer }) => issuer)
}

/** Returns those that were free. */
export async function insertAliases(
  tx: Db,
  { id, tenant_id }: { id: string; tenant_id: string },
  aliases: readonly string[],
): Promise<string[]> {
  const rows = await tx
    .insertInto('audience_aliases')
    .values(aliases.map((alias) => ({ tenant_id, alias, audience_id: id })))
    .onConflict((conflict) => conflict.columns(['tenant_id', 'alias']).doNothing())
    .returning('alias')
    .execute()
  return rows.map(({ alias }) => alias)
}

export async function deleteAliases(tx: Db, audienceId: string): Promise<void> {
  await tx.deleteFrom('audience_aliases').where('audience_id', '=', audienceId).execute()
}

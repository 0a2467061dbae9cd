import type { Db } from './tables.ts'

// For what is made in a tenant, or ends in it: a foreign key would come for its row after other rows, against
// the order of locks.

/** Keeps a tenant from being suspended until the transaction ends. False if there is none such. */
export async function holdTenant(tx: Db, id: string): Promise<boolean> {
  const row = await tx
    .selectFrom('tenants')
    .select('id')
    .where('id', '=', id)
    .forKeyShare()
    .executeTakeFirst()
  return row !== undefined
}

/** The same of the tenant that a record is in. */
export async function holdTenantOf(
  tx: Db,
  table: 'agents' | 'users' | 'audiences',
  id: string,
): Promise<void> {
  await tx
    .selectFrom('tenants')
    .select('id')
    .where('id', '=', (eb) => eb.selectFrom(table).select('tenant_id').where('id', '=', id))
    .forKeyShare()
    .execute()
}

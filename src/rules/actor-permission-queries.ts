import { type SqlBool, sql, type Transaction } from 'kysely'
import type { Tables } from '../db/tables.ts'

/** Ends what permits these agents to act for others, or any in a tenant, in the order of the ids. */
export function endPermissionsOfActors(
  tx: Transaction<Tables>,
  { of, at }: { of: { actor_ids: readonly string[] } | { tenant_id: string }; at: Date },
) {
  const reach =
    'tenant_id' in of
      ? sql<SqlBool>`tenant_id = ${of.tenant_id}`
      : sql<SqlBool>`actor_id = any(${of.actor_ids}::text[])`
  return tx
    .updateTable('actor_permissions')
    .set({ ended_at: at })
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('actor_permissions')
        .select('id')
        .where('ended_at', 'is', null)
        .where(reach)
        .orderBy('id')
        .forUpdate(),
    )
    .returning(['id', 'tenant_id', 'agent_id', 'actor_id', 'user_id', 'audience_id'])
    .execute()
}

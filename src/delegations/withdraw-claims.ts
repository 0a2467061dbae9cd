import { type SqlBool, sql, type Transaction } from 'kysely'
import type { Tables } from '../db/tables.ts'

/**
 * Takes these claims back from what a user allowed at auth.md audiences, for the user whose row the caller
 * holds. The delegation lives on; the exchange that would tell one of them asks the user first. What an
 * administrator or an entitlement allowed stays as it is.
 */
export const withdrawClaims = (
  tx: Transaction<Tables>,
  { user_id, claims }: { user_id: string; claims: readonly string[] },
) =>
  tx
    .updateTable('delegations')
    .set({
      claims: sql<string[]>`array(
        select kept from unnest(delegations.claims) with ordinality as told(kept, at)
        where kept <> all(${claims}::text[]) order by at)`,
    })
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('delegations as live')
        .innerJoin('audiences', 'audiences.id', 'live.audience_id')
        .select('live.id')
        .where('live.user_id', '=', user_id)
        .where('live.status', '=', 'active')
        .where('live.source', '=', 'user')
        .where(sql<SqlBool>`audiences.profile like 'authmd-%' and live.claims && ${claims}::text[]`)
        .orderBy('live.id')
        .forUpdate('live'),
    )
    .returning(['id', 'tenant_id', 'user_id', 'agent_id', 'audience_id'])
    .execute()

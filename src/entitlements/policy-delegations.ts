/**
 * Another room's table, because it must be one commit with the entitlement: a policy delegation is nothing
 * but the entitlement applied to one user. Left as it was, it would go on granting what the administrator
 * has just taken away, or keep from a user what was just added.
 */
import type { Db, Row } from '../db/tables.ts'

type Pair = { agent_id: string; audience_id: string }

/** The live policy delegations of a pair, locked in the order of their ids. */
function live(db: Db, of: Pair) {
  return db
    .selectFrom('delegations')
    .select('id')
    .where((eb) => eb.and({ ...of, source: 'policy', status: 'active' }))
    .orderBy('id')
    .forUpdate()
}

/** Gives them scopes, resources and end of the entitlement as it now is. What has run out stays so. */
export async function followEntitlement(
  db: Db,
  { agent_id, audience_id, scopes, resources, expires_at }: Row<'entitlements'>,
  now: Date,
): Promise<void> {
  await db
    .updateTable('delegations')
    .set({ scopes, resources, expires_at })
    .where('id', 'in', live(db, { agent_id, audience_id }))
    .where((eb) => eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', now)]))
    .execute()
}

/** Ends them: from now on the users are asked. */
export function endPolicyDelegations(
  db: Db,
  of: Pair,
  now: Date,
): Promise<Pick<Row<'delegations'>, 'id' | 'user_id'>[]> {
  return db
    .updateTable('delegations')
    .set({ status: 'revoked', revoked_at: now, end_reason: 'admin' })
    .where('id', 'in', live(db, of))
    .returning(['id', 'user_id'])
    .execute()
}

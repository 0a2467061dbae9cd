import type { Db } from '../db/tables.ts'
import type { Triple } from './lock.ts'

/**
 * Whether no policy delegation of the three may be made under an entitlement of that time: after a revocation
 * of this user, or of what there was between them.
 */
export const isPolicyStopped = async (db: Db, of: Triple, since: Date): Promise<boolean> =>
  (await findPolicyBar(db, of.user_id)) || (await findEndedAfter(db, of, since)) !== undefined

/** The same under an entitlement of this id, whenever it was made. */
export async function isPolicyStoppedUnder(
  db: Db,
  of: Triple,
  entitlementId: string,
): Promise<boolean> {
  const { created_at } = await db
    .selectFrom('entitlements')
    .select('created_at')
    .where('id', '=', entitlementId)
    .executeTakeFirstOrThrow()
  return isPolicyStopped(db, of, created_at)
}

/** Whether a revocation by user bars policy delegations of this user. */
async function findPolicyBar(db: Db, userId: string): Promise<boolean> {
  const user = await db
    .selectFrom('users')
    .select('policy_barred_at')
    .where('id', '=', userId)
    .executeTakeFirstOrThrow()
  return user.policy_barred_at !== null
}

/** Ends that nobody meant for the delegation: with its entitlement, or by the time of something else. */
const BY_ITSELF = ['entitlement_ended', 'entitlement_expired', 'agent_expired']

/**
 * A delegation of the three that somebody ended (not: consumed or run out) since that instant, other than
 * with an entitlement, for the one there now is a later one. A policy delegation also when it was replaced:
 * whoever replaced it wanted it to be no more than they then gave.
 */
const findEndedAfter = (db: Db, of: Triple, since: Date) =>
  db
    .selectFrom('delegations')
    .select('id')
    .where('user_id', '=', of.user_id)
    .where('agent_id', '=', of.agent_id)
    .where('audience_id', '=', of.audience_id)
    .where('status', '=', 'revoked')
    .where('end_reason', 'not in', BY_ITSELF)
    .where((or) => or.or([or('end_reason', '<>', 'replaced'), or('source', '=', 'policy')]))
    .where('revoked_at', '>=', since)
    .executeTakeFirst()

/** How the latest delegation of the three ended, to name the true reason in the audit log. */
export const findLatestEnded = (db: Db, of: Triple) =>
  db
    .selectFrom('delegations')
    .select(['status', 'expires_at'])
    .where('user_id', '=', of.user_id)
    .where('agent_id', '=', of.agent_id)
    .where('audience_id', '=', of.audience_id)
    .orderBy('created_at', 'desc')
    .limit(1)
    .executeTakeFirst()

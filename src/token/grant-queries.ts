import { type SqlBool, sql } from 'kysely'
import type { Db } from '../db/tables.ts'

/** The live delegations of a user to an agent, newest first: at most one for each audience. */
export const listGrants = (db: Db, of: { user_id: string; agent_id: string }, now: Date) =>
  db
    .selectFrom('delegations')
    .innerJoin('audiences', 'audiences.id', 'delegations.audience_id')
    .select([
      'delegations.id',
      'audiences.issuer as audience',
      'delegations.scopes',
      'delegations.resources',
      'delegations.mode',
      'delegations.source',
      'delegations.created_at',
      'delegations.expires_at',
      'delegations.status',
    ])
    .where('delegations.user_id', '=', of.user_id)
    .where('delegations.agent_id', '=', of.agent_id)
    .where(
      sql<SqlBool>`delegations.status = 'active' and
        (delegations.expires_at is null or delegations.expires_at > ${now})`,
    )
    .orderBy('delegations.created_at', 'desc')
    .orderBy('delegations.id', 'desc')
    .execute()

import { type Kysely, sql } from 'kysely'

/**
 * Since when an agent has the name at an audience that its entitlement says, where it had another one before: an app
 * that is told of the agent may know it by that one. Of what was changed earlier it is not known in what.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db)
}

const STATEMENTS = [
  `alter table entitlements add column client_id_since timestamptz`,
  `update entitlements set client_id_since = updated_at where updated_at > created_at`,
]

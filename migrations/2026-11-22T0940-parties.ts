import { type Kysely, sql } from 'kysely'

/**
 * What is due is found by the server that it is for, and not by the audience alone, which may be another server by now.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db)
}

const STATEMENTS = [
  `create index event_deliveries_waiting_party on event_deliveries (audience_id, aud, dialect, next_attempt_at)
    where status = 'queued'`,
  'drop index event_deliveries_waiting',
  // By what is due whoever it is for, thousands of a dead party are read for each of another one.
  'drop index event_deliveries_due',
]

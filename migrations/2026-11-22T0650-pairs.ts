import { type Kysely, sql } from 'kysely'

/** Events are looked up by the names that the app knows: a mint asks what waits, and an ending what was told. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db)
}

const STATEMENTS = [
  `create index event_deliveries_waiting_pair on event_deliveries (aud, sub) where status = 'queued'`,
  `create index event_deliveries_told on event_deliveries (aud, sub, (coalesce(resent_at, created_at)))`,
  // What an agent had a part in without being the client.
  `create index issuances_actors on issuances using gin (actor_ids) where actor_ids is not null`,
]

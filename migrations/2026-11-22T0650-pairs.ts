import { type Kysely, sql } from 'kysely'

/** Each mint asks whether an event waits for its subject and audience, by the names that the app knows. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create index event_deliveries_waiting_pair on event_deliveries (aud, sub)
    where status = 'queued'`.execute(db)
}

import { type Kysely, sql } from 'kysely'

/** Administrators see how many events a stream has lost, and the last of them. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create index stream_events_failed on stream_events (stream_id, ended_at)
      where status = 'failed'`.execute(db)
}

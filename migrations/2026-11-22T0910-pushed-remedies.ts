import { type Kysely, sql } from 'kysely'

/** What was tried against a refusal of an event that is pushed, as the outbox of events to relying apps has it. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table stream_events add column remedies text[] not null default '{}'
      check (remedies <@ array['new_jti', 'cache_window', 'metadata'])`.execute(db)
}

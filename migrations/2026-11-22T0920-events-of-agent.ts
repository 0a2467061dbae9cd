import { type Kysely, sql } from 'kysely'

/** Administrators look for what was told of an agent. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create index event_deliveries_of_agent on event_deliveries (agent_id, created_at, id)
      where agent_id is not null`.execute(db)
}

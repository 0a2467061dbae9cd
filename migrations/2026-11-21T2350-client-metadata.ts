import { type Kysely, sql } from 'kysely'

/** Retired agents by the URL that they were known by: whoever comes with it is told so, and gets no new agent. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create index agents_client_metadata_retired on agents (client_metadata_url)
    where status = 'retired' and client_metadata_url is not null`.execute(db)
}

import { type SqlBool, sql } from 'kysely'
import type { Db, Row } from '../db/tables.ts'

/** The one that has not been ended. It may be past its end: that is for the caller to say. */
export const findLiveMetadataRule = (
  db: Db,
  { url, host }: Pick<Row<'client_metadata_rules'>, 'url' | 'host'>,
): Promise<Pick<Row<'client_metadata_rules'>, 'id' | 'expires_at'> | undefined> =>
  db
    .selectFrom('client_metadata_rules')
    .select(['id', 'expires_at'])
    .where((eb) => eb.or([eb('url', '=', url), eb('host', '=', host)]))
    .where('ended_at', 'is', null)
    .executeTakeFirst()

type Names = Pick<Row<'client_metadata_rules'>, 'tenant_id' | 'url' | 'host'>

const agentsOf = (db: Db, { tenant_id, url, host }: Names) =>
  db
    .selectFrom('agents')
    .select('id')
    .where('tenant_id', '=', tenant_id)
    .where('status', '<>', 'retired')
    .where(
      url === null
        ? sql<SqlBool>`split_part(client_metadata_url, '/', 3) = ${host}`
        : sql<SqlBool>`client_metadata_url = ${url}`,
    )

/** The agents that a rule is about, whether another one is too or not. */
export async function listAgentsOf(db: Db, of: Names): Promise<string[]> {
  const rows = await agentsOf(db, of).execute()
  return rows.map(({ id }) => id)
}

/** Gives the agents that a rule lets come another version (agents/queries.ts), in the order of their ids. */
export async function touchAgentsOf(db: Db, { tenant_id, url, host }: Names): Promise<void> {
  const held = agentsOf(db, { tenant_id, url, host }).orderBy('id').forNoKeyUpdate()
  await db
    .with('held', () => held)
    .updateTable('agents')
    .set((eb) => ({ updated_at: eb.ref('updated_at') }))
    .where('id', 'in', (eb) => eb.selectFrom('held').select('id'))
    .execute()
}

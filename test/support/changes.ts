import { sql } from 'kysely'
import type { House } from './house.ts'

/** A row that was written, as it was and as it is. */
export type Change = {
  table: string
  op: 'INSERT' | 'UPDATE' | 'DELETE'
  before: Record<string, unknown> | null
  after: Record<string, unknown> | null
}

/** What tells of requests and changes nothing for those that follow: the log, its seals, counters, what was presented once. */
export const TRACES = ['audit_events', 'seals', 'rate_limits', 'spent_assertions']

/** Every table of a house but those of the migrator. */
export async function listTables({ deps }: House): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select tablename as name from pg_tables where schemaname = 'public' order by 1`.execute(deps.db)
  return rows.map(({ name }) => name).filter((name) => !/^(kysely|watched)_/.test(name))
}

/**
 * Notes every row that is written from here on, in whatever table. `take` tells what was since the last time: dearer
 * for the house than a digest now and then, and it says which request it was.
 */
export async function watchChanges(house: House): Promise<{ take(): Promise<Change[]> }> {
  const { db } = house.deps
  await sql`
    create unlogged table watched_changes
      (n bigserial, "table" text not null, op text not null, before jsonb, after jsonb)`.execute(db)
  await sql`
    create function note_change() returns trigger language plpgsql as $$ begin
      if tg_op <> 'UPDATE' or old is distinct from new then
        insert into watched_changes ("table", op, before, after) values (tg_table_name, tg_op,
          case when tg_op <> 'INSERT' then to_jsonb(old) end, case when tg_op <> 'DELETE' then to_jsonb(new) end);
      end if;
      return null;
    end $$`.execute(db)
  for (const table of await listTables(house)) {
    await sql`
      create trigger zz_watched after insert or update or delete on ${sql.table(table)}
      for each row execute function note_change()`.execute(db)
  }
  return {
    async take() {
      const { rows } = await sql<Change & { n: string }>`
        delete from watched_changes returning n, "table", op, before, after`.execute(db)
      return rows.sort((a, b) => Number(a.n) - Number(b.n)).map(({ n: _, ...change }) => change)
    },
  }
}

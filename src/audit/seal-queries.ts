import { type RawBuilder, sql } from 'kysely'
import type { Db } from '../db/tables.ts'
import type { StoredSeal } from './seal-signature.ts'
import { type Closed, type Now, type Window, windowAfter } from './window.ts'

/** A sealed table and the column that names its rows. */
const SEALED = { issuances: 'jti', audit_events: 'id' } as const
export type SealedTable = keyof typeof SEALED
const TABLES = Object.keys(SEALED) as SealedTable[]

/** A row under a seal, by name and leaf. */
export type Member = { table: string; id: string; leaf: Buffer }

/** What a leaf hashes must not depend on who asks: `to_jsonb` writes instants in the session's time zone. */
export const useUtc = (tx: Db) => sql`set local timezone = 'UTC'`.execute(tx)

/** False when another replica is sealing. Held until the transaction ends. */
export async function lockSealing(tx: Db): Promise<boolean> {
  const { rows } = await sql<{ mine: boolean }>`
    select pg_try_advisory_xact_lock(1936023916) as mine`.execute(tx)
  return rows[0]?.mine === true
}

/** Where and when the database is. */
export async function findNow(db: Db): Promise<Now> {
  const { rows } = await sql<Now>`
    select (pg_control_system()).system_identifier as cluster, pg_current_snapshot()::text as snapshot`.execute(
    db,
  )
  const [row] = rows
  if (row === undefined) throw new Error('the database does not say which cluster it is')
  return row
}

export async function findLastSeal(db: Db): Promise<Closed | undefined> {
  const { rows } = await sql<Closed>`
    select position, cluster, snapshot, encode(hash, 'hex') as hash
    from seals order by position desc limit 1`.execute(db)
  return rows[0]
}

/** The last seal of each cluster that the log has lived in. Reads all seals. */
export async function listClosed(db: Db): Promise<Closed[]> {
  const { rows } = await sql<Closed>`
    select distinct on (cluster) position, cluster, snapshot, encode(hash, 'hex') as hash
    from seals order by cluster, position desc`.execute(db)
  return rows
}

export type Backlog = { here: string; rows: number; oldest: Date | null }

/** What the last seal did not close, and where the database is: an idle second asks this, of the indexes. */
export async function findBacklog(db: Db, last: Closed | undefined): Promise<Backlog> {
  const window: Window = last ? windowAfter(last) : { cluster: { not: [] }, behind: '0' }
  const { rows } = await sql<Backlog>`
    select (select system_identifier from pg_control_system()) as here,
      count(*)::integer as rows, min(at) as oldest
    from (${unionAll(
      TABLES.map(
        (table) => sql`select r.at from ${sql.table(table)} r where ${all(writtenIn(window))}`,
      ),
    )}) open`.execute(db)
  return rows[0] as Backlog
}

/** Opens a cursor over the rows of these windows and their leaves, in the order of the tree. */
export const openMembers = (tx: Db, windows: Window[]) =>
  sql`declare members no scroll cursor for
    ${unionAll(TABLES.flatMap((table) => windows.map((window) => membersOf(table, window))))}
    order by "table", id`.execute(tx)

export async function fetchMembers(tx: Db, most: number): Promise<Member[]> {
  const { rows } = await sql<Member>`fetch ${sql.raw(String(most))} from members`.execute(tx)
  return rows
}

/** The first row of these windows that is under no seal behind the window's position, up to `upTo`. */
export async function findOutside(db: Db, windows: Window[], upTo?: string) {
  if (windows.length === 0) return undefined
  const { rows } = await sql<{ table: SealedTable; id: string }>`
    ${unionAll(TABLES.flatMap((table) => windows.map((window) => namesOf(table, window, upTo))))}
    order by "table", id limit 1`.execute(db)
  return rows[0]
}

export async function countOutside(db: Db, windows: Window[]): Promise<number> {
  if (windows.length === 0) return 0
  const { rows } = await sql<{ count: number }>`
    select count(*)::integer as count
    from (${unionAll(TABLES.flatMap((table) => windows.map((window) => namesOf(table, window))))}) open`.execute(
    db,
  )
  return rows[0]?.count ?? 0
}

/** The next seals of the chain, as many as hold so many rows; always one, if there is one. */
export async function listSeals(db: Db, after: string, most: { seals: number; rows: number }) {
  const { rows } = await sql<StoredSeal>`
    select position, at, snapshot, cluster, encode(previous_hash, 'hex') as previous_hash,
      encode(root, 'hex') as root, row_count, leaves, kid, signature, encode(hash, 'hex') as hash
    from (
      select *, sum(row_count) over (order by position) - row_count as rows_before
      from (select * from seals where position > ${after} order by position limit ${most.seals}) next) seals
    where rows_before < ${most.rows} order by position`.execute(db)
  return rows
}

export type StoredMember = { position: string; table: SealedTable | null; id: string | null } & (
  | { leaf: Buffer; cluster: string; xid: string }
  | { leaf: null; cluster: null; xid: null }
)

/** The members of some seals in order, each with leaf and origin as its row has them now; null without a row. */
export async function listMembers(db: Db, from: string, to: string): Promise<StoredMember[]> {
  const { rows } = await sql<StoredMember>`
    select s.position, m."table", m.id, row.leaf, row.cluster, row.xid
    from seals s cross join lateral
      unnest(s.row_tables, s.row_ids) with ordinality m("table", id, place)
    left join lateral (${unionAll(
      TABLES.map(
        (table) => sql`select ${leafOf(table)} as leaf, r.cluster, r.xid from ${sql.table(table)} r
          where m."table" = ${sql.lit(table)} and r.${sql.ref(SEALED[table])} = m.id`,
      ),
    )}) row on true
    where s.position between ${from} and ${to}
    order by s.position, m.place`.execute(db)
  return rows
}

const membersOf = (table: SealedTable, window: Window) =>
  sql`select ${sql.lit(table)} as "table", r.${sql.ref(SEALED[table])} as id, ${leafOf(table)} as leaf
    from ${sql.table(table)} r where ${inWindow(table, window)}`

const namesOf = (table: SealedTable, window: Window, upTo?: string) =>
  sql`select ${sql.lit(table)} as "table", r.${sql.ref(SEALED[table])} as id
    from ${sql.table(table)} r where ${inWindow(table, window, upTo)}`

/**
 * RFC 9162's leaf over the table's name and the row's canonical text. Nulls are left out, so that a nullable
 * column added later leaves old leaves as they are; but for `detail`, whose own nulls somebody wrote.
 */
const leafOf = (table: SealedTable) =>
  sql`sha256('\\x00'::bytea || convert_to(concat_ws(chr(10), ${sql.lit(table)},
    jsonb_strip_nulls(to_jsonb(r))::text${table === 'audit_events' ? sql`, r.detail::text` : sql``}), 'UTF8'))`

/** Compared with values rather than with a subquery, so that the planner sees how few rows are meant. */
function writtenIn({ cluster, after, upTo }: Window) {
  const conditions = [
    typeof cluster === 'string'
      ? sql`r.cluster = ${cluster}::bigint`
      : sql`r.cluster <> all(${cluster.not}::bigint[])`,
  ]
  if (after) {
    conditions.push(
      after.running.length === 0
        ? sql`r.xid >= ${after.end}::bigint`
        : sql`(r.xid >= ${after.end}::bigint or r.xid = any(${after.running}::bigint[]))`,
    )
  }
  if (upTo) {
    conditions.push(sql`r.xid < ${upTo.end}::bigint`)
    conditions.push(sql`r.xid <> all(${upTo.running}::bigint[])`)
  }
  return conditions
}

/** Written in the window, and a member of no seal behind it, up to the `last` one if that is given. */
const inWindow = (table: SealedTable, window: Window, last?: string) =>
  all([
    ...writtenIn(window),
    sql`not exists (
      select from seals s cross join lateral unnest(s.row_tables, s.row_ids) m("table", id)
      where s.position > ${window.behind}::bigint
        ${last === undefined ? sql`` : sql`and s.position <= ${last}::bigint`}
        and m."table" = ${sql.lit(table)} and m.id = r.${sql.ref(SEALED[table])})`,
  ])

const all = (conditions: RawBuilder<unknown>[]) => sql.join(conditions, sql` and `)
const unionAll = (parts: RawBuilder<unknown>[]) => sql.join(parts, sql` union all `)

import { sql, type Transaction } from 'kysely'
import type { Db, Tables } from '../db/tables.ts'
import { letsCome, mayCome, type Owed } from './owed-queries.ts'
import { MOST_RUN_OUT } from './run-out-queries.ts'

type Tx = Transaction<Tables>

/** A subject of an audience that is told at the last ending only. */
export type Withheld = Pick<Owed, 'audience_id' | 'user_id' | 'sub'>

/** Notes who is to be told at the last ending. */
export async function noteWithheld(
  tx: Tx,
  withheld: readonly Withheld[],
  { since, revocation_id }: { since: Date; revocation_id: string | undefined },
): Promise<void> {
  if (withheld.length === 0) return
  await sql`
    insert into withheld_endings (audience_id, user_id, sub, since, revocation_ids)
    select distinct audience_id, user_id, sub, ${since}::timestamptz, ${revocation_id ? [revocation_id] : []}::text[]
    from jsonb_to_recordset(${JSON.stringify(withheld)}::jsonb) as one(audience_id text, user_id text, sub text)
    order by audience_id, user_id, sub
    on conflict (audience_id, user_id, sub) do update
    set revocation_ids = withheld_endings.revocation_ids || excluded.revocation_ids`.execute(tx)
}

/** @returns the calls that waited for it, and whom each was about */
export async function forgetWithheld(
  tx: Tx,
  told: readonly Withheld[],
): Promise<(Withheld & { revocation_ids: string[] })[]> {
  if (told.length === 0) return []
  const { rows } = await sql<Withheld & { revocation_ids: string[] }>`
    delete from withheld_endings w
    using jsonb_to_recordset(${JSON.stringify(told)}::jsonb) as one(audience_id text, user_id text, sub text)
    where w.audience_id = one.audience_id and w.user_id = one.user_id and w.sub = one.sub
    returning w.audience_id, w.user_id, w.sub, w.revocation_ids`.execute(tx)
  return rows
}

/** Subjects that a revocation is about whose audience waits for the last ending. */
export async function countWithheld(db: Db, revocation_id: string): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*)::int as count from withheld_endings
    where revocation_ids @> array[${revocation_id}::text]`.execute(db)
  return rows[0]?.count ?? 0
}

/**
 * Those noted of whom nothing lives any more, since the last one was spent or ran out and nobody said so; and
 * those whose audience does not wait for the last one any more.
 */
export async function listLeft(db: Db, now: Date): Promise<Withheld[]> {
  const { rows } = await sql<Withheld>`
    select w.audience_id, w.user_id, w.sub from withheld_endings w
    where not exists (${mayCome('w', now)})
      or exists (
        select from audiences au
        where au.id = w.audience_id and (au.notify_when <> 'last' or au.event_names_agent))
    order by w.since limit ${MOST_RUN_OUT}`.execute(db)
  return rows
}

/**
 * What a note may be about, of a subject's delegations at an audience: those that let nobody come any more, and
 * those under which an agent acted for another one, which live on when that one ends.
 */
export async function listEnded(
  tx: Tx,
  { user_id, audience_id, sub }: Withheld,
  now: Date,
): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    select d.id from delegations d
    where d.user_id = ${user_id} and d.audience_id = ${audience_id} and d.sub_asserted = ${sub}
      and (not ${letsCome('d', now)} or exists (
        select from issuances i where i.delegation_id = d.id and i.actor_ids is not null))`.execute(
    tx,
  )
  return rows.map(({ id }) => id)
}

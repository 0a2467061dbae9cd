/**
 * Forgets what nothing asks for any more, in whichever room's table it lies. Records and their history are
 * no part of it: families, sessions, delegations and the log stay.
 *
 * 1. Each statement takes a bounded number of rows that nobody holds, so that it waits for nobody and, with
 *    nothing to wait for, meets any number of replicas doing the same.
 * 2. A row goes no earlier than its room stops reading it.
 */
import { type RawBuilder, sql } from 'kysely'
import type { Deps } from './deps.ts'
import { repeatedly, type Worker } from './http/repeatedly.ts'
import { addSeconds } from './oauth/numeric-date.ts'

/** Milliseconds between two rounds, and rows that one statement forgets at the most. */
const EVERY = 60_000
const MOST = 10_000

const DAY = 24 * 3600

/** It was ended while this was being written. */
const ENDED_STREAM = sql`exists (
  select from streams where streams.id = stream_id and streams.ended_at is not null)`

type Forgetting = { table: string; when: (now: Date) => RawBuilder<unknown> }

const FORGETTING: Forgetting[] = [
  // Nobody can present them again.
  { table: 'spent_assertions', when: (now) => sql`expires_at < ${now}` },
  // A while longer, so that a code that comes back soon still ends what it gave.
  {
    table: 'authorization_codes',
    when: (now) => sql`expires_at < ${addSeconds(now, -DAY)}`,
  },
  // While their family lives, spent ones tell a thief from the owner.
  {
    table: 'refresh_tokens',
    when: (now) => sql`expires_at < ${addSeconds(now, -30 * DAY)} and exists (
      select from refresh_token_families family where family.id = family_id
        and least(family.ended_at, family.expires_at) < ${addSeconds(now, -30 * DAY)})`,
  },
  {
    table: 'idempotency_keys',
    when: (now) => sql`created_at < ${addSeconds(now, -DAY)}`,
  },
  // A while longer than they are told, for whoever looks into what became of one.
  { table: 'stream_events', when: (now) => sql`ended_at < ${addSeconds(now, -7 * DAY)}` },
  {
    table: 'stream_events',
    when: () => sql`status = 'queued' and ${ENDED_STREAM}`,
  },
  { table: 'stream_subjects', when: () => ENDED_STREAM },
  // Milliseconds since 1970, or null for a count without an end.
  { table: 'rate_limits', when: (now) => sql`expire < ${now.getTime()}` },
]

export const startTidying = (deps: Deps): Worker =>
  repeatedly(EVERY, () => tidy(deps), {
    failed: (err) => deps.log.warn({ err }, 'tidying up failed'),
    again: () => deps.log.info('tidying up works again'),
  })

export async function tidy({ db, now }: Pick<Deps, 'db' | 'now'>): Promise<void> {
  const at = now()
  for (const { table, when } of FORGETTING) {
    const name = sql.table(table)
    await sql`
      delete from ${name} where ctid = any(array(
        select ctid from ${name} where ${when(at)} limit ${sql.lit(MOST)} for update skip locked))`.execute(
      db,
    )
  }
}

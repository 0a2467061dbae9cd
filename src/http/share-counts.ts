import type pg from 'pg'
import { hashSecret } from '../oauth/secret.ts'
import { MINUTE, type RequestCount } from './request-count.ts'

/**
 * Adds to what all replicas have counted in that minute. Keys are kept as digests: they may be made of an address.
 * @returns the new totals, in the order given.
 */
export async function addCounts(
  pool: pg.Pool,
  minute: number,
  counts: readonly { count: Pick<RequestCount, 'budget' | 'key'>; points: number }[],
): Promise<number[]> {
  const rows = counts
    .map(({ count, points }, at) => ({ key: rowOf(minute, count), points, at }))
    // Every replica takes the rows in one order, so that none waits for one that waits for it.
    .sort((a, b) => (a.key < b.key ? -1 : 1))
  const { rows: totals } = await pool.query<{ key: string; points: number }>({
    name: 'share_counts',
    text: SHARE,
    values: [
      rows.map(({ key }) => key),
      rows.map(({ points }) => points),
      // A clock may be behind ours: its replica still counts in this minute for a while.
      (minute + 2) * MINUTE,
    ],
  })
  const byKey = new Map(totals.map(({ key, points }) => [key, points]))
  const answer: number[] = []
  for (const { key, at } of rows) answer[at] = byKey.get(key) ?? 0
  return answer
}

const rowOf = (minute: number, { budget, key }: Pick<RequestCount, 'budget' | 'key'>) =>
  `${budget.name}:${minute}:${hashSecret(key).toString('base64url')}`

const SHARE = `
insert into rate_limits (key, points, expire)
select key, points, $3 from unnest($1::text[], $2::integer[]) as counted(key, points)
on conflict (key) do update set points = rate_limits.points + excluded.points
returning key, points`

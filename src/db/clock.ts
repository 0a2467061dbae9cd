import { sql } from 'kysely'
import type { Db } from './tables.ts'

/** Milliseconds that a replica's clock may differ from the database's. */
export const MOST_SKEW = 2_000

/** Whether the two clocks agree: what is done by the time of one is to be right for all. */
export async function isInTime(db: Db, now: () => Date): Promise<boolean> {
  const asked = now().getTime()
  const { rows } = await sql<{ at: Date }>`select clock_timestamp() as at`.execute(db)
  const answered = now().getTime()
  const there = rows[0]?.at.getTime() ?? 0
  // The database looked at its clock somewhere between asking and being answered.
  return there >= asked - MOST_SKEW && there <= answered + MOST_SKEW
}

import { sql } from 'kysely'
import type { Db } from './tables.ts'

/** Milliseconds that a replica's clock may differ from the database's. */
const MOST_SKEW = 2_000

/**
 * Whether two clocks agree, when one read `there` somewhere between `asked` and `answered` by the other:
 * milliseconds since 1970.
 */
export const agree = (there: number, { asked, answered }: { asked: number; answered: number }) =>
  there >= asked - MOST_SKEW && there <= answered + MOST_SKEW

/** Whether this replica's clock is the database's: what is done by the time of one is to be right for all. */
export async function isInTime(db: Db, now: () => Date): Promise<boolean> {
  const asked = now().getTime()
  const { rows } = await sql<{ at: Date }>`select clock_timestamp() as at`.execute(db)
  return agree(rows[0]?.at.getTime() ?? 0, { asked, answered: now().getTime() })
}

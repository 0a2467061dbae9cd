import { performance } from 'node:perf_hooks'
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

/** Milliseconds by which the database's clock is ahead of this machine's; 0 when they agree. */
export async function clockSkew({ db, now }: { db: Db; now: () => Date }): Promise<number> {
  const asked = now().getTime()
  const { rows } = await sql<{ at: Date }>`select clock_timestamp() as at`.execute(db)
  const there = rows[0]?.at.getTime() ?? 0
  return agree(there, { asked, answered: now().getTime() }) ? 0 : there - asked
}

export const WRONG_CLOCK = 'the clock of this machine is not that of the database'

/**
 * For whoever ends or gives up something by the time: by a wrong clock that would come too early.
 * @param holds milliseconds for which a clock is believed that was right
 * @returns throws when the clock of this replica is not the database's
 */
export function createClockGate(
  { db, now }: { db: Db; now: () => Date },
  holds = 0,
): () => Promise<void> {
  let believedUntil = Number.NEGATIVE_INFINITY
  return async () => {
    if (performance.now() < believedUntil) return
    if ((await clockSkew({ db, now })) !== 0) throw new Error(WRONG_CLOCK)
    believedUntil = performance.now() + holds
  }
}

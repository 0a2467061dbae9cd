import { sql } from 'kysely'
import { recordEvents } from '../audit/record.ts'
import type { Db, EventAnswer } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Party } from './delivery-queries.ts'
import { type Ended, lineOfEnd } from './end-line.ts'
import { logAttempt } from './log-attempt.ts'

/** Events given up in one transaction at the most. */
const MOST = 500

/**
 * A party has just shown that it cannot answer: what has waited for it for its whole time, and was tried before,
 * is given up with that attempt. One in trouble is tried one event at a time, so that the last of many would
 * otherwise keep its user waiting for days after its time was over. One that nobody could try yet has its attempt.
 */
export async function giveUpOverdue(
  { db, now, log }: Pick<Deps, 'db' | 'now' | 'log'>,
  party: Party,
): Promise<void> {
  for (;;) {
    const at = now()
    const ended = await db.transaction().execute(async (tx) => {
      const events = await endOverdue(tx, party, { at, limit: MOST })
      const lines = events.map((event) => lineOfEnd(event, 'failed', at, event.last_answer))
      await recordEvents(tx, lines)
      return events
    })
    const of = { status: 'failed', alert: false, warn: false, reread: false, at } as const
    // No attempt of their own, so that none is counted.
    for (const event of ended)
      logAttempt(log, undefined, { event, answer: event.last_answer, ...of })
    if (ended.length < MOST) return
  }
}

/** One that somebody holds is being tried. */
async function endOverdue(
  tx: Db,
  { audience_id, aud, dialect }: Party,
  { at, limit }: { at: Date; limit: number },
) {
  const { rows } = await sql<Ended & Party & { last_answer: EventAnswer; created_at: Date }>`
    with overdue as materialized (
      select id from event_deliveries
      where status = 'queued' and audience_id = ${audience_id} and aud = ${aud} and dialect = ${dialect}
        and expires_at <= ${at} and attempts > 0 and last_answer is not null
      order by id limit ${limit} for update skip locked)
    update event_deliveries event
    set status = 'failed', failed_at = ${at}, next_attempt_at = null, outcome_unknown = false
    from overdue where overdue.id = event.id
    returning event.id, event.tenant_id, event.user_id, event.audience_id, event.agent_id,
      event.aud, event.dialect, event.revocation_id, event.attempts, event.created_at, event.last_answer`.execute(
    tx,
  )
  return rows
}

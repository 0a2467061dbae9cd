import type { Db } from '../db/tables.ts'
import { listInterrupts, MOST_INTERRUPTS } from '../events/list-queries.ts'
import { secondsBetween } from '../oauth/numeric-date.ts'
import { statusOf } from './proof-status.ts'
import { findProof, findRevocation } from './queries.ts'
import { showInterrupts } from './tell.ts'
import { countWithheld } from './withheld-queries.ts'

/** A revocation and how far its events have come; undefined when there is none such. */
export async function readRevocation(db: Db, id: string) {
  const revocation = await findRevocation(db, id)
  if (!revocation) return undefined
  const { last_acknowledged_at, ...events } = await findProof(db, id)
  const withheld = await countWithheld(db, id)
  const interrupted = await listInterrupts(db, { revocation_id: id }, MOST_INTERRUPTS)
  return {
    ...revocation,
    status: statusOf(events, withheld),
    events,
    ...(withheld > 0 && { events_withheld: withheld }),
    ...showInterrupts(interrupted),
    last_acknowledged_at,
    seconds_to_last_acknowledgement:
      last_acknowledged_at &&
      Math.max(0, secondsBetween(revocation.created_at, last_acknowledged_at)),
  }
}

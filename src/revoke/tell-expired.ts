import { recordEvent } from '../audit/record.ts'
import { createClockGate } from '../db/clock.ts'
import { endAll } from '../delegations/queries.ts'
import type { Deps } from '../deps.ts'
import { repeatedly, type Worker } from '../http/repeatedly.ts'
import { lockPairs } from './owed-queries.ts'
import { findRunOut, listRunOut, type RunOut } from './run-out-queries.ts'
import { tell } from './tell.ts'
import { forgetWithheld, listEnded, listLeft, type Withheld } from './withheld-queries.ts'

/** Milliseconds between two looks for what has run out. */
const EVERY = 15_000

/**
 * Ends by name what has ended by time, at audiences that want to hear of it (GR-09): a delegation, and one
 * whose agent or entitlement is past its end. Elsewhere nobody is told, and the rows stay as they are. And
 * tells who was to be told at the last ending, where that came without a call: it was spent, or ran out.
 */
export function startTellingExpired(deps: Deps): Worker {
  const { log } = deps
  // By a wrong clock what lives on would be ended.
  const requireTime = createClockGate(deps)
  const round = async () => {
    await requireTime()
    await tellExpired(deps)
  }
  return repeatedly(EVERY, round, {
    failed: (err) => log.error({ err }, 'audiences could not be told of what has run out'),
    again: () => log.info('audiences are told of what has run out again'),
  })
}

/** Each by itself, so that one that cannot be told keeps nobody waiting. Returns how many delegations ended. */
export async function tellExpired(deps: Deps): Promise<number> {
  const faults: unknown[] = []
  const attempt = (work: Promise<number>) =>
    work.catch((error) => {
      faults.push(error)
      return 0
    })
  let ended = 0
  for (const one of await listRunOut(deps.db, deps.now())) {
    ended += await attempt(endRunOut(deps, one))
  }
  for (const left of await listLeft(deps.db, deps.now())) await attempt(tellLeft(deps, left))
  if (faults.length > 0) throw faults[0]
  return ended
}

/**
 * Several replicas may be at it, and administrators move ends: the delegation is held, and what one has ended, or
 * what lives on, is left alone.
 */
const endRunOut = (
  deps: Deps,
  { id, user_id, agent_id, audience_id, tenant_id }: RunOut,
): Promise<number> =>
  deps.db.transaction().execute(async (tx) => {
    const at = deps.now()
    const reach = { user_id, agent_ids: [agent_id], audience_id }
    await lockPairs(tx, reach)
    const why = await findRunOut(tx, id, at)
    if (why === undefined) return 0
    await endAll(tx, { of: { ids: [id] }, at, reason: why })
    await tell(tx, deps, reach, { cause: 'expired' })
    await recordEvent(tx, {
      type: 'delegation.expired',
      at,
      actor: { kind: 'system' },
      ...{ tenant_id, user_id, agent_id, audience_id },
      delegation_id: id,
      detail: { by: why },
    })
    return 1
  })

const tellLeft = (deps: Deps, left: Withheld): Promise<number> =>
  deps.db.transaction().execute(async (tx) => {
    const reach = { user_id: left.user_id, audience_id: left.audience_id }
    await lockPairs(tx, reach)
    const of = { ids: await listEnded(tx, left, deps.now()) }
    const { queued, withheld } = await tell(tx, deps, of, { cause: 'delegation_ended' })
    // Nothing is owed any more, or it is told now: unless something lives after all, that was it.
    if (withheld === 0) await forgetWithheld(tx, [left])
    return queued
  })

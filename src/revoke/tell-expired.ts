import { recordEvents } from '../audit/record.ts'
import { isInTime } from '../db/clock.ts'
import { endAll } from '../delegations/queries.ts'
import type { Deps } from '../deps.ts'
import { repeatedly } from '../http/repeatedly.ts'
import { listRunOut, lockPairs, type RunOut } from './owed-queries.ts'
import { tell } from './tell.ts'

/** Milliseconds between two looks for what has run out. */
const EVERY = 5_000

/**
 * Ends by name what has ended by time, at audiences that want to hear of it (GR-09): a delegation, and one
 * whose agent or entitlement is past its end. Elsewhere nobody is told, and the rows stay as they are.
 */
export const startTellingExpired = (deps: Deps): { stop(): Promise<void> } =>
  repeatedly(EVERY, () =>
    // By a wrong clock what lives on would be ended.
    isInTime(deps.db, deps.now)
      .then(async (inTime) => {
        if (inTime) await tellExpired(deps)
      })
      .catch((err) => deps.log.error({ err }, 'audiences could not be told of what has run out')),
  )

/** Each by itself, so that one that cannot be told keeps nobody waiting. Returns how many delegations ended. */
export async function tellExpired(deps: Deps): Promise<number> {
  let ended = 0
  const faults: unknown[] = []
  for (const one of await listRunOut(deps.db, deps.now())) {
    await endRunOut(deps, one).then(
      (count) => {
        ended += count
      },
      (error) => faults.push(error),
    )
  }
  if (faults.length > 0) throw faults[0]
  return ended
}

/** Several replicas may be at it: the delegations are held, and what one has ended the next does not find. */
const endRunOut = (deps: Deps, { user_id, agent_id, audience_id, tenant_id, why }: RunOut) =>
  deps.db.transaction().execute(async (tx) => {
    const at = deps.now()
    const of = { user_id, agent_ids: [agent_id], audience_id }
    await lockPairs(tx, of)
    const still = await listRunOut(tx, at, of)
    if (still.length === 0) return 0
    await endAll(tx, { of, at, reason: why })
    await tell(tx, deps, of, { cause: 'expired' })
    const by = { at, actor: { kind: 'system' as const }, tenant_id, user_id, agent_id, audience_id }
    await recordEvents(
      tx,
      still.map(({ id }) => ({
        type: 'delegation.expired',
        ...by,
        delegation_id: id,
        detail: { by: why },
      })),
    )
    return still.length
  })

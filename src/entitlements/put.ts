import { isDeepStrictEqual } from 'node:util'
import { byAdmin, recordEvent, recordEvents } from '../audit/record.ts'
import { newId } from '../db/ids.ts'
import type { Db, Row } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { invalid, notFound, ProblemError } from '../http/problem.ts'
import { readFuture } from '../http/shapes.ts'
import { readCeiling } from './ceiling.ts'
import { endEntitlement } from './end.ts'
import { endPolicyDelegations, followEntitlement } from './policy-delegations.ts'
import {
  insertEntitlement,
  lockEntitlement,
  type Pair,
  shareAgent,
  shareAudience,
  shareTenantOf,
  updateEntitlement,
} from './queries.ts'
import type { GivenEntitlement } from './schema.ts'

/**
 * Ends the entitlement of a pair if its time is over: put again it would be alive, and with it whatever
 * users allowed under it. The delegations are the caller's part; `putEntitlement` then makes a new one.
 * @returns whether it has
 * @throws {ProblemError} as `putEntitlement`
 */
export async function endIfRunOut(tx: Db, deps: Deps, of: Pair, admin: Admin): Promise<boolean> {
  await requireParties(tx, of)
  const live = await lockEntitlement(tx, of)
  if (!live?.expires_at || live.expires_at > deps.now()) return false
  await endEntitlement(tx, deps, { id: live.id }, 'expired', admin)
  return true
}

type Ended = Awaited<ReturnType<typeof endPolicyDelegations>>

/** Has delegations end, and does what belongs to that. */
export type Ending = (end: () => Promise<Ended>) => Promise<Ended>

/**
 * Sets what an agent may have at an audience: makes the entitlement, or puts this one in the place of what
 * the live one said. Delegations made by it follow.
 * @throws {ProblemError} `not_found`, `validation_failed`, `invalid_transition` when either of the two is retired
 */
export async function putEntitlement(
  tx: Db,
  deps: Deps,
  of: Pair,
  given: GivenEntitlement,
  admin: Admin,
  ending: Ending,
): Promise<{ entitlement: Row<'entitlements'>; created: boolean }> {
  const now = deps.now()
  const { tenant_id, resources } = await requireParties(tx, of)
  const next = {
    client_id: given.client_id ?? null,
    ...readCeiling(given, { resources }),
    consent: given.consent,
    expires_at: given.expires_at ? readFuture('/expires_at', given.expires_at, now) : null,
  }
  const actor = byAdmin(admin)
  const event = { at: now, actor, tenant_id, ...of }

  let before = await lockEntitlement(tx, of)
  if (before === undefined) {
    const made = await insertEntitlement(tx, {
      id: newId('ent'),
      tenant_id,
      ...of,
      ...next,
      created_at: now,
      updated_at: now,
    })
    if (made !== undefined) {
      const detail = { entitlement_id: made.id }
      await recordEvent(tx, { ...event, type: 'entitlement.granted', detail })
      return { entitlement: made, created: true }
    }
    // Another call made one meanwhile: that one is changed.
    before = await lockEntitlement(tx, of)
    if (before === undefined) {
      throw new ProblemError(
        'invalid_transition',
        'The entitlement was just made and ended; try again',
      )
    }
  }

  const names = Object.keys(next) as (keyof typeof next)[]
  const changed = names.filter((name) => !isDeepStrictEqual(next[name], before[name]))
  if (changed.length === 0) return { entitlement: before, created: false }
  const entitlement = await updateEntitlement(tx, before.id, {
    ...next,
    ...(changed.includes('client_id') && { client_id_since: now }),
    updated_at: now,
  })
  const detail = { entitlement_id: entitlement.id, changed }
  await recordEvent(tx, { ...event, type: 'entitlement.updated', detail })
  if (before.consent === 'admin' && entitlement.consent === 'admin') {
    await followEntitlement(tx, entitlement, now)
  }
  if (before.consent === 'admin' && entitlement.consent === 'user') {
    const ended = await ending(() => endPolicyDelegations(tx, of, now))
    await recordEvents(
      tx,
      ended.map(({ id, user_id }) => ({
        ...event,
        type: 'delegation.revoked',
        user_id,
        delegation_id: id,
        detail: { end_reason: 'admin' },
      })),
    )
  }
  return { entitlement, created: false }
}

/** Tenant, agent, audience: the order of locks. The insert's foreign key would come for the tenant too late. */
async function requireParties(tx: Db, of: Pair) {
  await shareTenantOf(tx, of.agent_id)
  const agent = await shareAgent(tx, of.agent_id)
  if (agent === undefined) throw notFound('agent')
  const audience = await shareAudience(tx, of.audience_id)
  if (audience === undefined) throw notFound('audience')
  if (agent.tenant_id !== audience.tenant_id) {
    throw invalid('', 'The agent and the audience must be of one tenant')
  }
  for (const [what, { status }] of Object.entries({ agent, audience })) {
    if (status !== 'retired') continue
    throw new ProblemError('invalid_transition', `This ${what} is retired, which is final`)
  }
  return audience
}

import { byAdmin, recordEvent } from '../audit/record.ts'
import type { Db, Row } from '../db/tables.ts'
import { violatedUnique } from '../db/unique.ts'
import type { Deps } from '../deps.ts'
import { hurryAll } from '../events/hurry.ts'
import type { Admin } from '../http/admin-door.ts'
import { notFound, ProblemError } from '../http/problem.ts'
import { eventsAfter, type Pending } from './discovery.ts'
import { findDiscovery, updateDiscovery } from './discovery-queries.ts'
import { takeIssuer } from './keep-aliases.ts'
import { lockAudience, requireAudience, updateAudience } from './queries.ts'
import { rereadAudience } from './reread.ts'
import type { Audience } from './schema.ts'

type Asked = { id: string; digest?: string | undefined; reason?: string | undefined }

/**
 * Looks once more at what could not be approved when it was read, before any transaction. What the app mended
 * meanwhile has another digest, so that nobody approves what they did not see.
 */
export async function readUnproven(deps: Deps, id: string): Promise<void> {
  const discovery = await findDiscovery(deps.db, id)
  if (discovery?.pending?.obstacle) await rereadAudience(deps, id)
}

/** Tells the server that an audience was until now. @returns how many events it queued */
type TellOld = () => Promise<number>

/**
 * Puts in force what awaits approval: its issuer becomes the `aud`, its hosts count as known, and what had
 * stopped because of it goes on. What an administrator suspended stays so.
 * @param tellOld where the issuer becomes another one, before it does: nobody speaks for this one any more after
 *   that. It takes the delegations, which come after the audience and its names in the order of locks
 * @throws {ProblemError} `not_found`, `invalid_transition` (nothing awaits approval, something else does, or
 *   it cannot be approved, or the audience is retired), `already_exists` (the new issuer, in its tenant)
 */
export async function approveChange(
  tx: Db,
  deps: Deps,
  { id, digest, reason }: Asked,
  admin: Admin,
  tellOld: TellOld,
): Promise<Audience & { events_queued?: number }> {
  const audience = await lockAudience(tx, id)
  if (audience === undefined) throw notFound('audience')
  if (audience.status === 'retired') refuse('This audience is retired, which is final')
  const discovery = await findDiscovery(tx, id)
  const pending = discovery?.pending
  if (!discovery || !pending) return refuse('Nothing awaits approval')
  if (digest !== undefined && digest !== pending.digest) {
    refuse('Something else awaits approval by now: look at pending_change again')
  }
  const { found, notice, obstacle } = pending
  if (obstacle) refuse(`${notice}, which cannot be approved: ${obstacle}. ${MEND}`)
  const now = deps.now()
  const followed = eventsAfter(audience, discovery.found, found)
  await updateDiscovery(tx, id, {
    found,
    pending: null,
    stopped: false,
    approved_at: now,
    // Its documents were not kept while nobody had approved whom they speak of.
    ...(notice !== undefined && { next_read_at: now }),
  })
  const moves = found.issuer !== audience.issuer
  if (moves) await takeIssuer(tx, { ...audience, ...found })
  const told = moves ? { events_queued: await tellOld() } : {}
  await updateAudience(tx, id, {
    issuer: found.issuer,
    events_endpoint: followed.events_endpoint,
    events_dialect: followed.events_dialect,
    event_type: followed.event_type,
    event_names_agent: followed.event_names_agent,
    ...(discovery.stopped && { status: 'active', status_reason: reason ?? null }),
    updated_at: now,
  }).catch((error) => {
    throw violatedUnique(error) === 'audiences_issuer' ? taken() : error
  })
  // What waits for an app of before by this name may go to this one from now on.
  const first = discovery.approved_at === null
  if (first || followed.events_endpoint !== audience.events_endpoint) await hurryAll(tx, id)
  await recordApproval(tx, { audience, pending, at: now, resumed: discovery.stopped, told }, admin)
  return { ...(await requireAudience(tx, id)), ...told }
}

const recordApproval = (
  tx: Db,
  of: {
    audience: Row<'audiences'>
    pending: Pending
    at: Date
    resumed: boolean
    told: { events_queued?: number }
  },
  admin: Admin,
) =>
  recordEvent(tx, {
    type: 'audience.change_approved',
    at: of.at,
    actor: byAdmin(admin),
    tenant_id: of.audience.tenant_id,
    audience_id: of.audience.id,
    detail: {
      what: of.pending.reason,
      digest: of.pending.digest,
      changed: of.pending.changes.map(({ member }) => member),
      resumed: of.resumed,
      ...of.told,
    },
  })

const MEND = 'Have the app mend its documents, or retire this audience and register the other one'

function refuse(detail: string): never {
  throw new ProblemError('invalid_transition', detail)
}

const taken = () =>
  new ProblemError('already_exists', 'Another audience of this tenant has the new issuer')

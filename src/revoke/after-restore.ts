/**
 * A restored backup knows nothing of what ended after it was made: sessions, delegations and keys that are over
 * live again in it, and a `once` may be unspent again. So before a server answers from it, all of that ends.
 *
 * 1. One transaction for every tenant: a process that is killed has changed nothing, and the next begins anew.
 *    A server that starts meanwhile waits for it, for it cannot read the keys; one that was there before
 *    is a reason to refuse. Run again, it ends again whatever there is by then.
 * 2. What was minted after the backup nobody knows. So every delegation counts as having minted, whatever its
 *    state and the issuances say, and each subject it was made for has an event queued at the audience.
 * 3. Every key is replaced, and the events are signed by the new ones.
 * 4. Records that administrators made stay as the backup has them, but for entitlements with `consent: "admin"`:
 *    the next mint would bring back by them what a user had stopped (design §2, rule 4).
 * 5. Streams are their receivers' records: each waits for its receiver's word (streams/pause-restored.ts).
 */
import { sql, type Transaction } from 'kysely'
import { recordEvent } from '../audit/record.ts'
import { newId } from '../db/ids.ts'
import { standAlone } from '../db/stand-alone.ts'
import type { Tables } from '../db/tables.ts'
import { endAll, expireInteractions } from '../delegations/queries.ts'
import { closeSubjects, fetchSubjects, openSubjects } from '../delegations/subject-queries.ts'
import type { Deps } from '../deps.ts'
import { endAdminEntitlements } from '../entitlements/queries.ts'
import { queueEvents } from '../events/queue.ts'
import { signRestAnew } from '../events/sign-anew.ts'
import { supersedeQueued } from '../events/supersede.ts'
import { forgetIdempotencyKeys } from '../http/idempotency.ts'
import { replaceKeys, type Surroundings, withFreshKeys } from '../keys/replace-all.ts'
import { voidCodes } from '../sessions/code-queries.ts'
import { countCurrentTokens, endFamilies } from '../sessions/family-queries.ts'
import { endSessionsIn } from '../sessions/tenant-queries.ts'
import { pauseRestored, tellPaused } from '../streams/pause-restored.ts'
import { queueSignals } from '../streams/queue.ts'
import type { LiveStream } from '../streams/stream-queries.ts'
import { holdTenants } from './after-restore-queries.ts'
import { insertRevocation } from './queries.ts'
import { recordEnded } from './record-ended.ts'

export type EndedTenant = {
  tenant_id: string
  revocation_id: string
  delegations_revoked: number
  refresh_tokens_revoked: number
  sessions_ended: number
  entitlements_ended: number
  events_queued: number
  /** Of Shared Signals: that every session has ended. */
  signals_queued: number
}

export type Restored = {
  tenants: EndedTenant[]
  keys_dropped: number
  /** Events that waited in the backup; new ones say the same. */
  events_superseded: number
  /** Of Shared Signals, as the backup had them; all are paused now. */
  streams: LiveStream[]
  /** What waited on them. */
  signals_dropped: number
}

type Choice = {
  /** For the revocations: text about people, perhaps. */
  reason: string
  /** Leaves the entitlements that ask no user. */
  keepPolicies: boolean
}

/** For the keys: what everybody may know. */
const KEY_REASON = 'restored from a backup'

/** Milliseconds that whoever has just been stopped gets to be gone. */
const PATIENCE = 2_000

/** Rows in one statement. */
const MOST = 1_000

const by = { kind: 'system' } as const

/**
 * @param deps of which the pool has one connection: another one would be taken for somebody else's
 * @throws {InUseError} when somebody else works on this database
 */
export async function endRestored(
  deps: Surroundings,
  choice: Choice,
  patience = PATIENCE,
): Promise<Restored> {
  let restored: Restored | undefined
  // Before anything is held: a server that does answer is not to feel it.
  await standAlone(deps.db, patience)
  await withFreshKeys(deps, (fresh) =>
    deps.db.transaction().execute(async (tx) => {
      // Keys in hardware may sign slowly; nobody waits for this transaction who should not.
      await sql`set local idle_in_transaction_session_timeout = '10min'`.execute(tx)
      await sql`set local lock_timeout = '30s'`.execute(tx)
      const { keys, dropped } = await replaceKeys(tx, deps, fresh, KEY_REASON)
      // Again, behind the lock on the keys: whoever comes from now on waits for the end.
      await standAlone(tx, 0)
      restored = await endAllTenants(tx, { ...deps, keys }, choice)
      restored.keys_dropped = dropped
      keys.close()
    }),
  )
  if (restored === undefined) throw new Error('the transaction ended without a word')
  return restored
}

type Inside = Pick<Deps, 'keys' | 'config' | 'now' | 'log'>

async function endAllTenants(
  tx: Transaction<Tables>,
  deps: Inside,
  choice: Choice,
): Promise<Restored> {
  const tenants: EndedTenant[] = []
  const { streams, dropped: signals_dropped } = await pauseRestored(tx, deps.now())
  for (const tenant_id of await holdTenants(tx)) {
    tenants.push(await endTenant(tx, deps, tenant_id, choice))
  }
  await tellPaused(tx, streams, deps.now())
  const events_superseded = await supersedeQueued(tx, {
    revocation_ids: tenants.map(({ revocation_id }) => revocation_id),
    at: deps.now(),
  })
  await signRestAnew(tx, deps)
  await forgetIdempotencyKeys(tx)
  return { tenants, keys_dropped: 0, events_superseded, streams, signals_dropped }
}

async function endTenant(
  tx: Transaction<Tables>,
  deps: Inside,
  tenant_id: string,
  { reason, keepPolicies }: Choice,
): Promise<EndedTenant> {
  const at = deps.now()
  const id = newId('rev')
  const of = { tenant_id }
  const entitlements = keepPolicies ? [] : await endAdminEntitlements(tx, { of, at })
  await expireInteractions(tx, of)
  const delegations = await endAll(tx, { of, at, reason: id })
  const sessions_ended = await endSessionsIn(tx, { tenant_id, at, reason: id })
  await voidCodes(tx, of, at)
  const families = await endFamilies(tx, { of, at, reason: id })
  const tokens = await countCurrentTokens(tx, families, at)
  const counts = {
    delegations_revoked: delegations.length,
    refresh_tokens_revoked: tokens,
    events_queued: await tellEverybody(tx, deps, { tenant_id, revocation_id: id }),
  }
  // Of sessions from after the backup too, so whether or not any has ended here.
  const signal = { event: 'session-revoked', of, by: 'system', reason: 'tenant_revoked' } as const
  const signals_queued = await queueSignals(tx, deps, [signal])
  await insertRevocation(tx, {
    id,
    tenant_id,
    revoked_tenant_id: tenant_id,
    reason,
    admin_key_id: null,
    created_at: at,
    ...counts,
  })
  const ended = {
    ...counts,
    sessions_ended,
    entitlements_ended: entitlements.length,
    signals_queued,
  }
  await recordEnded(tx, { entitlements, delegations }, { at, actor: by, revocation_id: id })
  const detail = { revocation_id: id, ...ended, policies_kept: keepPolicies }
  await recordEvent(tx, { type: 'restore.completed', at, actor: by, tenant_id, detail })
  return { tenant_id, revocation_id: id, ...ended }
}

/** An event about everybody whom an audience may know. Returns how many there are. */
async function tellEverybody(
  tx: Transaction<Tables>,
  deps: Inside,
  { tenant_id, revocation_id }: { tenant_id: string; revocation_id: string },
): Promise<number> {
  let queued = 0
  await openSubjects(tx, tenant_id)
  for (;;) {
    const subjects = await fetchSubjects(tx, MOST)
    if (subjects.length === 0) break
    const events = subjects.map((subject) => ({ ...subject, revocation_id, cause: 'restored' }))
    queued += (await queueEvents(tx, deps, events)).length
  }
  await closeSubjects(tx)
  return queued
}

import { lowestIdAt } from '../db/ids.ts'
import type { Db } from '../db/tables.ts'

/** Which part of the log, newest first: rows before the id `before`, one more than `limit`. */
export type LogPart = {
  limit: number
  before?: string | undefined
  from?: Date | undefined
  to?: Date | undefined
  agent_id?: string | undefined
  user_id?: string | undefined
  audience_id?: string | undefined
  jti?: string | undefined
}

export function listIssuances(db: Db, { limit, before, from, to, ...about }: LogPart) {
  return db
    .selectFrom('issuances')
    .select([
      'jti',
      'tenant_id',
      'at',
      'agent_id',
      'owner_id',
      'user_id',
      'audience_id',
      'delegation_id',
      'credential_id',
      'session_id',
      'family_id',
      'trusted_issuer_id',
      'actor_ids',
      'authorization_details_types',
      'dpop_jkt',
      'resources',
      'scopes',
      'kid',
      'auth_time',
      'expires_at',
      'agent_context_id',
      'request_id',
    ])
    .$if(before !== undefined, (query) => query.where('jti', '<', before as string))
    .$if(from !== undefined, (query) => query.where('jti', '>=', lowestIdAt('', from as Date)))
    .$if(to !== undefined, (query) => query.where('jti', '<', lowestIdAt('', to as Date)))
    .where((eb) => eb.and(given(about)))
    .orderBy('jti', 'desc')
    .limit(limit + 1)
    .execute()
}

export function listAuditEvents(
  db: Db,
  { limit, before, from, to, ...about }: LogPart & { type?: string | undefined },
) {
  return db
    .selectFrom('audit_events')
    .select([
      'id',
      'tenant_id',
      'at',
      'type',
      'actor_kind',
      'actor_id',
      'agent_id',
      'user_id',
      'audience_id',
      'delegation_id',
      'jti',
      'error',
      'reason',
      'detail',
      'request_id',
    ])
    .$if(before !== undefined, (query) => query.where('id', '<', before as string))
    .$if(from !== undefined, (query) => query.where('id', '>=', lowestIdAt('evt_', from as Date)))
    .$if(to !== undefined, (query) => query.where('id', '<', lowestIdAt('evt_', to as Date)))
    .where((eb) => eb.and(given(about)))
    .orderBy('id', 'desc')
    .limit(limit + 1)
    .execute()
}

export async function listSealHeads(
  db: Db,
  { limit, before }: { limit: number; before?: string | undefined },
) {
  const rows = await db
    .selectFrom('seals')
    .select([
      'position',
      'at',
      'snapshot',
      'cluster',
      'previous_hash',
      'root',
      'row_count',
      'kid',
      'signature',
      'hash',
    ])
    .$if(before !== undefined, (query) => query.where('position', '<', before as string))
    .orderBy('position', 'desc')
    .limit(limit + 1)
    .execute()
  return rows.map(({ position, previous_hash, root, hash, ...seal }) => ({
    ...seal,
    position: Number(position),
    previous_hash: previous_hash.toString('hex'),
    root: root.toString('hex'),
    hash: hash.toString('hex'),
  }))
}

/** The members that were given at all. */
const given = <Of extends Record<string, string | undefined>>(about: Of) =>
  Object.fromEntries(Object.entries(about).filter(([, value]) => value !== undefined)) as {
    [Name in keyof Of]: string
  }

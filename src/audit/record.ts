import { sql } from 'kysely'
import { DEFAULT_TENANT, newTimeOrderedId } from '../db/ids.ts'
import type { Db } from '../db/tables.ts'
import type { Admin } from '../http/admin-door.ts'
import type { Reason } from './reason.ts'

/** Who did it. `unknown` only where a request failed before its caller was known. */
export type Actor = {
  kind: 'agent' | 'user' | 'admin' | 'system' | 'unknown'
  id?: string | undefined
  /** The request by which it was done. */
  request_id?: string | undefined
}

export const byAdmin = ({ id, request_id }: Admin) =>
  ({ kind: 'admin', id, request_id }) as const satisfies Actor

/** One thing that happened or was refused: ids and closed words, never an address, a name or free text. */
export type AuditEvent = {
  /** `<record>.<past tense>`, such as `delegation.revoked` or `exchange.refused`. */
  type: string
  at: Date
  actor: Actor
  tenant_id?: string | undefined
  agent_id?: string | undefined
  user_id?: string | undefined
  audience_id?: string | undefined
  delegation_id?: string | undefined
  jti?: string | undefined
  /** The code the caller was told. */
  error?: string | undefined
  /** The true reason. */
  reason?: Reason | undefined
  detail?: Record<string, unknown> | undefined
  /** The actor's, where none is given. */
  request_id?: string | undefined
}

/** Writes one event, in the caller's transaction when `db` is one. */
export async function recordEvent(
  db: Db,
  { actor, detail, request_id = actor.request_id, ...event }: AuditEvent,
): Promise<void> {
  await db
    .insertInto('audit_events')
    .values({
      id: newTimeOrderedId('evt_', event.at),
      ...event,
      request_id,
      actor_kind: actor.kind,
      actor_id: actor.id,
      detail: detail === undefined ? null : JSON.stringify(detail),
    })
    .execute()
}

/** Events in one statement: as JSON they have to fit into one value. */
const MOST = 5_000

/** Writes many events in few statements, for what ends thousands of records at once. */
export async function recordEvents(db: Db, events: readonly AuditEvent[]): Promise<void> {
  for (let at = 0; at < events.length; at += MOST)
    await insertEvents(db, events.slice(at, at + MOST))
}

async function insertEvents(db: Db, events: readonly AuditEvent[]): Promise<void> {
  const rows = events.map(({ actor, request_id = actor.request_id, ...event }) => ({
    id: newTimeOrderedId('evt_', event.at),
    ...event,
    request_id,
    tenant_id: event.tenant_id ?? DEFAULT_TENANT,
    actor_kind: actor.kind,
    actor_id: actor.id,
  }))
  await sql`
    insert into audit_events (id, tenant_id, at, type, actor_kind, actor_id, agent_id, user_id, audience_id,
      delegation_id, jti, error, reason, detail, request_id)
    select id, tenant_id, at, type, actor_kind, actor_id, agent_id, user_id, audience_id,
      delegation_id, jti, error, reason, detail, request_id
    from jsonb_populate_recordset(null::audit_events, ${JSON.stringify(rows)}::jsonb)`.execute(db)
}

import { sql, type Transaction } from 'kysely'
import type { Db, EventDialect, Row, Tables } from '../db/tables.ts'

/** How an audience is told, for those that want to be. */
export type Listener = {
  id: string
  tenant_id: string
  issuer: string
  alg: string
  endpoint: string
  dialect: EventDialect
  event_type: string | null
  names_agent: boolean
}

/** Whatever became of the audience: a service that was retired still holds what it gave. */
const listeners = (db: Db) =>
  db
    .selectFrom('audiences')
    .select(['id', 'tenant_id', 'issuer', 'id_jag_signing_alg as alg', 'event_type'])
    .select('event_names_agent as names_agent')
    .select((eb) => [
      eb.ref('events_endpoint').$notNull().as('endpoint'),
      eb.ref('events_dialect').$castTo<EventDialect>().as('dialect'),
    ])
    .where('events_endpoint', 'is not', null)
    .where('events_dialect', '<>', 'none')

export const listListeners = (db: Db, ids: readonly string[]): Promise<Listener[]> =>
  listeners(db).where(sql<boolean>`id = any(${ids}::text[])`).execute()

/**
 * Of this audience: that it was found by discovery and nobody has approved it yet. Whoever wrote its documents
 * says where it is told, and what was given to the app of before is not for them to hear of, nor to accept.
 */
export const neverApproved = (audience: string) => sql<boolean>`exists (
  select from audience_discoveries unseen
  where unseen.audience_id = ${sql.ref(`${audience}.id`)} and unseen.approved_at is null)`

/**
 * How the server of this name is told by now: by the audience that has it, be it another one than that of the event,
 * which was retired then. None where that one has another name by now, or is told nothing, or awaits approval still.
 */
export const findListenerNamed = (
  db: Db,
  {
    tenant_id,
    aud,
    audience_id,
  }: Pick<Row<'event_deliveries'>, 'tenant_id' | 'aud' | 'audience_id'>,
): Promise<Listener | undefined> =>
  listeners(db)
    .where('tenant_id', '=', tenant_id)
    .where('issuer', '=', aud)
    .where((eb) =>
      eb.or([
        eb('id', '=', audience_id),
        eb.and([eb('status', '<>', 'retired'), eb.not(neverApproved('audiences'))]),
      ]),
    )
    .orderBy(sql`status = 'retired'`)
    .limit(1)
    .executeTakeFirst()

/** In any order but always the same. Which algorithm an audience asks for says little of what it got. */
export const listAllListeners = (db: Db): Promise<Listener[]> =>
  listeners(db).orderBy('id').execute()

/** As it is written first; the rest of the row has its defaults. */
export type NewDelivery = Pick<
  Row<'event_deliveries'>,
  | 'id'
  | 'tenant_id'
  | 'revocation_id'
  | 'compromised_kid'
  | 'cause'
  | 'audience_id'
  | 'user_id'
  | 'agent_id'
  | 'agent_client_id'
  | 'dialect'
  | 'endpoint'
  | 'aud'
  | 'sub'
  | 'event_type'
  | 'jti'
  | 'kid'
  | 'jws'
  | 'created_at'
  | 'expires_at'
> & { next_attempt_at: Date }

/** Makes the transaction one that writes events, before it has: nobody is kept from anything. */
export const holdOutbox = (tx: Transaction<Tables>) =>
  sql`lock table event_deliveries in row exclusive mode`.execute(tx)

/** What was queued by it: a subject that its audience was told of because of the same key is left out. */
export async function insertDeliveries(
  db: Db,
  deliveries: readonly NewDelivery[],
): Promise<{ id: string; audience_id: string; sub: string }[]> {
  const { rows } = await sql<{ id: string; audience_id: string; sub: string }>`
    insert into event_deliveries (id, tenant_id, revocation_id, compromised_kid, cause, audience_id, user_id,
      agent_id, agent_client_id, dialect, endpoint, aud, sub, event_type, jti, kid, jws, next_attempt_at, created_at, expires_at)
    select id, tenant_id, revocation_id, compromised_kid, cause, audience_id, user_id,
      agent_id, agent_client_id, dialect, endpoint, aud, sub, event_type, jti, kid, jws, next_attempt_at, created_at, expires_at
    from jsonb_populate_recordset(null::event_deliveries, ${JSON.stringify(deliveries)}::jsonb)
    -- In one order, so that two replicas with the same ones cannot wait for each other.
    order by audience_id, sub
    on conflict (compromised_kid, audience_id, sub) where compromised_kid is not null do nothing
    returning id, audience_id, sub`.execute(db)
  return rows
}

/** Notes that a revocation is proved by events that were on their way before it. */
export async function joinEvents(
  tx: Transaction<Tables>,
  revocation_id: string,
  deliveryIds: readonly string[],
): Promise<void> {
  if (deliveryIds.length === 0) return
  await sql`
    insert into revocation_events (revocation_id, delivery_id)
    select ${revocation_id}, id from unnest(${deliveryIds}::text[]) as id
    on conflict do nothing`.execute(tx)
}

/** Queued events signed by a key, in the order of their ids, held; those that somebody else holds are left out. */
export const holdQueuedBy = (
  tx: Transaction<Tables>,
  { kid, after, limit }: { kid: string; after: string; limit: number },
) =>
  tx
    .selectFrom('event_deliveries as event')
    .innerJoin('audiences', 'audiences.id', 'event.audience_id')
    .select(['event.id', 'event.dialect', 'event.aud', 'event.sub', 'event.event_type'])
    .select(['event.agent_id', 'event.agent_client_id'])
    .select('audiences.id_jag_signing_alg as alg')
    .where('event.status', '=', 'queued')
    .where('event.kid', '=', kid)
    .where('event.id', '>', after)
    .orderBy('event.id')
    .limit(limit)
    .forUpdate('event')
    .skipLocked()
    .execute()

/**
 * The other signatures of events that the caller holds, or their first. Nothing is known of how these will fare.
 * @param aboutToSend they set out as soon as this has committed, so that a crash leaves it unknown whether they did
 */
export async function replaceSignatures(
  tx: Transaction<Tables>,
  signed: readonly { id: string; aud: string; jti: string; kid: string; jws: string }[],
  aboutToSend = false,
): Promise<void> {
  const changes = signed.map(({ id, aud, jti, kid, jws }) => ({ id, aud, jti, kid, jws }))
  await sql`
    update event_deliveries event
    set earlier_jtis = case when event.jws is null then event.earlier_jtis
        else array_append(event.earlier_jtis, event.jti) end,
      aud = signed.aud, jti = signed.jti, kid = signed.kid, jws = signed.jws, outcome_unknown = ${aboutToSend}
    from jsonb_to_recordset(${JSON.stringify(changes)}::jsonb) as signed(id text, aud text, jti text, kid text, jws text)
    where event.id = signed.id`.execute(tx)
}

export async function countQueuedBy(db: Db, kid: string): Promise<number> {
  const { count } = await db
    .selectFrom('event_deliveries')
    .select((eb) => eb.fn.countAll<string>().as('count'))
    .where('status', '=', 'queued')
    .where('kid', '=', kid)
    .executeTakeFirstOrThrow()
  return Number(count)
}

import { type Insertable, sql, type Updateable } from 'kysely'
import { newestFirst } from '../db/newest-first.ts'
import type { Db, Row, Tables } from '../db/tables.ts'
import type { ListRequest } from '../http/list.ts'
import { notFound } from '../http/problem.ts'
import { type AudienceRow, describeAudience } from './audience.ts'
import type { Audience, AudienceQuery } from './schema.ts'

const COLUMNS = [
  'id',
  'tenant_id',
  'issuer',
  'name',
  'profile',
  'resources',
  'default_scopes',
  'default_resources',
  'claims',
  'subject_type',
  'sector',
  'acr_values',
  'dpop_required',
  'max_auth_age',
  'id_jag_lifetime',
  'id_jag_signing_alg',
  'events_endpoint',
  'events_dialect',
  'event_type',
  'event_names_agent',
  'notify_expiry',
  'notify_when',
  'owner_id',
  'review_at',
  'status',
  'status_reason',
  'created_at',
  'updated_at',
] as const

/** In the order of `readAliases`. */
const ALIASES = sql<string[]>`array(
  select alias from audience_aliases where audience_id = audiences.id order by alias collate "C")`.as(
  'aliases',
)

/** In a list without what the documents themselves say, which may be long. */
const discovery = (documents: 'whole' | 'listed') => {
  const kept =
    documents === 'whole'
      ? sql`d.documents`
      : sql`(
    select coalesce(jsonb_agg(one - 'document'), '[]') from jsonb_array_elements(d.documents) one)`
  return sql<AudienceRow['discovery']>`(
    select to_jsonb(d) || jsonb_build_object('documents', ${kept})
    from audience_discoveries d where d.audience_id = audiences.id)`.as('discovery')
}

export function findAudience(db: Db, id: string): Promise<AudienceRow | undefined> {
  return db
    .selectFrom('audiences')
    .select(COLUMNS)
    .select(ALIASES)
    .select(discovery('whole'))
    .where('id', '=', id)
    .executeTakeFirst()
}

/** As the API shows it. @throws {ProblemError} `not_found` */
export async function requireAudience(db: Db, id: string): Promise<Audience> {
  const audience = await findAudience(db, id)
  if (audience === undefined) throw notFound('audience')
  return describeAudience(audience)
}

/** Without the aliases: read beside a row that had to be waited for, they could be those of before. */
export function lockAudience(db: Db, id: string): Promise<Row<'audiences'> | undefined> {
  return db
    .selectFrom('audiences')
    .select(COLUMNS)
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()
}

const AWAITS_APPROVAL = sql<boolean>`(audiences.status <> 'retired' and exists (
  select from audience_discoveries d where d.audience_id = audiences.id and d.pending is not null))`

export function listAudiences(
  db: Db,
  filter: AudienceQuery,
  list: ListRequest,
): Promise<AudienceRow[]> {
  let query = db
    .selectFrom('audiences')
    .select(COLUMNS)
    .select(ALIASES)
    .select(discovery('listed'))
    .$call(newestFirst(list))
  for (const name of ['status', 'issuer', 'owner_id', 'tenant_id'] as const) {
    const value = filter[name]
    if (value !== undefined) query = query.where(name, '=', value)
  }
  if (filter.awaits_approval !== undefined) {
    query = query.where(AWAITS_APPROVAL, '=', filter.awaits_approval)
  }
  return query.execute()
}

export function insertAudience(
  db: Db,
  audience: Insertable<Tables['audiences']>,
): Promise<Row<'audiences'>> {
  return db.insertInto('audiences').values(audience).returning(COLUMNS).executeTakeFirstOrThrow()
}

export function updateAudience(
  db: Db,
  id: string,
  change: Updateable<Tables['audiences']>,
): Promise<Row<'audiences'>> {
  return db
    .updateTable('audiences')
    .set(change)
    .where('id', '=', id)
    .returning(COLUMNS)
    .executeTakeFirstOrThrow()
}

/** Gives the row another version, which says the same: what compares versions reads again (rules/block.ts). */
export function touchAudience(
  db: Db,
  id: string,
): Promise<Pick<Row<'audiences'>, 'tenant_id' | 'status'> | undefined> {
  return db
    .updateTable('audiences')
    .set((eb) => ({ updated_at: eb.ref('updated_at') }))
    .where('id', '=', id)
    .returning(['tenant_id', 'status'])
    .executeTakeFirst()
}

/** Whether this user is there to answer for an audience of this tenant. */
export async function canOwn(
  db: Db,
  of: { tenant_id: string; owner_id: string },
): Promise<boolean> {
  const row = await db
    .selectFrom('users')
    .select('id')
    .where('id', '=', of.owner_id)
    .where('tenant_id', '=', of.tenant_id)
    .where('status', '<>', 'deleted')
    .forShare()
    .executeTakeFirst()
  return row !== undefined
}

import type { Insertable, Updateable } from 'kysely'
import { newestFirst } from '../db/newest-first.ts'
import type { Db, Row, Tables } from '../db/tables.ts'
import type { ListRequest } from '../http/list.ts'

const COLUMNS = ['id', 'name', 'status', 'created_at'] as const

export function findTenant(db: Db, id: string): Promise<Row<'tenants'> | undefined> {
  return db.selectFrom('tenants').select(COLUMNS).where('id', '=', id).executeTakeFirst()
}

export function lockTenant(db: Db, id: string): Promise<Row<'tenants'> | undefined> {
  return db
    .selectFrom('tenants')
    .select(COLUMNS)
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()
}

export function listTenants(
  db: Db,
  filter: { status?: Row<'tenants'>['status'] },
  list: ListRequest,
): Promise<Row<'tenants'>[]> {
  const query = db.selectFrom('tenants').select(COLUMNS).$call(newestFirst(list))
  const { status } = filter
  return (status === undefined ? query : query.where('status', '=', status)).execute()
}

export function insertTenant(
  db: Db,
  tenant: Insertable<Tables['tenants']>,
): Promise<Row<'tenants'>> {
  return db.insertInto('tenants').values(tenant).returning(COLUMNS).executeTakeFirstOrThrow()
}

export function updateTenant(
  db: Db,
  id: string,
  change: Updateable<Tables['tenants']>,
): Promise<Row<'tenants'>> {
  return db
    .updateTable('tenants')
    .set(change)
    .where('id', '=', id)
    .returning(COLUMNS)
    .executeTakeFirstOrThrow()
}

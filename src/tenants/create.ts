import { byAdmin, recordEvent } from '../audit/record.ts'
import { newId } from '../db/ids.ts'
import type { Db, Row } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { insertTenant } from './queries.ts'
import type { NewTenant } from './schema.ts'

export async function createTenant(
  tx: Db,
  deps: Deps,
  given: NewTenant,
  admin: Admin,
): Promise<Row<'tenants'>> {
  const now = deps.now()
  const tenant = await insertTenant(tx, { id: newId('ten'), name: given.name, created_at: now })
  await recordEvent(tx, {
    type: 'tenant.created',
    at: now,
    actor: byAdmin(admin),
    tenant_id: tenant.id,
  })
  return tenant
}

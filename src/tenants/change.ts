import { byAdmin, recordEvent } from '../audit/record.ts'
import type { Db, Row } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { notFound } from '../http/problem.ts'
import { lockTenant, updateTenant } from './queries.ts'
import type { TenantPatch } from './schema.ts'

/**
 * Applies a merge patch to a tenant, under its row lock: a mint of this tenant waits for this commit or is
 * waited for. What a suspension ends elsewhere is the caller's part.
 * @throws {ProblemError} `not_found`
 */
export async function changeTenant(
  tx: Db,
  deps: Deps,
  id: string,
  patch: TenantPatch,
  admin: Admin,
): Promise<{ tenant: Row<'tenants'>; before: Row<'tenants'> }> {
  const before = await lockTenant(tx, id)
  if (before === undefined) throw notFound('tenant')
  const { name = before.name, status = before.status } = patch
  const renamed = name !== before.name
  if (!renamed && status === before.status) return { tenant: before, before }

  const tenant = await updateTenant(tx, id, { name, status })
  const event = { at: deps.now(), actor: byAdmin(admin), tenant_id: id } as const
  if (renamed)
    await recordEvent(tx, { ...event, type: 'tenant.updated', detail: { changed: ['name'] } })
  if (status !== before.status) {
    await recordEvent(tx, {
      ...event,
      type: status === 'suspended' ? 'tenant.suspended' : 'tenant.resumed',
    })
  }
  return { tenant, before }
}

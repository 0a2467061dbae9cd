import type { Transaction } from 'kysely'
import { byAdmin, recordEvents } from '../audit/record.ts'
import type { Row, Tables } from '../db/tables.ts'
import { withdrawClaims } from '../delegations/withdraw-claims.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { replacedContacts } from '../users/contact.ts'

/**
 * A user who allowed an auth.md audience to be told one address has not allowed another: such services find
 * accounts by the address on first contact, so the new one is asked about (IJ-38). The `sub` stays. Whether
 * the old address was verified plays no part: what was told once may have lost its mark since.
 */
export async function askAboutNewContacts(
  tx: Transaction<Tables>,
  deps: Deps,
  { before, user }: { before: Row<'users'>; user: Row<'users'> },
  admin: Admin,
): Promise<void> {
  const claims = replacedContacts(before, user)
  if (claims.length === 0) return
  const narrowed = await withdrawClaims(tx, { user_id: user.id, claims })
  const at = deps.now()
  const actor = byAdmin(admin)
  await recordEvents(
    tx,
    narrowed.map(({ id, ...of }) => ({
      type: 'delegation.updated',
      at,
      actor,
      ...of,
      delegation_id: id,
      detail: { by: 'contact_changed', claims_withdrawn: claims },
    })),
  )
}

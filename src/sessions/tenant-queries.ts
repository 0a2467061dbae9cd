import type { Transaction } from 'kysely'
import type { Tables } from '../db/tables.ts'

/** Ends every session in a tenant. Returns how many could still have been used. */
export async function endSessionsIn(
  tx: Transaction<Tables>,
  { tenant_id, at, reason }: { tenant_id: string; at: Date; reason: string },
): Promise<number> {
  const ended = await tx
    .updateTable('sessions')
    .set({ ended_at: at, end_reason: reason })
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('sessions')
        .select('id')
        .where('tenant_id', '=', tenant_id)
        .where('ended_at', 'is', null)
        .orderBy('id')
        .forUpdate(),
    )
    .returning('expires_at')
    .execute()
  return ended.filter(({ expires_at }) => expires_at > at).length
}

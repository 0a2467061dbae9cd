import { sql, type Transaction } from 'kysely'
import type { Tables } from '../db/tables.ts'

type Tx = Transaction<Tables>

/** Nobody else reads or changes a key until the transaction ends. */
export async function holdSigningKeys(tx: Tx): Promise<void> {
  await sql`lock table signing_keys in access exclusive mode`.execute(tx)
}

/** Drops whatever signs, will sign or is still published. */
export async function compromiseAllKeys(
  tx: Tx,
  { at, reason }: { at: Date; reason: string },
): Promise<{ kid: string; purpose: string; alg: string; was: string }[]> {
  const { rows } = await sql<{ kid: string; purpose: string; alg: string; was: string }>`
    update signing_keys key
    set status = 'compromised', compromised_at = ${at}, compromise_reason = ${reason}
    from signing_keys before
    where before.kid = key.kid and key.status in ('next', 'active', 'retired')
    returning key.kid, key.purpose, key.alg, before.status as was`.execute(tx)
  return rows
}

/** Nothing rests on a dropped key any more. */
export async function clearAllKeys(tx: Tx, at: Date): Promise<void> {
  await tx
    .updateTable('signing_keys')
    .set({ cleared_at: at })
    .where('status', '=', 'compromised')
    .where('cleared_at', 'is', null)
    .execute()
}

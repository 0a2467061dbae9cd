import type { Db } from '../db/tables.ts'

/** Something that may be presented once: until when its digest is remembered. */
export type Presented = { digest: Buffer; expires_at: Date }

/**
 * Remembers what was presented, all of it in one statement: client assertions and proofs of keys count once,
 * whatever comes of the request. All replicas share that memory.
 * @returns what had been presented before.
 */
export async function spend<One extends Presented>(
  db: Db,
  tenant_id: string,
  presented: readonly One[],
): Promise<One[]> {
  if (presented.length === 0) return []
  const rows = presented
    .map(({ digest, expires_at }) => ({ digest, expires_at, tenant_id }))
    // In one order, so that two requests with the same ones cannot wait for each other.
    .sort((one, other) => Buffer.compare(one.digest, other.digest))
  const fresh = await db
    .insertInto('spent_assertions')
    .values(rows)
    .onConflict((conflict) => conflict.doNothing())
    .returning('digest')
    .execute()
  return presented.filter((one) => !fresh.some(({ digest }) => digest.equals(one.digest)))
}

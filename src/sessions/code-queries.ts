import { sql } from 'kysely'
import type { Db, Row } from '../db/tables.ts'

export type Code = Row<'authorization_codes'>
export type NewCode = Omit<Code, 'consumed_at' | 'family_id' | 'dpop_jkt'> & {
  dpop_jkt?: string | null
}

export async function insertCode(db: Db, code: NewCode): Promise<void> {
  await db.insertInto('authorization_codes').values(code).execute()
}

export const findCode = (db: Db, hash: Buffer) => codes(db, hash).executeTakeFirst()

/** Holds the code until the transaction ends: a second redemption waits and then finds it consumed. */
export const lockCode = (db: Db, hash: Buffer) => codes(db, hash).forUpdate().executeTakeFirst()

const codes = (db: Db, hash: Buffer) =>
  db.selectFrom('authorization_codes').selectAll().where('hash', '=', hash)

export async function consumeCode(
  db: Db,
  of: { hash: Buffer; family_id: string; at: Date },
): Promise<void> {
  await db
    .updateTable('authorization_codes')
    .set({ consumed_at: of.at, family_id: of.family_id })
    .where('hash', '=', of.hash)
    .execute()
}

/** Voids the codes not yet redeemed of these agents, or users, or of a tenant: a revocation reaches them too. */
export async function voidCodes(
  db: Db,
  of: { agent_ids?: readonly string[]; user_ids?: readonly string[]; tenant_id?: string },
  at: Date,
): Promise<void> {
  await db
    .updateTable('authorization_codes')
    .set({ consumed_at: at })
    .where('consumed_at', 'is', null)
    .where('hash', 'in', (eb) =>
      eb
        .selectFrom('authorization_codes')
        .select('hash')
        .where('consumed_at', 'is', null)
        .where((or) =>
          or.or([
            or('agent_id', '=', sql<string>`any(${of.agent_ids ?? []}::text[])`),
            or('user_id', '=', sql<string>`any(${of.user_ids ?? []}::text[])`),
            ...(of.tenant_id === undefined ? [] : [or('tenant_id', '=', of.tenant_id)]),
          ]),
        )
        // In one order, so that two revocations of overlapping reach do not wait for each other.
        .orderBy('hash')
        .forUpdate(),
    )
    .execute()
}

import type { Db, Row } from '../db/tables.ts'

export type NewCode = Omit<Row<'authorization_codes'>, 'consumed_at' | 'family_id'>

export async function insertCode(db: Db, code: NewCode): Promise<void> {
  await db.insertInto('authorization_codes').values(code).execute()
}

/** Holds the code until the transaction ends: a second redemption waits and then finds it consumed. */
export function lockCode(db: Db, hash: Buffer) {
  return db
    .selectFrom('authorization_codes')
    .selectAll()
    .where('hash', '=', hash)
    .forUpdate()
    .executeTakeFirst()
}

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

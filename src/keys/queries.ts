import { type Insertable, sql } from 'kysely'
import type { Db, Tables } from '../db/tables.ts'
import type { ListRequest } from '../http/list.ts'

/** One rotation or first start at a time, whichever replica; held until the transaction ends. */
export async function lockKeys(tx: Db): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtext('agent-idp signing keys'))`.execute(tx)
}

/** Whatever may still verify something: removed sealing keys too, for old seals stay. */
export function listVerifyingKeys(db: Db) {
  return db
    .selectFrom('signing_keys')
    .select(['kid', 'purpose', 'alg', 'status', 'published_at', 'retired_at'])
    .select(['public_jwk', 'proof'])
    .where((eb) =>
      eb.or([
        eb('status', 'in', ['next', 'active', 'retired']),
        eb.and([eb('status', '=', 'removed'), eb('purpose', '=', 'seal')]),
      ]),
    )
    .orderBy('kid')
    .execute()
}

/** The keys that sign, and those that will. */
export function listSigningKeys(db: Db) {
  return db
    .selectFrom('signing_keys')
    .select(['kid', 'purpose', 'alg', 'status', 'published_at', 'retired_at'])
    .select(['public_jwk', 'proof', 'private_key'])
    .where('status', 'in', ['next', 'active'])
    .orderBy('kid')
    .execute()
}

/** Every key that ever sealed, whatever became of it. */
export function listSealKeys(db: Db) {
  return listPublicKeys(db).where('purpose', '=', 'seal').where('alg', '=', 'ES256').execute()
}

/** What the proof of a key is about, of every key there ever was. */
export function listPublicKeys(db: Db) {
  return db.selectFrom('signing_keys').select(['kid', 'purpose', 'alg', 'public_jwk', 'proof'])
}

export async function replaceProof(db: Db, kid: string, proof: string): Promise<void> {
  await db.updateTable('signing_keys').set({ proof }).where('kid', '=', kid).execute()
}

export function listPrivateKeys(db: Db, kids: string[]) {
  return db
    .selectFrom('signing_keys')
    .select(['kid', 'purpose', 'alg', 'private_key'])
    .where('kid', 'in', kids)
    .execute()
}

/** Every key there ever was, newest first. */
export function listKeys(db: Db, { limit, after }: ListRequest) {
  let query = db
    .selectFrom('signing_keys')
    .select(['kid', 'alg', 'purpose', 'status', 'public_jwk', 'proof'])
    .select(['created_at', 'published_at', 'activated_at', 'retired_at'])
    .orderBy('created_at', 'desc')
    .orderBy('kid', 'desc')
    .limit(limit + 1)
  if (after) {
    query = query.where((eb) =>
      eb(eb.refTuple('created_at', 'kid'), '<', eb.tuple(after.created_at, after.id)),
    )
  }
  return query.execute()
}

export async function insertKeys(db: Db, rows: Insertable<Tables['signing_keys']>[]) {
  if (rows.length > 0) await db.insertInto('signing_keys').values(rows).execute()
}

export async function retireKey(db: Db, kid: string, at: Date): Promise<void> {
  await db
    .updateTable('signing_keys')
    .set({ status: 'retired', retired_at: at })
    .where('kid', '=', kid)
    .where('status', '=', 'active')
    .execute()
}

export async function activateKey(db: Db, kid: string, at: Date): Promise<void> {
  await db
    .updateTable('signing_keys')
    .set({ status: 'active', activated_at: at })
    .where('kid', '=', kid)
    .where('status', '=', 'next')
    .execute()
}

/** Of these, the ones that this call removed: another replica may have been faster. */
export function removeKeys(db: Db, kids: string[], at: Date) {
  return db
    .updateTable('signing_keys')
    .set({ status: 'removed', removed_at: at, private_key: null })
    .where('kid', 'in', kids)
    .where('status', '=', 'retired')
    .returning(['kid', 'purpose', 'alg'])
    .execute()
}

import { type Insertable, sql } from 'kysely'
import type { Db, Tables } from '../db/tables.ts'
import type { ListRequest } from '../http/list.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'

const LIFE = [
  ...(['kid', 'purpose', 'alg', 'status', 'published_at', 'activated_at', 'retired_at'] as const),
  'token_lifetime',
] as const

/** Changes whenever anything about a key does that is not yet removed. */
export async function fingerprint(db: Db): Promise<string> {
  const { rows } = await sql<{ of: string }>`
    select coalesce(md5(string_agg(kid || ' ' || xmin, ',' order by kid)), '') as of
    from signing_keys where status in ('next', 'active', 'retired')`.execute(db)
  return rows[0]?.of ?? ''
}

export async function countActive(db: Db, kids: readonly string[]): Promise<number> {
  const { count } = await db
    .selectFrom('signing_keys')
    .select((eb) => eb.fn.countAll<string>().as('count'))
    .where('kid', 'in', kids)
    .where('status', '=', 'active')
    .executeTakeFirstOrThrow()
  return Number(count)
}

/** One change of keys at a time, whichever replica; held until the transaction ends, which is to be soon. */
export async function lockKeys(tx: Db): Promise<void> {
  await sql`set local idle_in_transaction_session_timeout = '10s'`.execute(tx)
  await sql`select pg_advisory_xact_lock(hashtext('agent-idp signing keys'))`.execute(tx)
}

/**
 * One replica makes keys at a time, the others wait: after `patience` they are told to come again. Taken before
 * `lockKeys`, and held while nothing is asked of the database: a token may take long.
 */
export async function lockMaking(tx: Db, patience = '20s'): Promise<true> {
  await sql`set local idle_in_transaction_session_timeout = '10min'`.execute(tx)
  await sql`set local lock_timeout = ${sql.lit(patience)}`.execute(tx)
  await sql`select pg_advisory_xact_lock(hashtext('agent-idp making keys'))`.execute(tx)
  return true
}

/** The same, without waiting: false when another replica is at it. */
export async function tryLockMaking(tx: Db): Promise<boolean> {
  await sql`set local idle_in_transaction_session_timeout = '10min'`.execute(tx)
  const { rows } = await sql<{ locked: boolean }>`
    select pg_try_advisory_xact_lock(hashtext('agent-idp making keys')) as locked`.execute(tx)
  return rows[0]?.locked === true
}

/** Whatever may still verify something: removed sealing keys too, for old seals stay. */
export function listVerifyingKeys(db: Db) {
  return db
    .selectFrom('signing_keys')
    .select(LIFE)
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
    .select(LIFE)
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
    .select(['kid', 'purpose', 'alg', 'public_jwk', 'private_key'])
    .where('kid', 'in', kids)
    .execute()
}

/** Those whose private part is somewhere still, to be kept or ended; held until the transaction ends. */
export function lockPrivateKeys(tx: Db) {
  return tx
    .selectFrom('signing_keys')
    .select(LIFE)
    .select(['public_jwk', 'proof', 'private_key'])
    .where('private_key', 'is not', null)
    .orderBy('kid')
    .forUpdate()
    .execute()
}

export async function replacePrivateKey(db: Db, kid: string, private_key: string | null) {
  await db.updateTable('signing_keys').set({ private_key }).where('kid', '=', kid).execute()
}

/** Every key there ever was, newest first. */
export function listKeys(db: Db, { limit, after }: ListRequest) {
  let query = db
    .selectFrom('signing_keys')
    .select(['kid', 'alg', 'purpose', 'status', 'public_jwk', 'proof'])
    .select(['created_at', 'published_at', 'activated_at', 'retired_at', 'token_lifetime'])
    .select(['removed_at', 'compromised_at', 'compromise_reason', 'private_key'])
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

/** The longest that anything signed for a purpose by an algorithm may live, in seconds, by `id_jag ES256`. */
export async function listLongestTokens(db: Db): Promise<Map<string, number>> {
  const rows = await db
    .selectFrom('signing_keys')
    .select(['purpose', 'alg'])
    .select((eb) => eb.fn.max('token_lifetime').as('longest'))
    .groupBy(['purpose', 'alg'])
    .execute()
  return new Map(rows.map(({ purpose, alg, longest }) => [`${purpose} ${alg}`, longest ?? 0]))
}

/** They count as published then, or later if that is what they have. */
export async function confirmPublished(db: Db, kids: readonly string[], at: Date): Promise<void> {
  await db
    .updateTable('signing_keys')
    .set({ published_at: at })
    .where('kid', 'in', kids)
    .where('status', '=', 'next')
    // Soon enough after it was written there is nothing to mend.
    .where('published_at', '<', addSeconds(at, -0.05))
    .where('published_at', '>', sql<Date>`created_at`)
    .execute()
}

/**
 * What it signs may live as long as what any key of its slot signed: other replicas may be set otherwise.
 * @param token_lifetime seconds, as this server is set
 */
export async function activateKey(
  db: Db,
  kid: string,
  at: Date,
  token_lifetime: number,
): Promise<void> {
  await db
    .updateTable('signing_keys as key')
    .set({
      status: 'active',
      activated_at: at,
      token_lifetime: sql<number>`greatest(${token_lifetime}::integer, (
        select max(same.token_lifetime) from signing_keys same
        where same.purpose = key.purpose and same.alg = key.alg))`,
    })
    .where('kid', '=', kid)
    .where('status', '=', 'next')
    .execute()
}

/** What signs now may sign for so many seconds, from this server's start on. */
export async function lengthenTokens(db: Db, token_lifetime: number): Promise<void> {
  await db
    .updateTable('signing_keys')
    .set({ token_lifetime })
    .where('status', '=', 'active')
    .where('token_lifetime', '<', token_lifetime)
    .execute()
}

export async function compromiseKey(
  db: Db,
  kid: string,
  { at, reason }: { at: Date; reason: string | undefined },
): Promise<void> {
  await db
    .updateTable('signing_keys')
    .set({ status: 'compromised', compromised_at: at, compromise_reason: reason ?? null })
    .where('kid', '=', kid)
    .execute()
}

export function findKey(db: Db, kid: string) {
  return db
    .selectFrom('signing_keys')
    .select(LIFE)
    .select('compromised_at')
    .where('kid', '=', kid)
    .executeTakeFirst()
}

export function listRetired(db: Db) {
  return db.selectFrom('signing_keys').select(LIFE).where('status', '=', 'retired').execute()
}

/** Keys that sign no more, whose private part is somewhere still. */
export function listUseless(db: Db) {
  return db
    .selectFrom('signing_keys')
    .select(['kid', 'purpose', 'alg', 'public_jwk', 'proof'])
    .select(['private_key', 'retired_at', 'compromised_at'])
    .where('status', 'in', ['retired', 'removed', 'compromised'])
    .where('private_key', 'is not', null)
    .execute()
}

/** Compromised ones on which something may rest still. */
export function listUncleared(db: Db) {
  return db
    .selectFrom('signing_keys')
    .select(['kid', 'purpose', 'activated_at'])
    .select((eb) => [
      eb.ref('alg').$castTo<SigningAlg>().as('alg'),
      eb.ref('compromised_at').$notNull().as('compromised_at'),
    ])
    .where('status', '=', 'compromised')
    .where('compromised_at', 'is not', null)
    .where('cleared_at', 'is', null)
    .orderBy('kid')
    .execute()
}

/** False if another replica was faster. */
export async function markCleared(db: Db, kid: string, at: Date): Promise<boolean> {
  const marked = await db
    .updateTable('signing_keys')
    .set({ cleared_at: at })
    .where('kid', '=', kid)
    .where('cleared_at', 'is', null)
    .executeTakeFirst()
  return marked.numUpdatedRows > 0n
}

/** Of these, the ones that this call removed: another replica may have been faster. */
export function removeKeys(db: Db, kids: string[], at: Date) {
  return db
    .updateTable('signing_keys')
    .set({ status: 'removed', removed_at: at })
    .where('kid', 'in', kids)
    .where('status', '=', 'retired')
    .returning(['kid', 'purpose', 'alg'])
    .execute()
}

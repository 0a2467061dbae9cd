import { type SqlBool, sql } from 'kysely'
import type { Db, Row } from '../db/tables.ts'

export type Family = Row<'refresh_token_families'>
export type NewFamily = Omit<Family, 'ended_at' | 'end_reason'>

export async function insertFamily(db: Db, family: NewFamily): Promise<void> {
  await db.insertInto('refresh_token_families').values(family).execute()
}

/** Writes down which key signed an ID token of this family, so that the end of one finds the other. */
export async function noteIdTokenKey(db: Db, id: string, kid: string): Promise<void> {
  await db
    .updateTable('refresh_token_families')
    .set({ id_token_kids: sql<string[]>`array_append(id_token_kids, ${kid})` })
    .where('id', '=', id)
    .where(sql<boolean>`not ${kid} = any(id_token_kids)`)
    .execute()
}

/** A refresh token, current or spent, with its family and the session that began it. */
export function findRefreshToken(db: Db, hash: Buffer) {
  return db
    .selectFrom('refresh_tokens')
    .innerJoin('refresh_token_families as family', 'family.id', 'refresh_tokens.family_id')
    .innerJoin('sessions', 'sessions.id', 'family.session_id')
    .select([
      'refresh_tokens.hash',
      'refresh_tokens.expires_at',
      'refresh_tokens.spent_at',
      'family.id as family_id',
      'family.tenant_id',
      'family.agent_id',
      'family.user_id',
      'family.session_id',
      'family.scope',
      'family.expires_at as family_expires_at',
      'family.ended_at as family_ended_at',
      'sessions.auth_time',
      'sessions.amr',
      'sessions.expires_at as session_expires_at',
      'sessions.ended_at as session_ended_at',
    ])
    .where('refresh_tokens.hash', '=', hash)
    .executeTakeFirst()
}

/** Holds the family: rotations of one family happen one after the other. */
export function lockFamily(db: Db, id: string) {
  return db
    .selectFrom('refresh_token_families')
    .selectAll()
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()
}

export async function isFamilyLive(db: Db, id: string): Promise<boolean> {
  const row = await db
    .selectFrom('refresh_token_families')
    .select('id')
    .where('id', '=', id)
    .where('ended_at', 'is', null)
    .executeTakeFirst()
  return row !== undefined
}

/** The state of one token; read it after `lockFamily`, so that it cannot change any more. */
export function findTokenState(db: Db, hash: Buffer) {
  return db
    .selectFrom('refresh_tokens')
    .select(['expires_at', 'spent_at'])
    .where('hash', '=', hash)
    .executeTakeFirst()
}

export async function insertRefreshToken(
  db: Db,
  token: Omit<Row<'refresh_tokens'>, 'spent_at'>,
): Promise<void> {
  await db.insertInto('refresh_tokens').values(token).execute()
}

export async function spendRefreshToken(db: Db, of: { hash: Buffer; at: Date }): Promise<void> {
  await db
    .updateTable('refresh_tokens')
    .set({ spent_at: of.at })
    .where('hash', '=', of.hash)
    .execute()
}

/** Binds a family that was not bound: from now on its tokens are for who holds that key. */
export async function bindFamily(db: Db, of: { id: string; dpop_jkt: string }): Promise<void> {
  await db
    .updateTable('refresh_token_families')
    .set({ dpop_jkt: of.dpop_jkt })
    .where('id', '=', of.id)
    .where('dpop_jkt', 'is', null)
    .execute()
}

/** What a revocation names; members given are joined by `and`, and at least one must be. */
export type FamiliesOf = {
  ids?: readonly string[]
  session_ids?: readonly string[]
  user_ids?: readonly string[]
  /** Of these agents too, whoever their user is. */
  or_agent_ids?: readonly string[]
  agent_ids?: readonly string[]
  tenant_id?: string
  /** False: those without a refresh token alone. A narrowing, and no name of its own. */
  holdingToken?: false
}

/** Ends every live family in reach: their tokens, and the ID tokens made from them, are refused from the commit on. */
export async function endFamilies(
  db: Db,
  { of, at, reason }: { of: FamiliesOf; at: Date; reason: string },
): Promise<Pick<Family, 'id' | 'tenant_id' | 'agent_id' | 'user_id'>[]> {
  const columns = {
    id: of.ids,
    session_id: of.session_ids,
    user_id: of.or_agent_ids ? undefined : of.user_ids,
    agent_id: of.agent_ids,
    tenant_id: of.tenant_id === undefined ? undefined : [of.tenant_id],
  }
  const named = Object.entries(columns).filter(([, values]) => values !== undefined)
  const { user_ids = [], or_agent_ids } = of
  if (named.length === 0 && !or_agent_ids) throw new TypeError('endFamilies: nothing named')
  return db
    .updateTable('refresh_token_families')
    .set({ ended_at: at, end_reason: reason })
    .where('ended_at', 'is', null)
    .where('id', 'in', (eb) => {
      let reach = eb.selectFrom('refresh_token_families').select('id').where('ended_at', 'is', null)
      for (const [column, values] of named) {
        reach = reach.where(
          column as keyof typeof columns,
          '=',
          sql<string>`any(${values}::text[])`,
        )
      }
      if (or_agent_ids) {
        reach = reach.where(
          sql<SqlBool>`(user_id = any(${user_ids}::text[]) or agent_id = any(${or_agent_ids}::text[]))`,
        )
      }
      if (of.holdingToken === false) {
        reach = reach.where(sql<SqlBool>`not ('offline_access' = any(scope))`)
      }
      // In one order, so that two that end overlapping sets do not wait for each other.
      return reach.orderBy('id').forUpdate()
    })
    .returning(['id', 'tenant_id', 'agent_id', 'user_id'])
    .execute()
}

/** Of these families, how many hold a refresh token that could still have been used. */
export async function countCurrentTokens(
  db: Db,
  families: readonly { id: string }[],
  at: Date,
): Promise<number> {
  const ids = families.map(({ id }) => id)
  const { count } = await db
    .selectFrom('refresh_tokens')
    .select((eb) => eb.fn.countAll<string>().as('count'))
    .where(sql<SqlBool>`family_id = any(${ids}::text[])`)
    .where('spent_at', 'is', null)
    .where('expires_at', '>', at)
    .executeTakeFirstOrThrow()
  return Number(count)
}

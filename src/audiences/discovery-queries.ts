import { type RawBuilder, type Selectable, sql } from 'kysely'
import type { Db, Tables } from '../db/tables.ts'
import type { Flag, Pending } from './discovery.ts'
import type { Found } from './found.ts'

/** A document as it is kept. */
export type KeptDocument = {
  kind: 'protected_resource' | 'authorization_server'
  url: string
  read_at: string
  document: Record<string, unknown>
}

type Columns = Selectable<Tables['audience_discoveries']>
export type Discovery = Omit<Columns, 'documents' | 'found' | 'pending' | 'flags'> & {
  documents: KeptDocument[]
  found: Found
  pending: Pending | null
  flags: Flag[]
}
type Change = Partial<Omit<Discovery, 'audience_id' | 'tenant_id' | 'url'>>

export async function insertDiscovery(
  tx: Db,
  discovery: Omit<
    Discovery,
    'approved_at' | 'failures' | 'last_failure' | 'failed_at' | 'claimed_until'
  >,
): Promise<void> {
  await tx
    .insertInto('audience_discoveries')
    .values({ ...discovery, ...asJson(discovery) } as never)
    .execute()
}

/** Whoever changes it holds the audience's own row first. */
export async function findDiscovery(db: Db, audienceId: string): Promise<Discovery | undefined> {
  const row = await db
    .selectFrom('audience_discoveries')
    .selectAll()
    .where('audience_id', '=', audienceId)
    .executeTakeFirst()
  return row as Discovery | undefined
}

export async function updateDiscovery(tx: Db, audienceId: string, change: Change): Promise<void> {
  await tx
    .updateTable('audience_discoveries')
    .set({ ...change, ...asJson(change) } as never)
    .where('audience_id', '=', audienceId)
    .execute()
}

const asJson = ({ documents, found, pending }: Change) => ({
  ...(documents && { documents: JSON.stringify(documents) }),
  ...(found && { found: JSON.stringify(found) }),
  ...(pending && { pending: JSON.stringify(pending) }),
})

/** An administrator suspends it now. Says whether it was suspended because of a change alone. */
export async function takeOverStop(tx: Db, audienceId: string): Promise<boolean> {
  const row = await tx
    .updateTable('audience_discoveries')
    .set({ stopped: false })
    .where('audience_id', '=', audienceId)
    .where('stopped', '=', true)
    .returning('audience_id')
    .executeTakeFirst()
  return row !== undefined
}

export async function awaitsApproval(tx: Db, audienceId: string): Promise<boolean> {
  const row = await tx
    .selectFrom('audience_discoveries')
    .select('audience_id')
    .where('audience_id', '=', audienceId)
    .where('pending', 'is not', null)
    .executeTakeFirst()
  return row !== undefined
}

export async function countAwaitingApproval(db: Db): Promise<number> {
  const row = await db
    .selectFrom('audience_discoveries')
    .innerJoin('audiences', 'audiences.id', 'audience_discoveries.audience_id')
    .where('pending', 'is not', null)
    .where('audiences.status', '<>', 'retired')
    .select((eb) => eb.fn.countAll<string>().as('count'))
    .executeTakeFirstOrThrow()
  return Number(row.count)
}

/** Milliseconds that one reading has before another replica may begin anew: more than a walk can take. */
const CLAIM = 180_000

export type Claim = {
  audience_id: string
  url: string
  found: Found
  /** Whether a resource said whose it is, and which servers it listed when that was last kept. */
  has_resource: boolean
  listed: unknown
  /** Where the documents lay. */
  locations: string[]
  /** The issuer that awaits approval. */
  proposed: string | null
  claimed_until: Date
}

/** Takes some whose documents are due, which nobody reads now. */
export function claimDue(db: Db, now: Date, most: number): Promise<Claim[]> {
  return claim(db, now, sql`next_read_at <= ${now} order by next_read_at limit ${most}`)
}

/** Takes this one unless it was asked for after `before`, or somebody reads it now. */
export async function claimOne(
  db: Db,
  of: { audience_id: string; before: Date },
  now: Date,
): Promise<Claim | undefined> {
  const asked = sql`d.audience_id = ${of.audience_id} and d.asked_at < ${of.before}`
  return (await claim(db, now, asked))[0]
}

async function claim(db: Db, now: Date, which: RawBuilder<unknown>): Promise<Claim[]> {
  const until = new Date(now.getTime() + CLAIM)
  const { rows } = await sql<Claim>`
    update audience_discoveries set claimed_until = ${until}, asked_at = ${now}
    where audience_id = any(array(
      select d.audience_id from audience_discoveries d
      join audiences a on a.id = d.audience_id and a.status <> 'retired'
      where (d.claimed_until is null or d.claimed_until < ${now}) and ${which}
      for update of d skip locked))
    returning audience_id, url, found, claimed_until,
      documents @> '[{"kind": "protected_resource"}]' as has_resource,
      jsonb_path_query_first(documents,
        '$[*] ? (@.kind == "protected_resource").document.authorization_servers') as listed,
      array(select kept ->> 'url' from jsonb_array_elements(documents) kept) as locations,
      pending -> 'found' ->> 'issuer' as proposed`.execute(db)
  return rows
}

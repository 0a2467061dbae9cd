import { type Insertable, sql } from 'kysely'
import type { Db, Row, Tables } from '../db/tables.ts'
import { hostOfMetadataUrl, isCoveredByHost } from '../oauth/client-metadata.ts'

/** An instant that stands for "without an end". */
const FOREVER = `'9999-12-31T00:00:00Z'::timestamptz`

/**
 * SQL for how long a rule lets an agent come by its metadata URL: null where none does, and for every agent
 * that is known by its id, which costs it nothing. `agents` is the table's name in the statement.
 */
export const allowedUntil = (agents: string): string => `
  case when ${agents}.client_metadata_url is not null then (
    select max(coalesce(rule.expires_at, ${FOREVER})) from client_metadata_rules rule
    where rule.ended_at is null and rule.tenant_id = ${agents}.tenant_id
      and (rule.url = ${agents}.client_metadata_url
        or (rule.host = split_part(${agents}.client_metadata_url, '/', 3)
          and position('?' in ${agents}.client_metadata_url) = 0))) end`

export type MetadataRule = Pick<
  Row<'client_metadata_rules'>,
  'id' | 'tenant_id' | 'url' | 'owner_id' | 'purpose' | 'environment' | 'agent_expires_at'
>
export type KnownAgent = Pick<
  Row<'agents'>,
  'id' | 'tenant_id' | 'status' | 'client_metadata' | 'client_metadata_seen_at'
>

const RULE = ['id', 'tenant_id', 'url', 'owner_id', 'purpose', 'environment'] as const
const KNOWN = ['id', 'tenant_id', 'status', 'client_metadata', 'client_metadata_seen_at'] as const

/** The rule that lets a client with this URL come, before others the one that names the URL, and its agent. */
export async function findAllowed(
  db: Db,
  url: string,
  now: Date,
): Promise<{ rule: MetadataRule; agent: KnownAgent | undefined } | undefined> {
  const row = await db
    .selectFrom('client_metadata_rules as rule')
    .leftJoin('agents as agent', (join) =>
      join.on('agent.client_metadata_url', '=', url).on('agent.status', '<>', 'retired'),
    )
    .select([...RULE.map((name) => `rule.${name}` as const), 'rule.agent_expires_at'])
    .select([
      'agent.id as agent_id',
      'agent.tenant_id as agent_tenant_id',
      'agent.status',
      'agent.client_metadata',
      'agent.client_metadata_seen_at',
    ])
    .where('rule.ended_at', 'is', null)
    .where((eb) => eb.or([eb('rule.expires_at', 'is', null), eb('rule.expires_at', '>', now)]))
    .where((eb) => {
      const byUrl = eb('rule.url', '=', url)
      if (!isCoveredByHost(url)) return byUrl
      return eb.or([byUrl, eb('rule.host', '=', hostOfMetadataUrl(url))])
    })
    // One URL is one agent, whoever allows it: of the tenant that has it.
    .where((eb) =>
      eb.or([eb('agent.id', 'is', null), eb('agent.tenant_id', '=', eb.ref('rule.tenant_id'))]),
    )
    .orderBy(sql`rule.url is null`)
    .limit(1)
    .executeTakeFirst()
  if (row === undefined) return undefined
  const { agent_id, agent_tenant_id, status, client_metadata, client_metadata_seen_at, ...rule } =
    row
  if (agent_id === null || agent_tenant_id === null || status === null) {
    return { rule, agent: undefined }
  }
  const known = { status, client_metadata, client_metadata_seen_at }
  return { rule, agent: { id: agent_id, tenant_id: agent_tenant_id, ...known } }
}

/** Whether a rule stands for this agent now; true of every agent that is known by its id. */
export async function isAllowed(db: Db, agentId: string, now: Date): Promise<boolean> {
  const row = await db
    .selectFrom('agents')
    .select([
      'client_metadata_url',
      sql<Date | null>`${sql.raw(allowedUntil('agents'))}`.as('until'),
    ])
    .where('id', '=', agentId)
    .executeTakeFirst()
  if (row === undefined) return false
  return row.client_metadata_url === null || (row.until !== null && row.until > now)
}

/** Those among agents that are known by a URL whom no rule lets come now. */
export async function listBarred(db: Db, ids: readonly string[], now: Date): Promise<string[]> {
  const rows = await db
    .selectFrom('agents')
    .select('id')
    .where(sql<boolean>`id = any(${ids}::text[])`)
    .where(sql<boolean>`coalesce((${sql.raw(allowedUntil('agents'))}) <= ${now}, true)`)
    .orderBy('id')
    .execute()
  return rows.map(({ id }) => id)
}

/** Undefined when there is an agent with this URL that is not retired. */
export const insertKnownAgent = (
  db: Db,
  agent: Insertable<Tables['agents']>,
): Promise<KnownAgent | undefined> =>
  db
    .insertInto('agents')
    .values(agent)
    .onConflict((conflict) =>
      // Written out: an index is not found by a parameter.
      conflict.column('client_metadata_url').where(sql<boolean>`status <> 'retired'`).doNothing(),
    )
    .returning(KNOWN)
    .executeTakeFirst()

/** The agent with this URL that is not retired, if there is one: of whichever tenant. */
export const findKnownAgent = (db: Db, url: string): Promise<KnownAgent | undefined> =>
  db
    .selectFrom('agents')
    .select(KNOWN)
    .where('client_metadata_url', '=', url)
    .where('status', '<>', 'retired')
    .executeTakeFirst()

export async function wasRetired(
  db: Db,
  of: { tenant_id: string; client_metadata_url: string },
): Promise<boolean> {
  const row = await db
    .selectFrom('agents')
    .select('id')
    .where((eb) => eb.and(of))
    .where('status', '=', 'retired')
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}

/** The rule, held as it is until the transaction ends. */
export const shareMetadataRule = (
  db: Db,
  id: string,
): Promise<Pick<Row<'client_metadata_rules'>, 'ended_at' | 'expires_at'> | undefined> =>
  db
    .selectFrom('client_metadata_rules')
    .select(['ended_at', 'expires_at'])
    .where('id', '=', id)
    .forShare()
    .executeTakeFirst()

export const shareTenant = (
  db: Db,
  id: string,
): Promise<Pick<Row<'tenants'>, 'status'> | undefined> =>
  db.selectFrom('tenants').select('status').where('id', '=', id).forShare().executeTakeFirst()

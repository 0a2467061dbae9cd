/**
 * One statement for every outcome of an exchange, shared by the requests in flight.
 *
 *  1. No record, no token: a caller is answered after its row has committed (rule 1).
 *  2. The statement asks once more, under row locks, whether all that the decision rested on still
 *     stands and is the very version that was read (rule 3). What ends something takes its row
 *     `for update` first, so commit order alone decides between an end and a mint.
 *  3. It spends: a `once` delegation, and the client assertion's `jti`, both or neither.
 *
 * This statement writes tables of three rooms (delegations, spent assertions, issuances), because they
 * have to be one commit.
 */
import type pg from 'pg'
import { columns, createBatch, createLanes } from '../db/batch.ts'

export type Issuance = {
  jti: string
  at: Date
  tenant_id: string
  user_id: string
  user_version: string
  agent_id: string
  agent_version: string
  owner_id: string
  audience_id: string
  audience_version: string
  entitlement_id: string
  entitlement_version: string
  delegation_id: string
  delegation_version: string
  once: boolean
  credential_id: string | null
  session_id: string
  family_id: string
  refresh_hash: Buffer | null
  assertion_digest: Buffer | null
  assertion_expires_at: Date | null
  resources: readonly string[]
  scopes: readonly string[]
  kid: string
  auth_time: Date
  expires_at: Date
  agent_context_id: string | null
  request_id: string | null
}

/**
 * `recorded`: the row is durable. `replayed`: the client assertion was spent before. `changed`: something
 * the decision rested on has ended or is another version; nothing was written.
 */
export type Recorded = 'recorded' | 'replayed' | 'changed'
export type RecordIssuance = (issuance: Issuance) => Promise<Recorded>

/** Requests in one writing statement at the most. */
const MOST = 32

/** Requests that wait for a lock at once: fewer than the pool's connections, which others need. */
const MOST_ALONE = 2

export function createRecordIssuance(pool: pg.Pool): RecordIssuance {
  const run = (name: string, text: string) => async (issuances: Issuance[]) => {
    const { rows } = await pool.query<{ n: string; outcome: Recorded }>({
      name,
      text,
      values: columns(issuances, COLUMNS),
    })
    const outcomes: Recorded[] = []
    for (const { n, outcome } of rows) outcomes[Number(n) - 1] = outcome
    return outcomes
  }
  // Together, nobody waits for a row that someone is about to end: such a request is left out (skip
  // locked) and goes alone, where waiting holds up nobody else. So a batch never waits for a row lock.
  const together = createBatch<Issuance, Recorded>({
    most: MOST,
    apart: ({ once, delegation_id, assertion_digest }) => [
      ...(once ? [delegation_id] : []),
      ...(assertion_digest ? [assertion_digest.toString('base64')] : []),
    ],
    run: run('record_issuances', recordStatement('skip locked')),
  })
  const runAlone = run('record_issuance', recordStatement(''))
  const alone = createLanes(MOST_ALONE, async (issuance: Issuance) => {
    const [outcome] = await runAlone([issuance])
    return outcome ?? 'changed'
  })
  return async (issuance) => {
    const outcome = await together(issuance)
    return outcome === 'changed' ? alone(issuance) : outcome
  }
}

const COLUMNS: ((of: Issuance) => unknown)[] = [
  (of) => of.jti,
  (of) => of.at.toISOString(),
  (of) => of.tenant_id,
  (of) => of.user_id,
  (of) => of.user_version,
  (of) => of.agent_id,
  (of) => of.agent_version,
  (of) => of.owner_id,
  (of) => of.audience_id,
  (of) => of.audience_version,
  (of) => of.entitlement_id,
  (of) => of.entitlement_version,
  (of) => of.delegation_id,
  (of) => of.delegation_version,
  (of) => of.once,
  (of) => of.credential_id,
  (of) => of.session_id,
  (of) => of.family_id,
  (of) => of.refresh_hash,
  (of) => of.assertion_digest,
  (of) => of.assertion_expires_at?.toISOString() ?? null,
  // unnest would flatten arrays of arrays, so lists travel as words: neither scopes nor URIs hold spaces.
  (of) => of.resources.join(' '),
  (of) => of.scopes.join(' '),
  (of) => of.kid,
  (of) => of.auth_time.toISOString(),
  (of) => of.expires_at.toISOString(),
  (of) => of.agent_context_id,
  (of) => of.request_id,
]

/**
 * Each row is found by its key and locked before it is judged, one table after the other: a connection of
 * the hot pool joins in the order written, so that order is the order of the locks. `limit 1` keeps the
 * judgement outside, where it sees the row as it stands once the lock is held.
 */
function recordStatement(waiting: 'skip locked' | ''): string {
  const held = (columns: string, table: string, key: string, lock = 'share') =>
    `lateral (select ${columns} from ${table} x where ${key} limit 1 for ${lock} ${waiting})`
  return `
with asked as (
  select * from unnest(
    $1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::boolean[],
    $16::text[], $17::text[], $18::text[], $19::bytea[], $20::bytea[], $21::timestamptz[], $22::text[],
    $23::text[], $24::text[], $25::timestamptz[], $26::timestamptz[], $27::text[], $28::text[])
  with ordinality as asked(
    jti, at, tenant_id, user_id, user_version, agent_id, agent_version, owner_id, audience_id,
    audience_version, entitlement_id, entitlement_version, delegation_id, delegation_version, once,
    credential_id, session_id, family_id, refresh_hash, assertion_digest, assertion_expires_at, resources,
    scopes, kid, auth_time, expires_at, agent_context_id, request_id, n)),
standing as (
  select asked.* from asked
  join ${held('x.status', 'tenants', 'x.id = asked.tenant_id')} t on true
  join ${held('x.status, x.xmin::text as version', 'users', 'x.id = asked.user_id')} u on true
  join ${held('x.expires_at, x.xmin::text as version', 'agents', 'x.id = asked.agent_id')} a on true
  join ${held('x.status', 'users', 'x.id = asked.owner_id')} o on true
  join ${held('x.xmin::text as version', 'audiences', 'x.id = asked.audience_id')} au on true
  join ${held('x.expires_at, x.xmin::text as version', 'entitlements', 'x.id = asked.entitlement_id')} e
    on true
  left join ${held('x.expires_at, x.xmin::text as version', 'delegations', 'x.id = asked.delegation_id and not asked.once')} always
    on true
  left join ${held('x.expires_at, x.xmin::text as version', 'delegations', 'x.id = asked.delegation_id and asked.once', 'update')} once
    on true
  left join ${held('x.id, x.ended_at', 'credentials', 'x.id = asked.credential_id')} c on true
  join ${held('x.ended_at, x.expires_at', 'sessions', 'x.id = asked.session_id')} s on true
  join ${held('x.ended_at', 'refresh_token_families', 'x.id = asked.family_id')} f on true
  left join ${held('x.hash, x.spent_at', 'refresh_tokens', 'x.hash = asked.refresh_hash')} rt on true
  -- The version that was read was live: a row that has ended since is another version.
  where t.status = 'active' and u.status = 'active' and o.status = 'active'
    and u.version = asked.user_version
    and a.version = asked.agent_version and a.expires_at > asked.at
    and au.version = asked.audience_version
    and e.version = asked.entitlement_version and (e.expires_at is null or e.expires_at > asked.at)
    and asked.delegation_version = case when asked.once then once.version else always.version end
    and coalesce(once.expires_at, always.expires_at, 'infinity') > asked.at
    and (asked.credential_id is null or (c.id is not null and c.ended_at is null))
    and s.ended_at is null and s.expires_at > asked.at
    and f.ended_at is null
    and (asked.refresh_hash is null or (rt.hash is not null and rt.spent_at is null))),
-- In the order of the digests, so that two statements with the same ones cannot wait for each other.
fresh as (
  insert into spent_assertions (digest, tenant_id, expires_at)
  select assertion_digest, tenant_id, assertion_expires_at from standing
  where assertion_digest is not null order by assertion_digest
  on conflict do nothing returning digest),
minted as (
  select * from standing
  where assertion_digest is null or assertion_digest in (select digest from fresh)),
spent as (
  update delegations d set status = 'consumed', consumed_at = minted.at
  from minted where d.id = minted.delegation_id and minted.once),
issued as (
  insert into issuances (jti, tenant_id, at, agent_id, owner_id, user_id, audience_id, delegation_id,
    credential_id, session_id, family_id, resources, scopes, kid, auth_time, expires_at,
    agent_context_id, request_id)
  select jti, tenant_id, at, agent_id, owner_id, user_id, audience_id, delegation_id, credential_id,
    session_id, family_id, string_to_array(resources, ' '), string_to_array(scopes, ' '), kid, auth_time,
    expires_at, agent_context_id, request_id from minted)
select asked.n, case
  when asked.n in (select n from minted) then 'recorded'
  when asked.n in (select n from standing) then 'replayed'
  else 'changed' end as outcome
from asked`
}

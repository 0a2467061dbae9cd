/**
 * One statement for every outcome of an exchange, shared by the requests in flight.
 *
 *  1. No record, no token: a caller is answered after its row has committed (rule 1).
 *  2. The statement asks once more, under row locks, whether all that the decision rested on still
 *     stands and is the very version that was read (rule 3). What ends something takes its row
 *     `for update` first, so commit order alone decides between an end and a mint.
 *  3. It spends: a `once` delegation, the client assertion's `jti` and the DPoP proof's, all or nothing of
 *     the delegation.
 *
 * This statement writes tables of three rooms (delegations, spent assertions, issuances), because they
 * have to be one commit. It has two forms: one for the user's own session, and one that also holds actors
 * or a trusted issuer, which most exchanges have not.
 */
import type pg from 'pg'
import type { Presented } from '../agents/spend.ts'
import { columns, createBatch, createLanes } from '../db/batch.ts'
import { holdsMintsUp } from '../events/waiting.ts'
import type { VerifiedActor } from './actors.ts'

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
  session_id: string | null
  /** The session has ended, and the delegation carries this without it. */
  sessionless: boolean
  family_id: string | null
  trusted_issuer_id: string | null
  refresh_hash: Buffer | null
  actors: readonly VerifiedActor[]
  /** What is spent with it, unless that was done before. */
  assertion?: Presented | undefined
  proof?: Presented | undefined
  dpop_jkt: string | null
  resources: readonly string[]
  scopes: readonly string[]
  details_types: readonly string[]
  kid: string
  auth_time: Date | null
  expires_at: Date
  agent_context_id: string | null
  request_id: string | null
}

/**
 * `recorded`: the row is durable. `replayed`: the client assertion was spent before; `replayed_proof`: the
 * DPoP proof was, and the assertion is spent now. `changed`: something the decision rested on has ended or
 * is another version; nothing was written.
 */
export type Recorded = 'recorded' | 'replayed' | 'replayed_proof' | 'changed'
export type RecordIssuance = (issuance: Issuance) => Promise<Recorded>

/** Requests in one writing statement at the most. */
const MOST = 32

/** Requests that wait for a lock at once, of both forms: fewer than the pool's connections, which others need. */
const MOST_ALONE = 2

export function createRecordIssuance(pool: pg.Pool): RecordIssuance {
  const plain = recorder(pool, 'plain')
  const rare = recorder(pool, 'rare')
  const formOf = (issuance: Issuance) => (isPlain(issuance) ? plain : rare)
  const alone = createLanes(MOST_ALONE, (issuance: Issuance) => formOf(issuance).alone(issuance))
  return async (issuance) => {
    const outcome = await formOf(issuance).together(issuance)
    return outcome === 'changed' ? alone(issuance) : outcome
  }
}

const isPlain = ({ actors, session_id }: Issuance) => actors.length === 0 && session_id !== null

type Form = 'plain' | 'rare'

function recorder(pool: pg.Pool, form: Form): { together: RecordIssuance; alone: RecordIssuance } {
  const run = (name: string, text: string) => async (issuances: Issuance[]) => {
    const { rows } = await pool.query<{ n: string; outcome: Recorded }>({
      name: `${name}_${form}`,
      text,
      values: columns(
        issuances,
        columnsOf(form).map(([, , pick]) => pick),
      ),
    })
    const outcomes: Recorded[] = []
    for (const { n, outcome } of rows) outcomes[Number(n) - 1] = outcome
    return outcomes
  }
  // Together, nobody waits for a row that someone is about to end: such a request is left out (skip
  // locked) and goes alone, where waiting holds up nobody else. So a batch never waits for a row lock.
  const together = createBatch<Issuance, Recorded>({
    most: MOST,
    apart: ({ once, delegation_id, assertion, proof }) => [
      ...(once ? [delegation_id] : []),
      ...[assertion, proof].flatMap((one) => (one ? [one.digest.toString('base64')] : [])),
    ],
    run: run('record_issuances', recordStatement(form, 'skip locked')),
  })
  const runAlone = run('record_issuance', recordStatement(form, ''))
  return { together, alone: async (issuance) => (await runAlone([issuance]))[0] ?? 'changed' }
}

type Column = readonly [name: string, type: string, pick: (of: Issuance) => unknown]

// unnest would flatten arrays of arrays, so lists travel as words: neither ids, scopes nor URIs hold
// spaces. Types of details may, and travel as JSON.
const COLUMNS: readonly Column[] = [
  ['jti', 'text', (of) => of.jti],
  ['at', 'timestamptz', (of) => of.at.toISOString()],
  ['tenant_id', 'text', (of) => of.tenant_id],
  ['user_id', 'text', (of) => of.user_id],
  ['user_version', 'text', (of) => of.user_version],
  ['agent_id', 'text', (of) => of.agent_id],
  ['agent_version', 'text', (of) => of.agent_version],
  ['owner_id', 'text', (of) => of.owner_id],
  ['audience_id', 'text', (of) => of.audience_id],
  ['audience_version', 'text', (of) => of.audience_version],
  ['entitlement_id', 'text', (of) => of.entitlement_id],
  ['entitlement_version', 'text', (of) => of.entitlement_version],
  ['delegation_id', 'text', (of) => of.delegation_id],
  ['delegation_version', 'text', (of) => of.delegation_version],
  ['once', 'boolean', (of) => of.once],
  ['credential_id', 'text', (of) => of.credential_id],
  ['session_id', 'text', (of) => of.session_id],
  ['sessionless', 'boolean', (of) => of.sessionless],
  ['family_id', 'text', (of) => of.family_id],
  ['refresh_hash', 'bytea', (of) => of.refresh_hash],
  ['assertion_digest', 'bytea', (of) => of.assertion?.digest ?? null],
  ['assertion_expires_at', 'timestamptz', (of) => of.assertion?.expires_at.toISOString() ?? null],
  ['proof_digest', 'bytea', (of) => of.proof?.digest ?? null],
  ['proof_expires_at', 'timestamptz', (of) => of.proof?.expires_at.toISOString() ?? null],
  ['dpop_jkt', 'text', (of) => of.dpop_jkt],
  ['resources', 'text', (of) => of.resources.join(' ')],
  ['scopes', 'text', (of) => of.scopes.join(' ')],
  ['details_types', 'text', (of) => someJson(of.details_types)],
  ['kid', 'text', (of) => of.kid],
  ['auth_time', 'timestamptz', (of) => of.auth_time?.toISOString() ?? null],
  ['expires_at', 'timestamptz', (of) => of.expires_at.toISOString()],
  ['agent_context_id', 'text', (of) => of.agent_context_id],
  ['request_id', 'text', (of) => of.request_id],
]
const RARE_COLUMNS: readonly Column[] = [
  ['trusted_issuer_id', 'text', (of) => of.trusted_issuer_id],
  ['actor_ids', 'text', ({ actors }) => words(actors.map(({ id }) => id))],
  ['actor_versions', 'text', ({ actors }) => words(actors.map(({ version }) => version))],
  ['actor_owners', 'text', ({ actors }) => words(actors.map(({ owner_id }) => owner_id))],
  [
    'actor_credentials',
    'text',
    ({ actors }) => words(actors.flatMap((one) => one.credential_id ?? [])),
  ],
  [
    'permissions',
    'text',
    ({ actors }) => words(actors.flatMap((one) => one.permission?.ids ?? [])),
  ],
]
const columnsOf = (form: Form) => (form === 'plain' ? COLUMNS : [...COLUMNS, ...RARE_COLUMNS])

const someJson = (list: readonly string[]) => (list.length === 0 ? null : JSON.stringify(list))
/** Each once: what holds them counts them. */
const words = (list: readonly string[]) => [...new Set(list)].join(' ')

/**
 * Each row is found by its key and locked before it is judged, one table after the other: a connection of
 * the hot pool joins in the order written, so that order is the order of the locks. `limit 1` keeps the
 * judgement outside, where it sees the row as it stands once the lock is held.
 */
function recordStatement(form: Form, waiting: 'skip locked' | ''): string {
  const held = (columns: string, table: string, key: string, lock = 'share') =>
    `lateral (select ${columns} from ${table} x where ${key} limit 1 for ${lock} ${waiting})`
  /** How many of these ids still stand, each held. */
  const standing = (table: string, ids: string, condition: string) =>
    `lateral (select count(*) as standing from (
      select 1 from ${table} x where x.id = any(${ids}) and ${condition}
      order by x.id for share ${waiting}) held)`
  const rare = form === 'rare'
  const ours = rare ? 'left join' : 'join'
  const all = columnsOf(form)
  return `
with asked as (
  select * from unnest(${all.map(([, type], at) => `$${at + 1}::${type}[]`).join(', ')})
  with ordinality as asked(${all.map(([name]) => name).join(', ')}, n)),
standing as (
  select asked.* from asked
  join ${held('x.status', 'tenants', 'x.id = asked.tenant_id')} t on true
  join ${held('x.status, x.xmin::text as version', 'users', 'x.id = asked.user_id')} u on true
  join ${held('x.status', 'users', 'x.id = asked.owner_id')} o on true
  ${rare ? `join ${standing('users', list('actor_owners'), "x.status = 'active'")} owners on true` : ''}
  ${
    // The client among its actors: whoever takes several agents takes them by id.
    rare
      ? `join ${standing('agents', `${list('actor_ids')} || asked.agent_id`, `x.xmin::text = any(${list('actor_versions')} || asked.agent_version)`)} agents on true`
      : ''
  }
  join ${held('x.expires_at, x.xmin::text as version', 'agents', 'x.id = asked.agent_id')} a on true
  join ${held('x.issuer, x.xmin::text as version', 'audiences', 'x.id = asked.audience_id')} au on true
  join ${held('x.expires_at, x.xmin::text as version', 'entitlements', 'x.id = asked.entitlement_id')} e
    on true
  left join ${held('x.sub_asserted, x.expires_at, x.xmin::text as version', 'delegations', 'x.id = asked.delegation_id and not asked.once')} always
    on true
  left join ${held('x.sub_asserted, x.expires_at, x.xmin::text as version', 'delegations', 'x.id = asked.delegation_id and asked.once', 'update')} once
    on true
  left join ${held('x.id, x.ended_at', 'credentials', 'x.id = asked.credential_id')} c on true
  ${rare ? `join ${standing('credentials', list('actor_credentials'), 'x.ended_at is null')} keys on true` : ''}
  ${ours} ${held('x.id, x.ended_at, x.expires_at', 'sessions', 'x.id = asked.session_id')} s on true
  ${ours} ${held('x.id, x.ended_at', 'refresh_token_families', 'x.id = asked.family_id')} f on true
  left join ${held('x.hash, x.spent_at', 'refresh_tokens', 'x.hash = asked.refresh_hash')} rt on true
  ${
    rare
      ? `left join ${held('x.id, x.ended_at, x.expires_at', 'trusted_issuers', 'x.id = asked.trusted_issuer_id')} ti on true
  join ${standing('actor_permissions', list('permissions'), 'x.ended_at is null and (x.expires_at is null or x.expires_at > asked.at)')} permits on true`
      : ''
  }
  -- The version that was read was live: a row that has ended since is another version.
  where t.status = 'active' and u.status = 'active' and o.status = 'active'
    and u.version = asked.user_version
    and a.version = asked.agent_version and a.expires_at > asked.at
    and au.version = asked.audience_version
    and e.version = asked.entitlement_version and (e.expires_at is null or e.expires_at > asked.at)
    and asked.delegation_version = case when asked.once then once.version else always.version end
    and coalesce(once.expires_at, always.expires_at, 'infinity') > asked.at
    and (asked.credential_id is null or (c.id is not null and c.ended_at is null))
    -- The audience has yet to hear of an older revocation; whoever queues one touches the delegation.
    -- By offset it is asked for each row: as a join, planned while nothing waits, it would read all that does.
    and not exists (select from event_deliveries waiting
      where ${holdsMintsUp('waiting', {
        tenant: 'asked.tenant_id',
        aud: 'au.issuer',
        sub: 'coalesce(once.sub_asserted, always.sub_asserted)',
        agent: rare ? `any(${list('actor_ids')} || asked.agent_id)` : 'asked.agent_id',
      })} offset 0)
    -- A replica that missed a rotation made this one: it is signed again.
    and exists (select from signing_keys k where k.kid = asked.kid and k.status = 'active')
    and ${subjectStands(form)}
    and (asked.refresh_hash is null or (rt.hash is not null and rt.spent_at is null))),
presented as (
  select assertion_digest as digest, tenant_id, assertion_expires_at as expires_at from standing
  where assertion_digest is not null
  union all
  select proof_digest, tenant_id, proof_expires_at from standing where proof_digest is not null),
-- In the order of the digests, so that two statements with the same ones cannot wait for each other.
fresh as (
  insert into spent_assertions (digest, tenant_id, expires_at)
  select digest, tenant_id, expires_at from presented order by digest
  on conflict do nothing returning digest),
minted as (
  select * from standing
  where (assertion_digest is null or assertion_digest in (select digest from fresh))
    and (proof_digest is null or proof_digest in (select digest from fresh))),
spent as (
  update delegations d set status = 'consumed', consumed_at = minted.at
  from minted where d.id = minted.delegation_id and minted.once),
issued as (
  insert into issuances (jti, tenant_id, at, agent_id, owner_id, user_id, audience_id, delegation_id,
    credential_id, session_id, family_id, dpop_jkt, resources, scopes, authorization_details_types, kid,
    auth_time, expires_at, agent_context_id, request_id${rare ? ', trusted_issuer_id, actor_ids' : ''})
  select jti, tenant_id, at, agent_id, owner_id, user_id, audience_id, delegation_id, credential_id,
    session_id, family_id, dpop_jkt, string_to_array(resources, ' '), string_to_array(scopes, ' '),
    case when details_types is not null then array(select json_array_elements_text(details_types::json)) end,
    kid, auth_time, expires_at, agent_context_id, request_id
    ${rare ? ", trusted_issuer_id, case when actor_ids <> '' then string_to_array(actor_ids, ' ') end" : ''} from minted)
select asked.n, case
  when asked.n in (select n from minted) then 'recorded'
  when asked.n not in (select n from standing) then 'changed'
  when asked.assertion_digest is null or asked.assertion_digest in (select digest from fresh)
    then 'replayed_proof'
  else 'replayed' end as outcome
from asked`
}

/** The words of a column that holds a list. */
const list = (name: string) => `string_to_array(asked.${name}, ' ')`

/** Whom it is about: somebody's session and grant here, or a subject that a trusted issuer vouches for. */
function subjectStands(form: Form): string {
  const own = `s.id is not null and f.id is not null and f.ended_at is null
    and (asked.sessionless or (s.ended_at is null and s.expires_at > asked.at))`
  if (form === 'plain') return own
  const upstream = 'ti.ended_at is null and (ti.expires_at is null or ti.expires_at > asked.at)'
  const count = (name: string) => `cardinality(${list(name)})`
  return `case when asked.trusted_issuer_id is null then ${own}
      else asked.session_id is null and ti.id is not null and ${upstream} end
    and agents.standing = ${count('actor_ids')} + 1 and owners.standing = ${count('actor_owners')}
    and keys.standing = ${count('actor_credentials')} and permits.standing = ${count('permissions')}`
}

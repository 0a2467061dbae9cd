import type pg from 'pg'
import { columns, createBatch } from '../db/batch.ts'
import { newTimeOrderedId } from '../db/ids.ts'

/** A refusal of an authenticated client, as the audit log keeps it. */
export type Refused = {
  at: Date
  type: string
  tenant_id: string
  agent_id: string
  user_id: string | null
  audience_id: string | null
  delegation_id: string | null
  error: string
  reason: string
  request_id: string | null
  assertion_digest: Buffer | null
  assertion_expires_at: Date | null
  /** False where an event would be one too many: the assertion is spent, and nothing written down. */
  audited: boolean
}

export type RecordRefusal = (refused: Refused) => Promise<'recorded' | 'replayed'>

/** Refusals in one statement at the most. */
const MOST = 32

/**
 * Spends the client assertion and writes the audit event in one statement (rule 6). An assertion that was
 * spent before makes the refusal another one: the client did not authenticate at all.
 */
export function createRecordRefusal(pool: pg.Pool): RecordRefusal {
  return createBatch<Refused, 'recorded' | 'replayed'>({
    most: MOST,
    apart: ({ assertion_digest }) =>
      assertion_digest ? [assertion_digest.toString('base64')] : [],
    run: async (refusals) => {
      const { rows } = await pool.query<{ n: string; outcome: 'recorded' | 'replayed' }>({
        name: 'record_refusals',
        text: RECORD_REFUSALS,
        values: columns(refusals, [
          (of) => newTimeOrderedId('evt_', of.at),
          (of) => of.at,
          (of) => of.type,
          (of) => of.tenant_id,
          (of) => of.agent_id,
          (of) => of.user_id,
          (of) => of.audience_id,
          (of) => of.delegation_id,
          (of) => of.error,
          (of) => of.reason,
          (of) => of.request_id,
          (of) => of.assertion_digest,
          (of) => of.assertion_expires_at,
          (of) => of.audited,
        ]),
      })
      const outcomes: ('recorded' | 'replayed')[] = []
      for (const { n, outcome } of rows) outcomes[Number(n) - 1] = outcome
      return outcomes
    },
  })
}

const RECORD_REFUSALS = `
with asked as (
  select * from unnest(
    $1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::text[], $12::bytea[], $13::timestamptz[], $14::boolean[])
  with ordinality as asked(id, at, type, tenant_id, agent_id, user_id, audience_id, delegation_id, error,
    reason, request_id, assertion_digest, assertion_expires_at, audited, n)),
fresh as (
  insert into spent_assertions (digest, tenant_id, expires_at)
  select assertion_digest, tenant_id, assertion_expires_at from asked
  where assertion_digest is not null order by assertion_digest
  on conflict do nothing returning digest),
judged as (
  select asked.*, assertion_digest is not null
    and assertion_digest not in (select digest from fresh) as replayed from asked),
written as (
  insert into audit_events (id, at, type, tenant_id, actor_kind, actor_id, agent_id, user_id, audience_id,
    delegation_id, error, reason, request_id)
  select id, at, type, tenant_id, 'agent', agent_id, agent_id, user_id, audience_id, delegation_id,
    case when replayed then 'invalid_client' else error end,
    case when replayed then 'replayed_assertion' else reason end, request_id from judged where audited)
select n, case when replayed then 'replayed' else 'recorded' end as outcome from judged`

import type pg from 'pg'
import type { Presented } from '../agents/spend.ts'
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
  /** What was presented and is not spent yet. */
  assertion?: Presented | undefined
  proof?: Presented | undefined
  /** False where an event would be one too many: what was presented is spent, and nothing written down. */
  audited: boolean
}

/** `replayed`: the client assertion had been presented before; `replayed_proof`: the DPoP proof had. */
export type RefusalRecorded = 'recorded' | 'replayed' | 'replayed_proof'
export type RecordRefusal = (refused: Refused) => Promise<RefusalRecorded>

/** Refusals in one statement at the most. */
const MOST = 32

/**
 * Spends the client assertion and the DPoP proof and writes the audit event in one statement (rule 6). What
 * was spent before makes the refusal another one: the client did not authenticate at all, or not with this key.
 */
export function createRecordRefusal(pool: pg.Pool): RecordRefusal {
  return createBatch<Refused, RefusalRecorded>({
    most: MOST,
    apart: ({ assertion, proof }) =>
      [assertion, proof].flatMap((one) => (one ? [one.digest.toString('base64')] : [])),
    run: async (refusals) => {
      const { rows } = await pool.query<{ n: string; outcome: RefusalRecorded }>({
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
          (of) => of.assertion?.digest ?? null,
          (of) => of.assertion?.expires_at ?? null,
          (of) => of.proof?.digest ?? null,
          (of) => of.proof?.expires_at ?? null,
          (of) => of.audited,
        ]),
      })
      const outcomes: RefusalRecorded[] = []
      for (const { n, outcome } of rows) outcomes[Number(n) - 1] = outcome
      return outcomes
    },
  })
}

const RECORD_REFUSALS = `
with asked as (
  select * from unnest(
    $1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::text[], $12::bytea[], $13::timestamptz[], $14::bytea[], $15::timestamptz[], $16::boolean[])
  with ordinality as asked(id, at, type, tenant_id, agent_id, user_id, audience_id, delegation_id, error,
    reason, request_id, assertion_digest, assertion_expires_at, proof_digest, proof_expires_at, audited,
    n)),
presented as (
  select assertion_digest as digest, tenant_id, assertion_expires_at as expires_at from asked
  where assertion_digest is not null
  union all
  select proof_digest, tenant_id, proof_expires_at from asked where proof_digest is not null),
fresh as (
  insert into spent_assertions (digest, tenant_id, expires_at)
  select digest, tenant_id, expires_at from presented order by digest
  on conflict do nothing returning digest),
judged as (
  select asked.*, case
    when assertion_digest is not null and assertion_digest not in (select digest from fresh) then 'replayed'
    when proof_digest is not null and proof_digest not in (select digest from fresh) then 'replayed_proof'
    else 'recorded' end as outcome from asked),
written as (
  insert into audit_events (id, at, type, tenant_id, actor_kind, actor_id, agent_id, user_id, audience_id,
    delegation_id, error, reason, request_id)
  select id, at, type, tenant_id, 'agent', agent_id, agent_id, user_id, audience_id, delegation_id,
    case outcome when 'replayed' then 'invalid_client' when 'replayed_proof' then 'invalid_dpop_proof'
      else error end,
    case outcome when 'replayed' then 'replayed_assertion' when 'replayed_proof' then 'replayed_dpop_proof'
      else reason end, request_id from judged where audited)
select n, outcome from judged`

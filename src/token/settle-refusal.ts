import { recordEvent } from '../audit/record.ts'
import { createSampler } from '../audit/sample.ts'
import type { Deps } from '../deps.ts'
import { TooManyRequests, uncount } from './limits.ts'
import { type Progress, toSpend } from './progress.ts'
import type { RecordRefusal } from './record-refusal.ts'
import { Refusal } from './refusals.ts'

/** What the caller is told; `unauthenticated`: whoever asked did not prove to be the agent that was named. */
type Settled = { told: Refusal; unauthenticated: boolean }
export type SettleRefusal = (refusal: Refusal, progress: Progress) => Promise<Settled>

const REPLAYED = {
  replayed: 'replayed_assertion',
  replayed_proof: 'replayed_dpop_proof',
} as const

/**
 * Writes down why a request is refused, and spends what was presented with it (rule 6).
 * @param codeOf the code that the caller is told at this door
 */
export function createSettleRefusal(
  deps: Deps,
  recordRefusal: RecordRefusal,
  codeOf: (refusal: Refusal) => string,
): SettleRefusal {
  const sampled = createSampler({ perMinute: 60, now: deps.now })

  return async (refusal, progress) => {
    const { agent, facts, subject, request_id } = progress
    if (agent === undefined || refusal.reason === 'replayed_assertion') {
      uncount(deps, { agent, subject })
      return unauthenticated(refusal, { request_id, agent_id: facts?.agent?.id })
    }
    const beyond = refusal instanceof TooManyRequests ? refusal : undefined
    const outcome = await recordRefusal({
      at: deps.now(),
      type: 'token.refused',
      tenant_id: agent.agent.tenant_id,
      agent_id: agent.agent.id,
      user_id: subject?.user.id ?? beyond?.user_id ?? null,
      audience_id: facts?.audience?.id ?? null,
      delegation_id: facts?.delegation?.id ?? null,
      error: codeOf(refusal),
      reason: refusal.reason,
      request_id,
      ...toSpend(progress),
      audited: beyond?.first ?? true,
    })
    if (outcome === 'replayed') uncount(deps, { agent, subject }, refusal)
    const told = outcome === 'recorded' ? refusal : new Refusal(REPLAYED[outcome])
    deps.metrics.refused(codeOf(told), told.reason)
    return { told, unauthenticated: outcome === 'replayed' }
  }

  /** What fails before the client is known is counted, and written only as a sample: a flood must not fill the disk. */
  async function unauthenticated(
    refusal: Refusal,
    of: { request_id: string; agent_id: string | undefined },
  ): Promise<Settled> {
    deps.metrics.refused(codeOf(refusal), refusal.reason)
    if (sampled()) {
      await recordEvent(deps.db, {
        type: 'token.refused',
        at: deps.now(),
        actor: { kind: 'unknown' },
        ...of,
        error: codeOf(refusal),
        reason: refusal.reason,
      })
    }
    return { told: refusal, unauthenticated: true }
  }
}

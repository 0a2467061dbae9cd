import type { AuthenticatedAgent } from '../agents/authenticate.ts'
import type { Reason } from '../audit/reason.ts'
import { grantByPolicy, policyRights } from '../delegations/policy-grant.ts'
import { findLatestEnded, isPolicyStoppedUnder } from '../delegations/policy-queries.ts'
import type { Deps } from '../deps.ts'
import type { Decision, Knowledge } from '../policy/decide.ts'
import { askUser } from './ask-user.ts'
import { type Progress, spendPresented } from './progress.ts'
import { Refusal } from './refusals.ts'
import type { Subject } from './subject.ts'

export type NotGranted = Exclude<Decision, { granted: true }>
type ByPolicy = NotGranted & { policy: object }

/** What the policy would be told after the first mint had made the delegation. */
export const asIfMade = (known: Knowledge, { policy, audience }: ByPolicy): Knowledge => ({
  ...known,
  delegation: {
    id: '',
    version: '',
    // As long as any: an explanation reckons with its length.
    sub_asserted: known.user.id,
    offline: false,
    ...policyRights(policy, audience),
  },
})

/**
 * True when there is a delegation now: the decision is then made anew, with it. None is made for a request
 * that would be refused all the same.
 * @param then the decision as it would be with that delegation
 * @throws {Refusal} the one of `then`
 */
export async function madeByPolicy(
  deps: Deps,
  authenticated: AuthenticatedAgent,
  subject: Subject,
  { audience, policy }: ByPolicy,
  then: Decision,
  progress: Progress,
): Promise<boolean> {
  const { agent } = authenticated
  const { user } = subject
  await spendPresented(deps, progress)
  const of = {
    tenant_id: agent.tenant_id,
    user_id: user.id,
    agent_id: agent.id,
    audience_id: audience.id,
  }
  if (!then.granted) {
    if (await isPolicyStoppedUnder(deps.db, of, policy.id)) return false
    throw await refusalOf(deps, authenticated, subject, then, deps.now(), progress)
  }
  const by = { kind: 'agent', id: agent.id, request_id: progress.request_id } as const
  return (await grantByPolicy(deps, of, by)) !== 'stopped'
}

/** The refusal of a decision, with what the caller needs to mend it: an interaction, or what the sign-in has to be. */
export async function refusalOf(
  deps: Deps,
  { agent }: AuthenticatedAgent,
  { user }: Subject,
  decision: NotGranted,
  now: Date,
  progress: Progress,
): Promise<Refusal> {
  const { reason, asked, audience } = decision
  if (asked === undefined || audience === undefined) {
    return new Refusal(reason, { members: wantedSignIn(decision) })
  }
  await spendPresented(deps, progress)
  const of = { user_id: user.id, agent_id: agent.id, audience_id: audience.id }
  const ask = { tenant_id: agent.tenant_id, ...of, ...asked }
  const { interaction_uri, expires_in } = await askUser(deps, ask, now)
  return new Refusal(
    await trueReason(deps, of, reason),
    { members: { interaction_uri, expires_in } },
    // Many a client shows its user the description alone.
    `The user has to allow this first: open ${interaction_uri} in the browser of the user, then ask again`,
  )
}

/** What a sign-in would have to be, where a newer or stronger one is all that is missing (TX-50). */
export function wantedSignIn(decision: NotGranted): { max_age?: number; acr_values?: string } {
  if (decision.policy !== undefined) return {}
  const { max_age, acr_values } = decision
  return {
    ...(max_age !== undefined && { max_age }),
    ...(acr_values !== undefined && { acr_values: acr_values.join(' ') }),
  }
}

/** Of a delegation that there is none of any more, how the last one ended. */
export async function trueReason(
  deps: Pick<Deps, 'db'>,
  of: { user_id: string; agent_id: string; audience_id: string },
  reason: Reason,
): Promise<Reason> {
  if (reason !== 'no_delegation') return reason
  const latest = await findLatestEnded(deps.db, of)
  if (latest?.status === 'consumed') return 'delegation_consumed'
  if (latest?.status === 'revoked') return 'delegation_revoked'
  return latest?.status === 'expired' ? 'delegation_expired' : 'no_delegation'
}

import type { AgentFacts } from '../agents/authenticate.ts'
import type { Reason } from '../audit/reason.ts'

/**
 * Whether an authenticated client may use this grant now: asked anew at every request, of the row as it
 * stands (design: which refusal).
 */
export function faultOfClient(agent: AgentFacts, grantType: string, now: Date): Reason | undefined {
  if (agent.tenant_status !== 'active') return 'tenant_suspended'
  if (agent.status === 'requested') return 'agent_requested'
  if (agent.status !== 'active') return 'agent_suspended'
  if (agent.expires_at === null || agent.expires_at <= now) return 'agent_expired'
  if (agent.owner_status !== 'active') return 'owner_inactive'
  if (!agent.grant_types.includes(grantType)) return 'grant_not_allowed'
  return undefined
}

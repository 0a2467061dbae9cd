import { type AgentFacts, mayCome } from '../agents/authenticate.ts'
import type { Reason } from '../audit/reason.ts'

/**
 * Whether an authenticated client may use this grant now: asked anew at every request, of the row as it
 * stands (design: which refusal).
 */
export function faultOfClient(agent: AgentFacts, grantType: string, now: Date): Reason | undefined {
  if (!mayCome(agent, now)) return 'client_metadata_not_allowed'
  const fault = faultOfAgent(agent, now)
  if (fault !== undefined) return fault
  return agent.grant_types.includes(grantType) ? undefined : 'grant_not_allowed'
}

type Standing = Pick<AgentFacts, 'tenant_status' | 'status' | 'expires_at' | 'owner_status'>

/** Whether an agent may act at all now. */
export function faultOfAgent(agent: Standing, now: Date): Reason | undefined {
  if (agent.tenant_status !== 'active') return 'tenant_suspended'
  if (agent.status === 'requested') return 'agent_requested'
  if (agent.status !== 'active') return 'agent_suspended'
  if (agent.expires_at === null || agent.expires_at <= now) return 'agent_expired'
  return agent.owner_status === 'active' ? undefined : 'owner_inactive'
}

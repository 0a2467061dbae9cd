/**
 * The states of an agent. What a suspension or a retirement ends elsewhere (delegations, refresh tokens) is
 * the caller's part; its credentials end here.
 *
 *   requested ─approve→ active ⇄ suspended      suspend, resume
 *       └────────────────┴──────────┴─retire→ retired, which is final
 *
 * Each move takes the agent's row lock first, so that a mint of this agent waits for this commit or is waited
 * for, and does nothing where the agent is in that state already, but keep the reason of whoever stops it once
 * more. Before it comes only the owner of one that is to act: users stand before agents in the order of locks
 * (revoke/end.ts).
 */
import { byAdmin, recordEvent } from '../audit/record.ts'
import { ChangedMeanwhile } from '../db/changed-meanwhile.ts'
import type { Db, Row } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { notFound, ProblemError } from '../http/problem.ts'
import { endLiveCredentials } from './credential-queries.ts'
import { requireReady } from './gate.ts'
import { lockAgent, shareOwnerOf, updateAgent } from './queries.ts'

type Status = Row<'agents'>['status']
type Move = { from: readonly Status[]; to: Status; type: string }

/** Resuming brings no delegation back; retiring ends its credentials too. */
export const AGENT_MOVES = {
  approve: { from: ['requested'], to: 'active', type: 'agent.approved' },
  suspend: { from: ['active'], to: 'suspended', type: 'agent.suspended' },
  resume: { from: ['suspended'], to: 'active', type: 'agent.resumed' },
  retire: { from: ['requested', 'active', 'suspended'], to: 'retired', type: 'agent.retired' },
} as const satisfies Record<string, Move>
export type AgentMove = keyof typeof AGENT_MOVES

/**
 * @throws {ProblemError} `not_found`, `invalid_transition`; of one that is to act, `owner_inactive` and
 *   {ChangedMeanwhile} too
 */
export async function setAgentState(
  tx: Db,
  deps: Deps,
  { id, move, reason }: { id: string; move: AgentMove; reason?: string | undefined },
  admin: Admin,
): Promise<Row<'agents'>> {
  const { from, to, type }: Move = AGENT_MOVES[move]
  const owner = to === 'active' ? await shareOwnerOf(tx, id) : undefined
  const agent = await lockAgent(tx, id)
  if (agent === undefined) throw notFound('agent')
  if (agent.status === to) {
    if (to === 'active' || reason === undefined) return agent
    // Whoever stops it once more, and says why, is the last who did; their revocation is in the log.
    return updateAgent(tx, id, { status_reason: reason, updated_at: deps.now() })
  }
  if (!from.includes(agent.status)) {
    throw new ProblemError(
      'invalid_transition',
      agent.status === 'retired'
        ? 'This agent is retired, which is final'
        : `This needs an agent that is ${from.join(' or ')}; this one is ${agent.status}`,
    )
  }
  const now = deps.now()
  if (to === 'active') {
    if (agent.owner_id !== (owner?.id ?? null)) throw new ChangedMeanwhile('the owner of an agent')
    await requireReady(tx, agent, now)
  }
  const credentials = to === 'retired' ? await endLiveCredentials(tx, id, now) : []
  const moved = await updateAgent(tx, id, {
    status: to,
    status_reason: reason ?? null,
    updated_at: now,
  })
  await recordEvent(tx, {
    type,
    at: now,
    actor: byAdmin(admin),
    tenant_id: agent.tenant_id,
    agent_id: id,
    ...(credentials.length > 0 ? { detail: { credentials_ended: credentials } } : {}),
  })
  return moved
}

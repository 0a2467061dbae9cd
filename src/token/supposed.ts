/**
 * The parties of an exchange that nobody asks for: what their records say, on the supposition that every
 * token and proof is good.
 */
import { type AgentFacts, mayCome } from '../agents/authenticate.ts'
import type { Reason } from '../audit/reason.ts'
import type { Deps } from '../deps.ts'
import { GRANT } from '../oauth/names.ts'
import { judgeActors, type VerifiedActor } from './actors.ts'
import { faultOfClient } from './client.ts'
import type { ExplainRequest } from './explain-schema.ts'
import type { Facts } from './facts.ts'
import type { ExchangeRequest } from './request.ts'
import { faultOfUser, type Subject } from './subject.ts'

/** Of a client that does authenticate, if it has what it takes. */
export function faultOfSupposedClient(agent: AgentFacts, now: Date): Reason | undefined {
  // Of one that is known by a URL this is asked before anything else.
  if (!mayCome(agent, now)) return 'client_metadata_not_allowed'
  if (agent.status === 'retired') return 'agent_retired'
  if (!canAuthenticate(agent)) return 'bad_credentials'
  const fault = faultOfClient(agent, GRANT.tokenExchange, now)
  if (fault !== undefined) return fault
  return agent.token_endpoint_auth_method === 'none' ? 'public_client' : undefined
}

function canAuthenticate({ token_endpoint_auth_method: method, ...agent }: AgentFacts): boolean {
  if (method === 'none') return true
  if (method === 'private_key_jwt') return hasKey(agent) || agent.client_metadata_url !== null
  return agent.credentials.some(({ secret_hash }) => secret_hash !== null)
}

/** Of its own or, for all that the records say, at its `jwks_uri`. */
const hasKey = ({ jwks_uri, credentials }: Pick<AgentFacts, 'jwks_uri' | 'credentials'>): boolean =>
  jwks_uri !== null || credentials.some(({ jwk }) => jwk !== null)

/** The user, signed in as it is told, with a token that the client got. */
export function supposedSubject(
  { session = 'live', acr }: Pick<ExplainRequest, 'session' | 'acr'>,
  auth_time: Date,
  { subject }: Pick<ExchangeRequest, 'subject'>,
  { user }: Pick<Facts, 'user'>,
  agent: AgentFacts,
): Subject | { refused: Reason } {
  if (user === undefined) return { refused: 'bad_subject_token' }
  if (user.tenant_id !== agent.tenant_id) return { refused: 'wrong_subject_audience' }
  const live = session === 'live'
  const fault = faultOfUser(user, live, subject.kind)
  if (fault !== undefined) return { refused: fault }
  return {
    user,
    auth_time,
    acr: acr ?? null,
    amr: ['pwd'],
    live,
    session_id: null,
    family_id: null,
    trusted_issuer_id: null,
  }
}

/** Whoever acts for the client, by an actor token of its own; nobody where none is named. */
export async function supposedActors(
  deps: Deps,
  { actor_id }: Pick<ExplainRequest, 'actor_id'>,
  agent: AgentFacts,
  { user }: Pick<Subject, 'user'>,
  { audience }: Pick<Facts, 'audience'>,
): Promise<VerifiedActor[] | { refused: Reason }> {
  if (actor_id === undefined) return []
  const of = { user_id: user.id, audience_id: audience?.id ?? null }
  return judgeActors(deps, [actor_id], agent, of, async (row) =>
    hasKey(row) || row.client_metadata_url !== null ? { credential_id: null } : undefined,
  )
}

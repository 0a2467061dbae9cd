import {
  type AgentFacts,
  type AuthenticatedAgent,
  authenticateAgent,
} from '../agents/authenticate.ts'
import type { ClientCredentials } from '../agents/client-credentials.ts'
import type { Reason } from '../audit/reason.ts'
import type { Deps } from '../deps.ts'
import type { BearerToken } from '../http/bearer-door.ts'
import type { Facts } from './facts.ts'
import { keepProof, type Progress } from './progress.ts'
import type { ProveKey } from './prove-key.ts'
import { type OwnSubjectToken, readAccessToken, verifySubject } from './subject.ts'

/**
 * An access token that was issued to an agent for this (TX-29), as a request brought it: it proves the agent
 * and says whom it is about, both at once.
 */
export type DelegateToken = BearerToken & {
  method: 'delegate_token'
  /** As the token says. Nothing of it is believed yet. */
  clientId: string
  subject: OwnSubjectToken & { kind: 'access_token' }
}

export function readDelegateToken(presented: BearerToken): DelegateToken {
  const subject = readAccessToken(presented.token)
  const clientId = subject.jws?.payload.client_id
  return {
    ...presented,
    method: 'delegate_token',
    clientId: typeof clientId === 'string' ? clientId : '',
    subject,
  }
}

/** How a request says who asks. */
export type Credentials = ClientCredentials | DelegateToken
/** Who asks, as the request says. */
export type Caller<By extends Credentials = Credentials> = {
  credentials: By
  dpop: string | string[] | undefined
}

/** Whoever asks proves to be the agent that is named: as a client does, or by such a token. */
export async function authenticateCaller(
  deps: Deps,
  proveKey: ProveKey,
  { credentials, dpop }: Caller,
  facts: Facts,
  progress: Progress,
): Promise<AuthenticatedAgent | { refused: Reason }> {
  if (credentials.method !== 'delegate_token') {
    return authenticateAgent(deps, credentials, facts.agent)
  }
  // Whether this agent has to prove a key with every request is asked once it is known to be this agent.
  const proof = keepProof(progress, proveKey(dpop, { dpop_bound_access_tokens: false }))
  await deps.keys.upToDate()
  return verifyDelegateToken(deps, credentials, facts, proof?.jkt)
}

/**
 * Proves an agent by the token alone. It is judged like the subject token that it is; its key counts by the
 * scheme too, so that a bound one is nobody's bearer token (DP-11).
 * @param jkt thumbprint of the key that the request proved to hold
 */
function verifyDelegateToken(
  deps: Pick<Deps, 'keys' | 'config' | 'now'>,
  { scheme, subject }: DelegateToken,
  facts: Facts,
  jkt: string | undefined,
): AuthenticatedAgent | { refused: Reason } {
  const { agent } = facts
  if (agent === undefined) return { refused: 'bad_subject_token' }
  if (agent.status === 'retired') return { refused: 'agent_retired' }
  const verified = verifySubject(deps, subject, agent, facts, jkt)
  if ('refused' in verified) return verified
  const bound = subject.jws?.payload.cnf !== undefined
  if (bound !== (scheme === 'DPoP')) return { refused: 'wrong_dpop_key' }
  if (lostItsCredentials(agent)) return { refused: 'credential_ended' }
  return { agent, credential_id: null }
}

/** All that the agent could have got the token with has ended meanwhile. */
const lostItsCredentials = (agent: AgentFacts): boolean =>
  agent.token_endpoint_auth_method !== 'none' &&
  agent.jwks_uri === null &&
  agent.client_metadata_url === null &&
  agent.credentials.length === 0

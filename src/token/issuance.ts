import { TOKEN_TYPE } from '../oauth/names.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import { joinScope } from '../oauth/scope.ts'
import type { Decision } from '../policy/decide.ts'
import type { VerifiedActor } from './actors.ts'
import { type Progress, toSpend } from './progress.ts'
import type { ExchangeRequest } from './request.ts'
import type { TokenResponse } from './schema.ts'
import type { Issuance } from './spend-and-record.ts'
import type { Subject } from './subject.ts'

type Granted = Extract<Decision, { granted: true }>

/** All that an issuance rests on, for the statement that asks once more and records it. */
export function issuanceOf(
  request: Pick<ExchangeRequest, 'subject' | 'correlation'>,
  progress: Progress,
  { user, session_id, family_id, trusted_issuer_id, auth_time, live }: Subject,
  { audience, entitlement, delegation, resources, scopes, details, lifetime }: Granted,
  actors: readonly VerifiedActor[],
  { jti, kid, now }: { jti: string; kid: string; now: Date },
): Issuance {
  const { agent: authenticated, request_id } = progress
  if (authenticated === undefined) throw new Error('nothing is issued to an unknown agent')
  const { agent, credential_id } = authenticated
  const { assertion, proof } = toSpend(progress)
  return {
    jti,
    at: now,
    tenant_id: agent.tenant_id,
    user_id: user.id,
    user_version: user.version,
    agent_id: agent.id,
    agent_version: agent.version,
    owner_id: agent.owner_id ?? '',
    audience_id: audience.id,
    audience_version: audience.version,
    entitlement_id: entitlement.id,
    entitlement_version: entitlement.version,
    delegation_id: delegation.id,
    delegation_version: delegation.version,
    once: delegation.mode === 'once',
    credential_id,
    session_id,
    sessionless: !live,
    family_id,
    trusted_issuer_id,
    refresh_hash: request.subject.kind === 'refresh_token' ? request.subject.hash : null,
    actors,
    assertion,
    proof,
    dpop_jkt: progress.proof?.jkt ?? null,
    resources,
    scopes,
    details_types: [...new Set(details.map(({ type }) => type))],
    kid,
    auth_time,
    expires_at: addSeconds(now, lifetime),
    agent_context_id: request.correlation.agent_context_id ?? null,
    request_id,
  }
}

export function tokenResponse(
  idJag: string,
  claims: Record<string, unknown>,
  { scopes, details, lifetime }: Granted,
): TokenResponse {
  return {
    issued_token_type: TOKEN_TYPE.idJag,
    access_token: idJag,
    token_type: 'N_A',
    expires_in: lifetime,
    ...(scopes.length > 0 && { scope: joinScope(scopes) }),
    ...(claims.resource !== undefined && { resource: claims.resource as string | string[] }),
    ...(details.length > 0 && { authorization_details: details }),
  }
}

import type { Config } from '../config.ts'
import { readAuthorizationDetails } from '../oauth/authorization-details.ts'
import { GRANT, TOKEN_TYPE } from '../oauth/names.ts'
import type { GrantRequest, IdJagRequest, IdJagResponse } from './delegate-schema.ts'
import { type ExchangeRequest, readExchangeRequest } from './request.ts'
import type { TokenRequest, TokenResponse } from './schema.ts'

// Between the shapes of the auth.md provider guide and those of the token endpoint.

/**
 * The same request as it would be sent to the token endpoint. An empty member is none there (TX-02).
 * @throws {OAuthError} `invalid_request`
 */
export function readAsked(
  body: IdJagRequest | GrantRequest,
  token: string,
  config: Config,
): ExchangeRequest {
  const given = Object.entries(body).filter(([, value]) => value !== '')
  const { authorization_details, ...asked } = Object.fromEntries(given) as IdJagRequest
  const request = readExchangeRequest(fieldsOf(asked, token), config)
  if (authorization_details === undefined) return request
  return { ...request, details: readAuthorizationDetails(authorization_details) ?? 'malformed' }
}

/** Every member by its name: what else a body holds goes no further. */
const fieldsOf = (
  {
    audience,
    resource,
    scope,
    actor_token,
    actor_token_type,
    agent_platform,
    agent_context_id,
  }: Omit<IdJagRequest, 'authorization_details'>,
  subject_token: string,
): TokenRequest => ({
  grant_type: GRANT.tokenExchange,
  requested_token_type: TOKEN_TYPE.idJag,
  subject_token,
  subject_token_type: TOKEN_TYPE.accessToken,
  audience,
  resource,
  scope,
  actor_token,
  actor_token_type,
  agent_platform,
  agent_context_id,
})

export const idJagAnswer = ({
  access_token,
  expires_in,
  scope,
  resource,
  authorization_details,
}: TokenResponse): IdJagResponse => ({
  assertion_type: TOKEN_TYPE.idJag,
  assertion: access_token,
  expires_in,
  ...(scope !== undefined && { scope }),
  ...(resource !== undefined && { resource }),
  ...(authorization_details !== undefined && { authorization_details }),
})

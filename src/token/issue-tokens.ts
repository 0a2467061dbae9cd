import { type AgentFacts, clientIdOf } from '../agents/authenticate.ts'
import type { Deps } from '../deps.ts'
import { DELEGATE_SCOPE, TYP } from '../oauth/names.ts'
import { joinScope } from '../oauth/scope.ts'
import { newSecret } from '../oauth/secret.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import {
  ACCESS_TOKEN_LIFETIME,
  accessTokenClaims,
  type Grant,
  idTokenClaims,
} from './openid-tokens.ts'

/** What the token endpoint answers to a code or a refresh token (OIDC Core §3.1.3.3). */
export type TokenAnswer = {
  access_token: string
  token_type: 'Bearer' | 'DPoP'
  expires_in: number
  scope: string
  id_token?: string
  refresh_token?: string
}

/** Signs the tokens of a grant. An ID token comes only with `openid` in the scope, and while the user is signed in. */
export async function issueTokens(
  deps: Pick<Deps, 'config' | 'keys' | 'now'>,
  agent: Pick<AgentFacts, 'id' | 'client_metadata_url' | 'id_token_signed_response_alg'>,
  { signedIn = true, ...of }: Omit<Grant, 'issuer' | 'client_id'> & { signedIn?: boolean },
): Promise<TokenAnswer> {
  const now = deps.now()
  // A grant may be older than the setting.
  const scope = deps.config.delegateTokens
    ? of.scope
    : of.scope.filter((name) => name !== DELEGATE_SCOPE)
  const grant: Grant = { issuer: deps.config.issuer, client_id: clientIdOf(agent), ...of, scope }
  const access = await deps.keys.sign(
    'id_token',
    'ES256',
    TYP.accessToken,
    accessTokenClaims(grant, { now, jti: newSecret() }),
  )
  const answer: TokenAnswer = {
    access_token: access.jws,
    token_type: grant.jkt === undefined ? 'Bearer' : 'DPoP',
    expires_in: ACCESS_TOKEN_LIFETIME,
    scope: joinScope(grant.scope),
  }
  if (!signedIn || !grant.scope.includes('openid')) return answer
  const alg = agent.id_token_signed_response_alg as SigningAlg
  const claims = idTokenClaims(grant, {
    now,
    lifetime: deps.config.idTokenLifetime,
    alg,
    accessToken: access.jws,
  })
  const { jws } = await deps.keys.sign('id_token', alg, TYP.idToken, claims)
  return { ...answer, id_token: jws }
}

import { type AgentFacts, clientIdOf } from '../agents/authenticate.ts'
import { signLasting } from '../db/sign-lasting.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { OAuthError } from '../oauth/errors.ts'
import { DELEGATE_SCOPE, TYP } from '../oauth/names.ts'
import { joinScope } from '../oauth/scope.ts'
import { newSecret } from '../oauth/secret.ts'
import { noteIdTokenKey } from '../sessions/family-queries.ts'
import { awaitSignature } from './await-signature.ts'
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

type Surroundings = Pick<Deps, 'config' | 'keys' | 'now'>
type Agent = Pick<AgentFacts, 'id' | 'client_metadata_url' | 'id_token_signed_response_alg'>
type Given = Omit<Grant, 'issuer' | 'client_id'> & { signedIn?: boolean }

/**
 * Signs the tokens of a grant, in the transaction that writes it down. An ID token comes only with `openid`
 * in the scope, and while the user is signed in.
 * @throws {OAuthError} `temporarily_unavailable` when the keys do not answer soon, or kept changing
 */
export async function issueTokens(
  deps: Surroundings,
  tx: Db,
  agent: Agent,
  of: Given,
): Promise<TokenAnswer> {
  const keys = {
    ...deps.keys,
    refresh: () => awaitSignature(deps.keys, () => deps.keys.refresh()),
  }
  const sign = () => awaitSignature(deps.keys, () => signTokens(deps, agent, of))
  const signed = await signLasting(keys, tx, sign, ({ kids }) => kids)
  if (signed === undefined) {
    throw new OAuthError('temporarily_unavailable', 'The signing keys kept changing; ask again', {
      retryAfter: 1,
    })
  }
  const { answer, idTokenKid } = signed
  if (idTokenKid !== undefined) await noteIdTokenKey(tx, of.family_id, idTokenKid)
  return answer
}

async function signTokens(
  deps: Surroundings,
  agent: Agent,
  { signedIn = true, ...of }: Given,
): Promise<{ answer: TokenAnswer; kids: string[]; idTokenKid?: string }> {
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
  if (!signedIn || !grant.scope.includes('openid')) return { answer, kids: [access.kid] }
  const wanted = agent.id_token_signed_response_alg
  const alg = deps.keys.algFor('id_token', wanted)
  const claims = idTokenClaims(grant, {
    now,
    lifetime: deps.config.idTokenLifetime,
    alg,
    accessToken: access.jws,
  })
  const { jws, kid } = await deps.keys.sign('id_token', alg, TYP.idToken, claims)
  return { answer: { ...answer, id_token: jws }, kids: [access.kid, kid], idTokenKid: kid }
}

import { clientIdOf, mayCome } from '../agents/authenticate.ts'
import { spend } from '../agents/spend.ts'
import type { Deps } from '../deps.ts'
import { type DpopEndpoint, judgeProof } from '../oauth/dpop-endpoint.ts'
import { openIdClaims } from '../users/openid-claims.ts'
import { verifyAccessToken } from './access-token.ts'
import { findGrantedUser, type GrantedUser } from './queries.ts'

/** An access token as it was sent. The scheme says what it is meant to be: `DPoP`, a token bound to a key. */
export type Presented = {
  scheme: 'Bearer' | 'DPoP'
  token: string
  method: string
  dpop: string | string[] | undefined
}

export type Userinfo = { sub: string } & ReturnType<typeof openIdClaims>
export type UserinfoFault =
  | 'invalid_token'
  | 'bound_token'
  | 'wrong_key'
  | 'insufficient_scope'
  | 'invalid_dpop_proof'
  | 'use_dpop_nonce'
/** `nonce` is for `DPoP-Nonce`. */
type Nonce = { nonce?: string | undefined }

/**
 * The claims that an access token opens, read anew; `sub` is that of the ID token (OP-25). One that is bound
 * to a key opens them to who proves to hold it, with a proof of this very request (DP-11).
 */
export async function userinfo(
  deps: Deps,
  endpoint: DpopEndpoint,
  { scheme, token: presented, method, dpop }: Presented,
): Promise<({ claims: Userinfo } | { refused: UserinfoFault }) & Nonce> {
  const now = deps.now()
  const token = await verifyAccessToken(deps, presented)
  if (!token) return { refused: 'invalid_token' }
  if (scheme === 'Bearer' && token.jkt !== undefined) return { refused: 'bound_token' }
  const proved =
    scheme === 'DPoP'
      ? (judgeProof(endpoint, { header: dpop, method, now, accessToken: presented }) ?? NO_PROOF)
      : undefined
  if (proved && 'refused' in proved) return proved
  if (proved?.proof.jkt !== token.jkt) return { refused: 'wrong_key' }

  const user = await findGrantedUser(deps.db, token.family_id, now)
  if (user?.id !== token.sub || !isOf(user, token.client_id, now)) {
    return { refused: 'invalid_token' }
  }
  const replayed = proved && (await spend(deps.db, user.tenant_id, [proved.proof]))
  if (replayed?.length) return { refused: 'invalid_dpop_proof' }
  const nonce = proved?.nonce
  if (!token.scope.includes('openid')) return { refused: 'insufficient_scope', nonce }
  return { claims: { sub: user.id, ...openIdClaims(user, token.scope) }, nonce }
}

/** Whether the grant is of this client, which may still come by the name that the token says. */
const isOf = (user: GrantedUser, clientId: string, now: Date): boolean =>
  clientId === clientIdOf({ ...user, id: user.agent_id }) && mayCome(user, now)

const NO_PROOF = { refused: 'invalid_dpop_proof' } as const

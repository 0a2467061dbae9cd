import type { Reason } from '../audit/reason.ts'
import { signLasting } from '../db/sign-lasting.ts'
import type { Deps } from '../deps.ts'
import { BUDGETS } from '../http/budgets.ts'
import { OAuthError } from '../oauth/errors.ts'
import { SSF_SCOPES, TYP } from '../oauth/names.ts'
import { numericDate } from '../oauth/numeric-date.ts'
import { joinScope, parseScope } from '../oauth/scope.ts'
import { hashSecret, newSecret, sameDigest } from '../oauth/secret.ts'
import { endpointsOf } from './endpoints.ts'
import { findLiveReceiver } from './receiver-queries.ts'

/** Seconds. Whether its receiver still is one is asked at each request, too. */
const LIFETIME = 600

export type ReceiverToken = {
  access_token: string
  token_type: 'Bearer'
  expires_in: number
  scope: string
}

/** Receivers are told from agents by their name. */
export const isReceiverId = (clientId: string): boolean => /^rcv_[A-Za-z0-9_-]{22}$/.test(clientId)

/**
 * The client credentials grant (RFC 6749 §4.4), for receivers alone: an access token for the Shared Signals
 * endpoints and nothing else. Without a scope it has all that the receiver may have.
 * @returns the reason, where the client is not the receiver it says
 * @throws {OAuthError} `invalid_scope`, `temporarily_unavailable`
 */
export async function issueReceiverToken(
  deps: Deps,
  { clientId, secret, scope }: { clientId: string; secret: string | undefined; scope?: string },
): Promise<ReceiverToken | { refused: Reason }> {
  const receiver = await authenticateReceiver(deps, { clientId, secret })
  if ('refused' in receiver) return receiver
  const exceeded = deps.tally.take(BUDGETS.client, receiver.id)
  if (exceeded) {
    throw new OAuthError('temporarily_unavailable', 'Too many requests: wait before asking again', {
      status: 429,
      retryAfter: exceeded.retryAfter,
    })
  }
  const granted = grantedScopes(receiver.scopes, scope)
  const { issuer } = deps.config
  const now = deps.now()
  const claims = {
    iss: issuer,
    sub: receiver.id,
    aud: endpointsOf(issuer).resource,
    client_id: receiver.id,
    scope: joinScope(granted),
    iat: numericDate(now),
    exp: numericDate(now) + LIFETIME,
    jti: newSecret(),
  }
  const sign = () => deps.keys.sign('id_token', 'ES256', TYP.accessToken, claims)
  const signed = await signLasting(deps.keys, deps.db, sign, ({ kid }) => [kid])
  if (signed === undefined) {
    throw new OAuthError('temporarily_unavailable', 'The signing keys kept changing; ask again', {
      retryAfter: 1,
    })
  }
  return {
    access_token: signed.jws,
    token_type: 'Bearer',
    expires_in: LIFETIME,
    scope: claims.scope,
  }
}

/** The live receiver whose secret it is; or the reason, where the client is not the receiver it says. */
export async function authenticateReceiver(
  deps: Pick<Deps, 'db'>,
  { clientId, secret }: { clientId: string; secret: string | undefined },
) {
  const receiver = await findLiveReceiver(deps.db, clientId)
  if (receiver === undefined) return { refused: 'unknown_client' } as const
  const holds = secret !== undefined && sameDigest(hashSecret(secret), receiver.secret_hash)
  return holds ? receiver : ({ refused: 'bad_credentials' } as const)
}

/** In our order. What it may not have is left out, unless nothing is left. */
function grantedScopes(allowed: readonly string[], scope: string | undefined): string[] {
  const asked = scope === undefined ? allowed : (parseScope(scope) ?? [])
  const granted = SSF_SCOPES.filter((name) => asked.includes(name) && allowed.includes(name))
  if (granted.length > 0) return granted
  throw new OAuthError('invalid_scope', 'This receiver may have none of these scopes')
}

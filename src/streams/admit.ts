import type { FastifyRequest, onRequestAsyncHookHandler } from 'fastify'
import type { Deps } from '../deps.ts'
import { challenge, readBearer } from '../http/bearer-door.ts'
import { BUDGETS } from '../http/budgets.ts'
import { SsfError } from '../http/ssf-door.ts'
import type { SsfScope } from '../oauth/names.ts'
import { parseScope } from '../oauth/scope.ts'
import { endpointsOf } from './endpoints.ts'
import { isReceiverId } from './issue-token.ts'
import { findLiveReceiver } from './receiver-queries.ts'

/** Who calls, as far as a stream needs it. */
export type Caller = { id: string; tenant_id: string; audience: string }

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the guard of the Shared Signals endpoints, before any handler of theirs runs. */
    receiver: Caller
  }
  interface FastifyContextConfig {
    /** What the receiver's token must be for. */
    ssfScope?: SsfScope
  }
}

/** Runs before the body is read. The receiver is looked up each time: one that has ended stops at once. */
export const receiverGuard =
  (deps: Deps): onRequestAsyncHookHandler =>
  async (request: FastifyRequest) => {
    const { ssfScope } = request.routeOptions.config
    if (ssfScope === undefined) throw new Error(`${request.routeOptions.url} names no scope`)
    request.receiver = await admitReceiver(deps, request.headers.authorization, ssfScope)
  }

/** @throws {SsfError} as RFC 6750 §3.1 has it */
async function admitReceiver(
  deps: Deps,
  authorization: string | undefined,
  wanted: SsfScope,
): Promise<Caller> {
  const presented = readBearer(authorization)
  if (presented === undefined) {
    throw new SsfError(401, 'invalid_token', 'Send an access token as Authorization: Bearer', {
      challenge: challenge('Bearer', {}),
    })
  }
  const token = presented.scheme === 'Bearer' ? await verifyToken(deps, presented.token) : undefined
  const receiver = token && (await findLiveReceiver(deps.db, token.client_id))
  if (token === undefined || receiver === undefined) {
    const words = 'The access token is not one of these endpoints, or has expired or been revoked'
    throw new SsfError(401, 'invalid_token', words, {
      challenge: challenge('Bearer', { error: 'invalid_token', error_description: words }),
    })
  }
  const exceeded = deps.tally.take(BUDGETS.client, receiver.id)
  if (exceeded) {
    const { retryAfter } = exceeded
    throw new SsfError(429, 'too_many_requests', 'Wait as long as Retry-After says', { retryAfter })
  }
  // What may be changed may be read.
  const holds = token.scope.includes('ssf.manage') || token.scope.includes(wanted)
  // Its receiver may have less by now than when the token was issued.
  const mayStill = wanted === 'ssf.read' || receiver.scopes.includes(wanted)
  if (!holds || !mayStill) {
    const words = holds
      ? 'While the tenant of the receiver is suspended, it may read and acknowledge alone'
      : `The access token lacks the scope ${wanted}`
    throw new SsfError(403, 'insufficient_scope', words, {
      challenge: challenge('Bearer', {
        error: 'insufficient_scope',
        error_description: words,
        scope: wanted,
      }),
    })
  }
  const { id, tenant_id, audience } = receiver
  return { id, tenant_id, audience }
}

/** No other access token of ours has this audience. */
async function verifyToken(
  { config, keys }: Pick<Deps, 'config' | 'keys'>,
  token: string,
): Promise<{ client_id: string; scope: string[] } | undefined> {
  const { resource } = endpointsOf(config.issuer)
  const claims = await keys.verifyAccessToken(resource, token)
  if (claims === undefined) return undefined
  const { sub, client_id, scope } = claims
  if (typeof client_id !== 'string' || sub !== client_id || !isReceiverId(client_id)) {
    return undefined
  }
  return { client_id, scope: typeof scope === 'string' ? (parseScope(scope) ?? []) : [] }
}

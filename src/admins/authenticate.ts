/**
 * The admin door's guard: who calls, and may they? The key of the environment always works and holds every
 * scope; stored keys are looked up by their hash on each request, so that an ended one stops at once. A
 * `write` scope does not imply `read`.
 */
import type { FastifyRequest, onRequestAsyncHookHandler } from 'fastify'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { ProblemError } from '../http/problem.ts'
import { callerOf, createRateLimit } from '../http/rate-limit.ts'
import { hashSecret, sameText } from '../oauth/secret.ts'
import { findLiveKey } from './queries.ts'

/** The admin behind ADMIN_API_KEY. */
export const ENVIRONMENT: Admin = { id: 'environment', scopes: ['*'] }

/** Runs before the body is read: a stranger is refused before anything they sent is looked at. */
export function adminGuard(deps: Deps): onRequestAsyncHookHandler {
  const wrongKeys = createRateLimit(deps, WRONG_KEYS)
  return async (request: FastifyRequest) => {
    const admin = await authenticateAdmin(deps, request.headers.authorization)
    if (admin === undefined) {
      // Asked after a failure alone: whoever has a key is never kept waiting by those who guess.
      const tooMany = await wrongKeys.take(callerOf(request.ip))
      if (tooMany) throw waitBefore(tooMany.retryAfter)
      throw new ProblemError('unauthenticated', 'This admin key is unknown, or has ended')
    }
    request.admin = { ...admin, request_id: request.id }
    const { scope, undocumented } = request.routeOptions.config
    if (request.is404 || (scope === undefined && undocumented)) return
    if (scope === undefined) {
      throw new Error(`${request.method} ${request.routeOptions.url} does not name its scope`)
    }
    if (!holdsScope(admin, scope)) {
      throw new ProblemError('insufficient_scope', `This call needs the scope ${scope}`)
    }
  }
}

/** From one address, in a quarter of an hour. */
const WRONG_KEYS = { name: 'admin-key', points: 100, duration: 900, remembered: true }

const waitBefore = (retryAfter: number) =>
  new ProblemError('rate_limited', 'Too many wrong admin keys came from this address', {
    retryAfter,
  })

/**
 * Whom the key speaks for; undefined if it is unknown or has ended.
 * @throws {ProblemError} `unauthenticated` when there is none
 */
async function authenticateAdmin(deps: Deps, authorization?: string): Promise<Admin | undefined> {
  const key = /^Bearer +([\x21-\x7e]+) *$/i.exec(authorization ?? '')?.[1]
  if (key === undefined) {
    throw new ProblemError('unauthenticated', 'Send an admin key as Authorization: Bearer <key>')
  }
  const { adminApiKey } = deps.config
  if (adminApiKey !== undefined && sameText(key, adminApiKey)) return ENVIRONMENT
  return findLiveKey(deps.db, hashSecret(key), deps.now())
}

export const holdsScope = ({ scopes }: Admin, scope: string): boolean =>
  scopes.includes('*') || scopes.includes(scope)

import type { Deps } from '../deps.ts'
import { callerOf, createRateLimit } from '../http/rate-limit.ts'
import { OAuthError } from '../oauth/errors.ts'

/**
 * Clients that fail to authenticate, in a quarter of an hour (CA-07): one client from one address, and all of them
 * from one address. Asked after a failure and never before a success, so that it costs the others nothing
 * and nobody locks a client out by failing in its name. Names that no client has are counted by address
 * alone: they are as many as somebody cares to make up.
 */
export function createFailureLimits(deps: Pick<Deps, 'pool' | 'config'>) {
  const limit = { duration: 900, remembered: true }
  const ofAddress = createRateLimit(deps, { name: 'client-address', points: 300, ...limit })
  const ofClient = createRateLimit(deps, { name: 'client', points: 60, ...limit })
  return {
    /** Counts a failure. @returns what the caller is told: the failure, or to wait. */
    async told(
      failure: OAuthError,
      { address, agent_id }: { address: string; agent_id: string | undefined },
    ): Promise<OAuthError> {
      const caller = callerOf(address)
      const exceeded =
        (await ofAddress.take(caller)) ??
        (agent_id === undefined ? undefined : await ofClient.take(`${agent_id} ${caller}`))
      if (exceeded === undefined) return failure
      return new OAuthError('temporarily_unavailable', TOO_MANY, {
        status: 429,
        retryAfter: exceeded.retryAfter,
        cause: failure,
      })
    },
  }
}

const TOO_MANY =
  'Client authentication failed too often from this address: check client_id and key or secret, and wait before trying again'

import type { AgentFacts } from '../agents/authenticate.ts'
import type { Deps } from '../deps.ts'
import { BUDGETS, type Budget } from '../http/budgets.ts'
import { callerOf, createRateLimit, type Exceeded } from '../http/rate-limit.ts'
import { OAuthError } from '../oauth/errors.ts'
import { Refusal } from './refusals.ts'

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

/** A client or a user is beyond their budget. */
export class TooManyRequests extends Refusal {
  readonly budget: Budget
  readonly user_id: string | undefined
  /** The first of its minute, which stands in the audit log for all of them. */
  readonly first: boolean

  constructor(budget: Budget, { retryAfter, first }: Exceeded, user_id?: string) {
    super('too_many_requests', { status: 429, retryAfter })
    this.name = 'TooManyRequests'
    this.budget = budget
    this.user_id = user_id
    this.first = first
  }
}

/**
 * Counts a request for the client that has just authenticated. A public one proves nothing: whoever knows
 * its name could use up its budget.
 * @throws {TooManyRequests}
 */
export function countClient(
  { tally }: Pick<Deps, 'tally'>,
  { id, token_endpoint_auth_method }: AgentFacts,
): void {
  if (token_endpoint_auth_method === 'none') return
  const exceeded = tally.take(BUDGETS.client, id)
  if (exceeded) throw new TooManyRequests(BUDGETS.client, exceeded)
}

/**
 * Counts a request for the user of whom a code or token has just been verified.
 * @throws {TooManyRequests}
 */
export function countUser({ tally }: Pick<Deps, 'tally'>, user_id: string): void {
  const exceeded = tally.take(BUDGETS.user, user_id)
  if (exceeded) throw new TooManyRequests(BUDGETS.user, exceeded, user_id)
}

/** Whoever replays a client assertion is not the client: what was counted for it, and for the user, is given back. */
export function uncount(
  { tally }: Pick<Deps, 'tally'>,
  of: { agent?: { agent: AgentFacts }; subject?: { user: { id: string } } },
  refusal?: Refusal,
): void {
  const counted = !(refusal instanceof TooManyRequests && refusal.budget === BUDGETS.client)
  if (of.agent && counted) tally.giveBack(BUDGETS.client, of.agent.agent.id)
  if (of.subject) tally.giveBack(BUDGETS.user, of.subject.user.id)
}

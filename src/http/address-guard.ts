import type { onRequestHookHandler } from 'fastify'
import { OAuthError } from '../oauth/errors.ts'
import { BUDGETS, type Budget } from './budgets.ts'
import type { Metrics } from './metrics.ts'
import { PageError } from './page-error.ts'
import { callerOf, type Exceeded } from './rate-limit.ts'
import type { Tally } from './tally.ts'

type Surroundings = { tally: Tally; metrics: Metrics }

/** Runs before anything of a request is read: who asks too often costs no more than that. */
export const guardClientsDoor = (deps: Surroundings): onRequestHookHandler =>
  guard(deps, BUDGETS.address, ({ retryAfter }) => {
    deps.metrics.refused('temporarily_unavailable', 'too_many_requests')
    const text = 'Too many requests from this address: wait as long as Retry-After says'
    return new OAuthError('temporarily_unavailable', text, { status: 429, retryAfter })
  })

export const guardUsersDoor = (deps: Surroundings): onRequestHookHandler =>
  guard(deps, BUDGETS.pages, ({ retryAfter }) => {
    deps.metrics.refused('page', 'too_many_requests')
    const text =
      'More pages than we can serve were asked for from your network. Try again in a minute.'
    return new PageError(429, 'Too many requests', text, { retryAfter })
  })

const guard =
  (
    { tally }: Surroundings,
    budget: Budget,
    refusal: (exceeded: Exceeded) => Error,
  ): onRequestHookHandler =>
  (request, _reply, done) => {
    const exceeded = tally.take(budget, callerOf(request.ip))
    done(exceeded && refusal(exceeded))
  }

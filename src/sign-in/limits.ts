import { createSampler } from '../audit/sample.ts'
import type { Deps } from '../deps.ts'
import { createRateLimit } from '../http/rate-limit.ts'

/**
 * Tries at signing in, in a quarter of an hour: for one account, and from one address. `sampled` says which
 * failures of strangers are written down.
 */
export const createSignInLimits = (deps: Pick<Deps, 'pool' | 'config' | 'now'>) => ({
  account: createRateLimit(deps, { name: 'sign-in-account', points: 10, duration: 900 }),
  address: createRateLimit(deps, { name: 'sign-in-address', points: 50, duration: 900 }),
  sampled: createSampler({ perMinute: 60, now: deps.now }),
})

export type SignInLimits = ReturnType<typeof createSignInLimits>

import type { Deps } from '../deps.ts'
import { createRateLimit } from '../http/rate-limit.ts'

/** Tries at signing in, in a quarter of an hour: for one account, and from one address. */
export const createSignInLimits = (deps: Pick<Deps, 'pool' | 'config'>) => ({
  account: createRateLimit(deps, { name: 'sign-in-account', points: 10, duration: 900 }),
  address: createRateLimit(deps, { name: 'sign-in-address', points: 50, duration: 900 }),
})

export type SignInLimits = ReturnType<typeof createSignInLimits>

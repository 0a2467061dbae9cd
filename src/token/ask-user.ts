import { type Ask, openInteraction } from '../delegations/interaction.ts'
import type { Deps } from '../deps.ts'
import { numericDate } from '../oauth/numeric-date.ts'

/** The question for the user, and where it waits for them: `expires_in` seconds from now. */
export async function askUser(deps: Deps, ask: Ask, now: Date) {
  const { id, expires_at } = await openInteraction(deps, ask)
  return {
    id,
    interaction_uri: `${deps.config.issuer}/consent/${id}`,
    expires_in: Math.max(0, numericDate(expires_at) - numericDate(now)),
  }
}

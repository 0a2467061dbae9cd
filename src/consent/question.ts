import type { Interaction } from '../delegations/interaction-queries.ts'
import { hostOf } from '../oauth/uri.ts'
import { withinCeiling } from '../policy/ceiling.ts'
import { isAuthMd } from '../policy/decide.ts'
import type { ConsentFacts } from './queries.ts'

/** Something about the user that would leave for the audience. */
export type Leaving =
  | { claim: 'email' | 'phone' | 'name'; value: string }
  | { claim: 'identifier' | 'tenant' | 'actor' }

/** What the page asks: the question as it was put, within what entitlement and catalogue allow now. */
export type ConsentQuestion = {
  account: string
  agent: { name: string; host: string | undefined; purpose: string | null }
  audience: { name: string; host: string }
  /** Undefined: the agent named none, so it asks for the whole audience. */
  resources: string[] | undefined
  scopes: { name: string; description: string | undefined }[]
  leaving: Leaving[]
}

/** Undefined when nothing of what was asked can be allowed any more. */
export function consentQuestion(
  interaction: Pick<Interaction, 'scopes' | 'resources'>,
  facts: ConsentFacts,
): ConsentQuestion | undefined {
  const { user, agent, audience, entitlement } = facts
  const possible = withinCeiling(interaction, entitlement, audience)
  if (interaction.resources.length > 0 && possible.resources.length === 0) return undefined
  if (interaction.scopes.length > 0 && possible.scopes.length === 0) return undefined
  const agentUri = agent.redirect_uris[0] ?? agent.jwks_uri ?? undefined
  return {
    account: [user.name, user.email ?? user.phone_number].filter(Boolean).join(', ') || user.id,
    agent: { name: agent.name, purpose: agent.purpose, host: agentUri && hostOf(agentUri) },
    audience: { name: audience.name, host: hostOf(audience.issuer) },
    resources: interaction.resources.length > 0 ? possible.resources : undefined,
    scopes: possible.scopes.map((name) => ({
      name,
      description: describeScope(name, possible.resources, audience),
    })),
    leaving: leaving(facts),
  }
}

/** In the words of the resources that are asked for, if one of them has words for it. */
function describeScope(name: string, resources: string[], audience: ConsentFacts['audience']) {
  const known = audience.resources.filter(
    ({ identifier }) => resources.length === 0 || resources.includes(identifier),
  )
  return known
    .flatMap(({ scopes }) => scopes)
    .find((scope) => scope.name === name && scope.description)?.description
}

/** The same choice as the ID-JAG makes (IJ-07, IJ-09): verified contacts alone, and what the audience asks for. */
function leaving({ user, audience }: ConsentFacts): Leaving[] {
  const asks = (claim: string) => audience.claims.includes(claim)
  const contact = isAuthMd(audience.profile)
  const found: Leaving[] = [{ claim: 'identifier' }]
  if (user.email !== null && user.email_verified_at !== null && (contact || asks('email'))) {
    found.push({ claim: 'email', value: user.email })
  }
  if (user.phone_number !== null && user.phone_verified_at !== null && (contact || asks('phone'))) {
    found.push({ claim: 'phone', value: user.phone_number })
  }
  if (user.name !== null && asks('name')) found.push({ claim: 'name', value: user.name })
  if (asks('tenant')) found.push({ claim: 'tenant' })
  if (asks('act')) found.push({ claim: 'actor' })
  return found
}

import { createHash } from 'node:crypto'
import { type DescribedDetail, describeDetails, describeScope } from '../audiences/described.ts'
import type { Interaction } from '../delegations/interaction-queries.ts'
import { GRANT } from '../oauth/names.ts'
import { type ClaimName, wantedClaims } from '../oauth/profile.ts'
import { hostOf } from '../oauth/uri.ts'
import { allowedResources, reachedResources, withinCeiling } from '../policy/ceiling.ts'
import { entitledDetails, withinCatalogue } from '../policy/details.ts'
import { type Leaving, leavingOf } from '../policy/leaving.ts'
import type { ConsentFacts } from './queries.ts'
import { TEXT_VERSION } from './text.ts'

/** What the page asks: the question as it was put, within what entitlement and catalogue allow now. */
export type ConsentQuestion = {
  account: string
  agent: { name: string; host: string | undefined; purpose: string | null }
  audience: { name: string; issuer: string; host: string }
  /** Undefined: the agent named none, so it asks for the whole audience. */
  resources: string[] | undefined
  /** What that is at the moment; empty where some are named. */
  everything: string[]
  scopes: { name: string; description: string | undefined }[]
  /** Allowed all together or not at all. */
  details: DescribedDetail[]
  /**
   * What to know before the agent may go on while its user is signed out; undefined where that cannot be
   * allowed, because the agent may hold no refresh token.
   */
  offline: { /** Seconds. */ max_auth_age: number | null } | undefined
  leaving: Leaving[]
  /** The claims among them, by the names that a delegation keeps. */
  claims: ClaimName[]
}

/** Undefined when nothing of what was asked can be allowed any more. */
export function consentQuestion(
  interaction: Pick<Interaction, 'scopes' | 'resources' | 'authorization_details'>,
  facts: ConsentFacts,
): ConsentQuestion | undefined {
  const { user, agent, audience, entitlement } = facts
  const possible = withinCeiling(interaction, entitlement, audience)
  if (interaction.resources.length > 0 && possible.resources.length === 0) return undefined
  if (interaction.scopes.length > 0 && possible.scopes.length === 0) return undefined
  const named = interaction.resources.length > 0
  const within = named ? possible.resources : (entitlement.resources ?? [])
  const details = entitledDetails(
    withinCatalogue(interaction.authorization_details, audience, within),
    entitlement.authorization_details_types,
  )
  if (interaction.authorization_details.length > 0 && details.length === 0) return undefined
  const reached = reachedResources(audience, within)
  const agentUri = agent.client_metadata_url ?? agent.redirect_uris[0] ?? agent.jwks_uri
  return {
    account: [user.name, user.email ?? user.phone_number].filter(Boolean).join(', ') || user.id,
    agent: {
      name: agent.name,
      purpose: agent.purpose,
      host: agentUri ? hostOf(agentUri) : undefined,
    },
    audience: { name: audience.name, issuer: audience.issuer, host: hostOf(audience.issuer) },
    resources: named ? possible.resources : undefined,
    everything: named ? [] : allowedResources(audience, entitlement),
    scopes: possible.scopes.map((name) => ({ name, description: describeScope(name, reached) })),
    details: describeDetails(details, reached),
    offline: agent.grant_types.includes(GRANT.refreshToken)
      ? { max_auth_age: audience.max_auth_age }
      : undefined,
    leaving: leavingOf(facts),
    claims: wantedClaims(audience),
  }
}

/** Tells this question from any other in a word that its user would read. The form brings it back. */
export const questionDigest = (question: ConsentQuestion): string =>
  createHash('sha256')
    .update(JSON.stringify([TEXT_VERSION, question]))
    .digest('base64url')

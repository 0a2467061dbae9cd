import { createHash } from 'node:crypto'
import type { Interaction } from '../delegations/interaction-queries.ts'
import { type ClaimName, wantedClaims } from '../oauth/profile.ts'
import { hostOf } from '../oauth/uri.ts'
import { withinCeiling } from '../policy/ceiling.ts'
import { tellableClaims } from '../policy/decide.ts'
import type { ConsentFacts } from './queries.ts'
import { TEXT_VERSION } from './text.ts'

/** Something about the user that the audience wants to be told. */
export type Leaving =
  | { claim: 'identifier' | 'tenant' | 'act' }
  /** Without a value it does not leave now, but will once there is one: the consent covers it. */
  | { claim: 'email' | 'phone' | 'name' | 'aud_sub' | 'aud_tenant'; value: string | undefined }

/** What the page asks: the question as it was put, within what entitlement and catalogue allow now. */
export type ConsentQuestion = {
  account: string
  agent: { name: string; host: string | undefined; purpose: string | null }
  audience: { name: string; issuer: string; host: string }
  /** Undefined: the agent named none, so it asks for the whole audience. */
  resources: string[] | undefined
  scopes: { name: string; description: string | undefined }[]
  leaving: Leaving[]
  /** The claims among them, by the names that a delegation keeps. */
  claims: ClaimName[]
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
    audience: { name: audience.name, issuer: audience.issuer, host: hostOf(audience.issuer) },
    resources: interaction.resources.length > 0 ? possible.resources : undefined,
    scopes: possible.scopes.map((name) => ({
      name,
      description: describeScope(name, possible.resources, audience),
    })),
    leaving: leaving(facts),
    claims: wantedClaims(audience),
  }
}

/** Tells this question from any other in a word that its user would read. The form brings it back. */
export const questionDigest = (question: ConsentQuestion): string =>
  createHash('sha256')
    .update(JSON.stringify([TEXT_VERSION, question]))
    .digest('base64url')

/** In the words of the resources that are asked for, if one of them has words for it. */
function describeScope(name: string, resources: string[], audience: ConsentFacts['audience']) {
  const known = audience.resources.filter(
    ({ identifier }) => resources.length === 0 || resources.includes(identifier),
  )
  return known
    .flatMap(({ scopes }) => scopes)
    .find((scope) => scope.name === name && scope.description)?.description
}

/** All that the audience wants, each with the value that an ID-JAG made now would tell it. */
function leaving({ user, audience, account }: ConsentFacts): Leaving[] {
  const now = tellableClaims(
    {
      ...user,
      email_verified: user.email_verified_at !== null,
      phone_verified: user.phone_verified_at !== null,
    },
    audience,
    account,
  )
  const values = {
    email: user.email,
    phone: user.phone_number,
    name: user.name,
    aud_sub: account?.aud_sub,
    aud_tenant: account?.aud_tenant,
  }
  return [
    { claim: 'identifier' },
    ...wantedClaims(audience).map((claim) =>
      claim === 'tenant' || claim === 'act'
        ? { claim }
        : { claim, value: (now.includes(claim) && values[claim]) || undefined },
    ),
  ]
}

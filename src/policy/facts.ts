/** What a decision is told: records as they were read, and what the request proved. Values alone. */
import type { AudienceResource, Profile } from '../db/tables.ts'
import type { AuthorizationDetail } from '../oauth/authorization-details.ts'

export type AudienceFacts = {
  id: string
  issuer: string
  profile: Profile
  status: 'active' | 'suspended' | 'retired'
  resources: AudienceResource[]
  default_scopes: string[]
  default_resources: string[]
  claims: string[]
  /** Seconds. */
  max_auth_age: number | null
  /** Authentication context classes it accepts; none: any. */
  acr_values: string[]
  dpop_required: boolean
  /** It is told of one agent's end alone, and so has to know which agent came. */
  event_names_agent: boolean
  /** Seconds. */
  id_jag_lifetime: number | null
  id_jag_signing_alg: string
  version: string
}
export type EntitlementFacts = {
  id: string
  client_id: string | null
  scopes: string[]
  resources: string[] | null
  /** Null: every type that the audience catalogues. */
  authorization_details_types: string[] | null
  consent: 'user' | 'admin'
  expires_at: Date | null
  version: string
}
export type DelegationFacts = {
  id: string
  scopes: string[]
  resources: string[] | null
  /** Null: whatever the entitlement allows. */
  authorization_details: AuthorizationDetail[] | null
  claims: string[]
  mode: 'once' | 'always'
  /** It carries an exchange also when the session of its user has ended. */
  offline: boolean
  source: 'user' | 'admin' | 'policy'
  sub_asserted: string
  expires_at: Date | null
  version: string
}
export type UserFacts = {
  id: string
  tenant_id: string
  status: 'active' | 'suspended' | 'deleted'
  email: string | null
  email_verified: boolean
  phone_number: string | null
  phone_verified: boolean
  name: string | null
  version: string
}
export type AccountFacts = { aud_sub: string; aud_tenant: string | null }
export type BlockFacts = { id: string; expires_at: Date | null }

/** An agent that acts for the client, or for the actor before it, and what an administrator permits the pair. */
export type ActorFacts = {
  id: string
  /** Undefined: nobody permits it here. Scopes of null shrink nothing. */
  permission: { ids: string[]; scopes: string[] | null } | undefined
}

/** How and when the user proved who they are, as the subject token's own records say. */
export type Authentication = {
  /** Null where nobody trusted says when: as good as never for an audience that asks. */
  auth_time: Date | null
  acr: string | null
  /** False: the session has ended, so that an `offline` delegation alone can carry this. */
  live: boolean
}

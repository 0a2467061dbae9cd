/** What the client may have there for the user: target, scope, rules, delegation, freshness. */

import { isContact } from '../oauth/profile.ts'
import { parseScope } from '../oauth/scope.ts'
import { tellableClaims } from '../policy/decide.ts'
import { unknownType } from '../policy/details.ts'
import type { Circumstances, Condition } from './condition.ts'

const audience: Condition['record'] = ({ facts }) => facts.audience?.id
const entitlement: Condition['record'] = ({ facts }) => facts.entitlement?.id
const delegation: Condition['record'] = ({ facts }) => facts.delegation?.id

const PUT = 'PUT /agents/{id}/entitlements/{audience_id}'
const ASK = 'the user is asked, or an administrator allows it: POST /delegations'

export const TARGET_CONDITIONS = {
  several_audiences: {
    rule: 'TX-04',
    missing: 'One audience: an ID-JAG is for exactly one',
  },
  unknown_audience: {
    rule: 'TX-07',
    missing:
      'An audience of the tenant with this issuer or alias: GET /audiences lists them, POST /audiences registers one',
  },
  audience_inactive: {
    rule: 'TX-07',
    missing: 'An audience that is active: POST /audiences/{id}/resume',
    record: audience,
  },
  no_entitlement: {
    rule: 'TX-16',
    missing: `A live entitlement of the agent for the audience: ${PUT}`,
    here: ({ facts }) =>
      facts.entitlement?.expires_at
        ? `A live entitlement of the agent for the audience: it ended at ${facts.entitlement.expires_at.toISOString()}. ${PUT} makes another`
        : undefined,
    record: ({ facts }) => facts.entitlement?.id ?? facts.audience?.id,
  },
  no_client_mapping: {
    rule: 'IJ-41',
    missing: `The client_id by which the relying app knows the agent: ${PUT} with client_id`,
    record: entitlement,
  },
  resource_not_registered: {
    rule: 'TX-09',
    missing:
      'Resources of this audience alone, each an absolute URI without a fragment: PATCH /audiences/{id} with resources',
    record: audience,
  },
  resource_not_entitled: {
    rule: 'TX-09',
    missing: `Resources within the entitlement: ${PUT} with resources`,
    here: ({ facts, request }) =>
      request.resources.length === 0
        ? `A resource within the entitlement among the default ones of the audience: ${PUT} with resources, or name one that is`
        : `Resources within the entitlement, which has ${listed(facts.entitlement?.resources)}: ${PUT} with resources`,
    record: entitlement,
  },
  resource_required: {
    rule: 'TX-10',
    missing: 'A resource: an MCP server needs one, asked for or as a default of the audience',
    record: audience,
  },
  scope_malformed: {
    rule: 'TX-12',
    missing: 'A scope of names separated by single spaces',
  },
  scope_not_in_catalogue: {
    rule: 'TX-12',
    missing:
      'A scope that the audience knows for these resources: PATCH /audiences/{id} with resources',
    record: audience,
  },
  scope_not_entitled: {
    rule: 'TX-12',
    missing: `A scope within the entitlement, and within the permission of each actor: ${PUT} with scopes`,
    here: (of) => {
      const entitled = of.facts.entitlement?.scopes ?? []
      return askedScopes(of).some((scope) => entitled.includes(scope))
        ? 'A scope within the permission of the actor: POST /actor-permissions permits more'
        : `A scope within the entitlement, which has ${listed(entitled)}: ${PUT} with scopes`
    },
    record: entitlement,
  },
  details_malformed: {
    rule: 'TX-15',
    missing: 'authorization_details that are a JSON array of objects, each with a type',
  },
  details_unknown_type: {
    rule: 'TX-15',
    missing:
      'authorization_details of types that the audience knows: PATCH /audiences/{id} with resources',
    here: ({ request, facts }) =>
      request.details === 'malformed' || facts.audience === undefined
        ? undefined
        : `A type that the audience knows instead of ${unknownType(request.details, facts.audience)}: PATCH /audiences/{id} with resources`,
    record: audience,
  },
  details_not_entitled: {
    rule: 'TX-15',
    missing: `authorization_details of an entitled type, for a resource that knows it: ${PUT} with authorization_details_types`,
    here: ({ facts }) =>
      facts.entitlement?.authorization_details_types
        ? `authorization_details of an entitled type, which are ${listed(facts.entitlement.authorization_details_types)}, for a resource that knows it: ${PUT} with authorization_details_types`
        : undefined,
    record: entitlement,
  },
  dpop_required: {
    rule: 'DP-08',
    missing: 'A DPoP proof: the audience takes key-bound ID-JAGs only',
    record: audience,
  },
  details_too_large: {
    rule: 'IJ-17',
    missing: 'Fewer or smaller authorization_details: the ID-JAG would be larger than 8 KiB',
  },
  id_jag_too_large: {
    rule: 'IJ-17',
    missing: 'Fewer scopes or resources: the ID-JAG would be larger than 8 KiB',
  },
} as const satisfies Record<string, Condition>

export const RIGHT_CONDITIONS = {
  denied_by_rule: {
    rule: 'TX-16',
    missing: 'That no block forbids it: DELETE /blocks/{id} ends one',
    here: ({ facts }) =>
      facts.block?.expires_at
        ? `That no block forbids it: this one does until ${facts.block.expires_at.toISOString()}, or DELETE /blocks/{id}`
        : undefined,
    record: ({ facts }) => facts.block?.id,
  },
  actor_not_permitted: {
    rule: 'TX-19',
    missing:
      'A permission for the actor to act for the agent, for this user and audience, and no block of the actor. It ends when the actor is revoked, suspended or retired, or its owner is gone: POST /actor-permissions',
    record: ({ asked }) => asked.actor_id,
  },
  unverified_contact: {
    rule: 'IJ-07',
    missing:
      'A verified e-mail address or phone number of the user that the delegation lets out: an auth.md service is told one',
    here: (of) =>
      tellable(of).some(isContact)
        ? 'A delegation that lets the verified e-mail address or phone number out: end it, and have the user asked anew'
        : 'A verified e-mail address or phone number of the user: PATCH /users/{id}, once it was verified',
    record: (of) => (tellable(of).some(isContact) ? of.facts.delegation?.id : of.facts.user?.id),
  },
  no_delegation: {
    rule: 'GR-01',
    missing: `A delegation: ${ASK}`,
    here: ({ facts }) =>
      facts.entitlement?.consent === 'admin'
        ? 'A delegation. The entitlement makes none by itself, for the access of this user was revoked: the user is asked, or POST /delegations'
        : undefined,
  },
  delegation_expired: {
    rule: 'GR-01',
    missing: `A delegation that has not ended: ${ASK}`,
    here: ({ facts }) =>
      facts.delegation?.expires_at
        ? `A delegation that has not ended, as this one did at ${facts.delegation.expires_at.toISOString()}: ${ASK}`
        : undefined,
    record: delegation,
  },
  delegation_revoked: {
    rule: 'GR-06',
    missing: `A delegation: the last one was revoked, and none is made by itself. ${capital(ASK)}`,
  },
  delegation_consumed: {
    rule: 'GR-02',
    missing: `A delegation: the last one was for once, and was used. ${capital(ASK)}`,
  },
  scope_not_delegated: {
    rule: 'GR-04',
    missing: `A scope that was delegated: ${ASK}`,
    here: ({ facts }) =>
      `A scope that was delegated, and these were: ${listed(facts.delegation?.scopes)}. ${capital(ASK)}`,
    record: delegation,
  },
  resource_not_delegated: {
    rule: 'GR-04',
    missing: `A resource that was delegated: ${ASK}`,
    here: ({ facts }) =>
      `A resource that was delegated, and these were: ${listed(facts.delegation?.resources)}. ${capital(ASK)}`,
    record: delegation,
  },
  claims_not_delegated: {
    rule: 'GR-04',
    missing:
      'The consent of the user to all that the audience is told now: the user is asked again',
    here: (of) =>
      `The consent of the user to tell the audience ${listed(undelegated(of))}: the user is asked again`,
    record: delegation,
  },
  details_not_delegated: {
    rule: 'GR-04',
    missing: `authorization_details that were delegated: ${ASK}`,
    record: delegation,
  },
  stale_authentication: {
    rule: 'TX-50',
    missing:
      'A newer sign-in of the user: the audience has a max_auth_age, of which the life of the ID-JAG is taken off',
    here: ({ decision }) =>
      `A sign-in of the user no longer than ${wanted(decision).max_age} seconds ago: the max_auth_age of the audience, less the life of the ID-JAG`,
    record: audience,
  },
  weak_authentication: {
    rule: 'TX-50',
    missing: 'A stronger sign-in of the user: the audience lists acr_values',
    here: ({ decision }) =>
      `A sign-in of the user of one of these classes: ${listed(wanted(decision).acr_values)}`,
    record: audience,
  },
  revocation_pending: {
    rule: 'EV-14',
    missing:
      'That the audience has confirmed an older revocation for the user, or that its delivery was given up: GET /event-deliveries says how far it has come',
    record: ({ facts }) => facts.event?.id,
  },
  kept_changing: {
    rule: 'GR-06',
    missing: 'Records that stand still for as long as an exchange takes: ask again',
  },
} as const satisfies Record<string, Condition>

const listed = (words: readonly string[] | null | undefined): string =>
  words?.length ? words.join(' ') : 'none'

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

type Wanted = { max_age?: number | undefined; acr_values?: readonly string[] | undefined }

const wanted = (decision: Circumstances['decision']): Wanted =>
  decision === undefined || decision.policy !== undefined ? {} : decision

const askedScopes = ({ request, facts }: Circumstances): string[] =>
  request.scope === undefined
    ? (facts.audience?.default_scopes ?? [])
    : (parseScope(request.scope) ?? [])

const tellable = ({ facts: { user, audience, account } }: Circumstances) =>
  user && audience ? tellableClaims(user, audience, account) : []

const undelegated = (of: Circumstances): string[] =>
  tellable(of).filter((claim) => !of.facts.delegation?.claims.includes(claim))

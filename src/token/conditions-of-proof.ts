/** Who the client, the user and the actors are: what their tokens, keys and records have to be. */
import type { Circumstances, Condition } from './condition.ts'

const agent: Condition['record'] = ({ facts }) => facts.agent?.id
const user: Condition['record'] = ({ facts }) => facts.user?.id
const actor: Condition['record'] = ({ asked }) => asked.actor_id

export const CLIENT_CONDITIONS = {
  unknown_client: {
    rule: 'CA-02',
    missing: 'An agent of this id: there is none',
  },
  agent_retired: {
    rule: 'CA-02',
    missing: 'An agent that is not retired. That is for good: enrol another',
    record: agent,
  },
  bad_credentials: {
    rule: 'CA-02',
    missing:
      'Proof of a live key or secret of the agent, by its own method: GET /agents/{id}/credentials lists them',
    here: () => 'A live key or secret of the agent: POST /agents/{id}/credentials adds one',
    record: agent,
  },
  client_metadata_not_allowed: {
    rule: 'DS-40',
    missing: 'A rule that lets this client metadata URL come: POST /client-metadata-rules',
    record: agent,
  },
  client_metadata_unreadable: {
    rule: 'DS-43',
    missing:
      'A client metadata document that can be had now, and that says of the client what it has to',
    record: agent,
  },
  credential_ended: {
    rule: 'CA-02',
    missing: 'A key or secret that has not been ended: POST /agents/{id}/credentials adds one',
    record: agent,
  },
  replayed_assertion: {
    rule: 'CA-03',
    missing: 'A client assertion that was not presented before: each needs a jti of its own',
  },
  agent_requested: {
    rule: 'CA-06',
    missing: 'The approval of the agent: POST /agents/{id}/approve',
    record: agent,
  },
  agent_suspended: {
    rule: 'CA-06',
    missing: 'An agent that is not suspended: POST /agents/{id}/resume',
    record: agent,
  },
  agent_expired: {
    rule: 'CA-06',
    missing: 'An end of the agent that has not come: PATCH /agents/{id} with a later expires_at',
    here: ({ facts }) =>
      facts.agent?.expires_at
        ? `The agent ended at ${facts.agent.expires_at.toISOString()}: PATCH /agents/{id} with a later expires_at`
        : undefined,
    record: agent,
  },
  owner_inactive: {
    rule: 'CA-06',
    missing: 'An owner of the agent who is active: PATCH /agents/{id} with another owner_id',
    here: ({ facts: { agent } }) =>
      `The owner, ${agent?.owner_id}, is ${agent?.owner_status}: PATCH /agents/{id} with another owner_id`,
    record: agent,
  },
  tenant_suspended: {
    rule: 'CA-06',
    missing: 'A tenant that is not suspended: PATCH /tenants/{id} with status active',
    record: ({ facts }) => facts.agent?.tenant_id,
  },
  grant_not_allowed: {
    rule: 'CA-06',
    missing: 'Token exchange among the grant_types of the agent: PATCH /agents/{id}',
    record: agent,
  },
  public_client: {
    rule: 'FL-05',
    missing: 'A client that authenticates: this one is public. Enrol another',
    record: agent,
  },
  too_many_requests: {
    rule: 'CA-07',
    missing: 'Requests of this client, or for this user, that are left in this minute',
  },
  bad_dpop_proof: {
    rule: 'DP-02',
    missing: 'A DPoP proof that holds: for this endpoint, made now, by the key in its header',
  },
  replayed_dpop_proof: {
    rule: 'DP-05',
    missing: 'A DPoP proof that was not presented before: each needs a jti of its own',
  },
  no_dpop_proof: {
    rule: 'DP-08',
    missing: 'A DPoP proof: the agent is enrolled with dpop_bound_access_tokens',
    record: agent,
  },
  dpop_nonce_needed: {
    rule: 'DP-06',
    missing: 'A DPoP proof with the nonce that this server gave last: DPOP_NONCES is on',
  },
} as const satisfies Record<string, Condition>

export const SUBJECT_CONDITIONS = {
  bad_subject_token: {
    rule: 'TX-21',
    missing: 'A subject token that this server gave this client for a user',
    here: ({ facts }) =>
      facts.user === undefined ? 'A user of this id: there is none' : undefined,
  },
  subject_token_expired: {
    rule: 'TX-21',
    missing: 'A subject token that has not expired: refresh it, or sign the user in again',
  },
  wrong_subject_audience: {
    rule: 'TX-22',
    missing: 'A subject token that was made for this client',
    here: ({ facts }) =>
      facts.user === undefined || facts.user.tenant_id === facts.agent?.tenant_id
        ? undefined
        : 'A user of the tenant of the agent: nobody of another signs in to it',
    record: user,
  },
  spent_refresh_token: {
    rule: 'TX-27',
    missing: 'A refresh token that was not rotated away: this one ended its whole family',
  },
  refresh_token_revoked: {
    rule: 'TX-26',
    missing: 'A grant of the user to the agent that was not ended: sign the user in again',
  },
  wrong_dpop_key: {
    rule: 'DP-09',
    missing: 'A DPoP proof by the key that the subject token is bound to',
  },
  user_inactive: {
    rule: 'TX-24',
    missing: 'A user who is active: PATCH /users/{id}',
    here: ({ facts }) =>
      facts.user?.status === 'suspended'
        ? 'A user who is not suspended: PATCH /users/{id} with status active'
        : 'A user who is not deleted. That is for good',
    record: user,
  },
  session_ended: {
    rule: 'TX-24',
    missing:
      'A session of the user that lives; or, with a refresh token, a live delegation that is offline',
    here: ({ request, facts }) =>
      request.subject.kind === 'refresh_token'
        ? `A session of the user that lives, or a live delegation that is offline: ${offlineFault(facts.delegation)}`
        : 'A session of the user that lives: sign the user in again',
    record: ({ facts }) => facts.delegation?.id,
  },
  issuer_not_trusted: {
    rule: 'TX-21',
    missing: 'Trust in the issuer of the ID token: POST /trusted-issuers',
  },
  upstream_client_not_allowed: {
    rule: 'TX-22',
    missing:
      'The agent among those that may present ID tokens of that client of the trusted issuer: its registration lists them',
  },
  unknown_upstream_account: {
    rule: 'TX-24',
    missing:
      'A user here for that subject of the trusted issuer: link it, or let the registration do so',
  },
  upstream_unavailable: {
    rule: 'TX-21',
    missing: 'The keys of the trusted issuer: they cannot be had now',
  },
  actor_tokens_off: {
    rule: 'TX-19',
    missing: 'Anybody who is permitted to act for the agent: POST /actor-permissions',
    record: agent,
  },
  bad_actor_token: {
    rule: 'TX-19',
    missing:
      'An actor token that holds, by another agent of the tenant, for this client to present, not presented before',
    here: ({ asked, facts }) =>
      asked.actor_id === facts.agent?.id
        ? 'Another agent as the actor: nobody acts for itself'
        : 'An actor of the same tenant that has a live key to sign with',
    record: actor,
  },
  actor_inactive: {
    rule: 'TX-19',
    missing: 'An actor that may act itself: active, before its end, with an active owner',
    record: actor,
  },
  replayed_actor_token: {
    rule: 'TX-19',
    missing: 'An actor token that was not presented before: each needs a jti of its own',
  },
} as const satisfies Record<string, Condition>

function offlineFault(delegation: Circumstances['facts']['delegation']): string {
  if (delegation === undefined) return 'there is no delegation'
  return delegation.offline ? 'this one has ended' : 'this one is not'
}

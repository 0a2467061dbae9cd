/**
 * What stands in the way of a mint although nothing of what it rests on has ended: rules, those who act for
 * the agent, and what audience and entitlement demand since.
 */

import type { ContestantSite } from './contestant-site.ts'
import type { Contestant, Kind } from './contestants.ts'
import type { Ending } from './endings.ts'

const ACTOR: Kind = { actor: true }
const YEAR = 365 * 24 * 3_600_000
const OFFLINE: Kind = {
  signedOut: true,
  granted: { offline: true, expires_at: new Date(Date.now() + YEAR) },
}

export const ENDINGS_BY_RULE: Ending[] = [
  block('user_id'),
  block('agent_id'),
  block('audience_id'),
  block('user_id', 'agent_id'),
  block('user_id', 'audience_id'),
  block('agent_id', 'audience_id'),
  block('user_id', 'agent_id', 'audience_id'),
  blockOfActor('an actor is blocked', []),
  blockOfActor('an actor is blocked for a user', ['user_id']),
  blockOfActor('an actor is blocked at an audience', ['audience_id']),

  {
    name: 'the permission of an actor is ended',
    made: ACTOR,
    end: (at, { actor }) => at.admin('DELETE', `/actor-permissions/${actor?.permission_id}`),
    status: 204,
    row: ({ actor }) => ({ table: 'actor_permissions', id: actor?.permission_id as string }),
    // Nobody may act for this agent any more.
    refusals: ['invalid_request'],
    delegationsEnd: false,
  },
  // With the actor its permission ends, and nobody may act for this agent any more.
  {
    ...ofActor('an actor is suspended', 'agent_id', 'agents'),
    end: (at, { actor }) => at.admin('POST', `/agents/${actor?.agent_id}/suspend`),
    refusals: ['invalid_request'],
  },
  {
    ...ofActor('an actor is retired', 'agent_id', 'agents'),
    end: (at, { actor }) => at.admin('POST', `/agents/${actor?.agent_id}/retire`),
    refusals: ['invalid_request'],
  },
  {
    ...ofActor('the credential of an actor is deleted', 'credential_id', 'credentials'),
    end: (at, { actor }) =>
      at.admin('DELETE', `/agents/${actor?.agent_id}/credentials/${actor?.credential_id}`),
    status: 204,
  },
  {
    ...ofActor('the owner of an actor is suspended', 'owner_id', 'users'),
    end: (at, { actor }) => at.admin('PATCH', `/users/${actor?.owner_id}`, { status: 'suspended' }),
    refusals: ['invalid_request'],
  },

  {
    name: 'the types of authorization details of an entitlement are narrowed',
    made: { asks: { authorization_details: JSON.stringify([{ type: 'export' }]) } },
    end: (at, { agent_id, audience_id }) =>
      at.admin('PUT', `/agents/${agent_id}/entitlements/${audience_id}`, {
        client_id: 'racer',
        scopes: ['docs.read', 'docs.write'],
        authorization_details_types: ['draft'],
        consent: 'user',
      }),
    status: 200,
    row: ({ entitlement_id }) => ({ table: 'entitlements', id: entitlement_id }),
    refusals: ['invalid_authorization_details'],
    delegationsEnd: false,
  },
  {
    name: 'an audience takes key-bound ID-JAGs alone',
    end: (at, { audience_id }) =>
      at.admin('PATCH', `/audiences/${audience_id}`, { dpop_required: true }),
    status: 200,
    row: ({ audience_id }) => ({ table: 'audiences', id: audience_id }),
    refusals: ['invalid_request'],
    delegationsEnd: false,
  },
  {
    name: 'the alias is taken away by which an audience is asked for',
    made: { alias: true },
    end: (at, { audience_id }) => at.admin('PATCH', `/audiences/${audience_id}`, { aliases: [] }),
    status: 200,
    row: ({ audience_id }) => ({ table: 'audiences', id: audience_id }),
    refusals: ['invalid_target'],
    delegationsEnd: false,
  },
  {
    name: 'the address is replaced that a user let an auth.md audience be told (IJ-38)',
    made: { audience: { profile: 'authmd-0.1' }, granted: { claims: ['email'] } },
    end: (at, { user_id }) =>
      at.admin('PATCH', `/users/${user_id}`, {
        email: `new-${user_id.toLowerCase()}@orbit.example`,
        email_verified: true,
      }),
    status: 200,
    row: ({ user_id }) => ({ table: 'users', id: user_id }),
    refusals: ['interaction_required'],
    delegationsEnd: false,
  },

  {
    name: 'a delegation is ended that outlived the session',
    made: OFFLINE,
    end: (at, { delegation_id }) => at.admin('DELETE', `/delegations/${delegation_id}`),
    status: 204,
    row: ({ delegation_id }) => ({ table: 'delegations', id: delegation_id as string }),
    refusals: ['invalid_grant'],
    delegationsEnd: true,
  },
  {
    name: 'a delegation is replaced by one that ends with the session',
    made: OFFLINE,
    end: (at, { user_id, agent_id, audience_id }) =>
      at.admin('POST', '/delegations', {
        ...{ user_id, agent_id, audience_id },
        scopes: ['docs.read'],
        mode: 'always',
      }),
    status: 201,
    row: ({ delegation_id }) => ({ table: 'delegations', id: delegation_id as string }),
    refusals: ['invalid_grant'],
    delegationsEnd: false,
  },
]

/** Of what others publish on this site: users whom a trusted issuer vouches for, and agents known by documents. */
export const endingsOfSite = ({ jwksUri, clients }: ContestantSite): Ending[] => [
  {
    name: 'the rule is ended that lets the agent come by its metadata document (DS-40)',
    made: { clients },
    end: (at, { document }) => at.admin('DELETE', `/client-metadata-rules/${document?.rule_id}`),
    status: 204,
    row: ({ document }) => ({ table: 'client_metadata_rules', id: document?.rule_id as string }),
    refusals: ['invalid_client'],
    delegationsEnd: false,
  },
  {
    name: 'the rule is ended that lets an actor come by its metadata document (DS-40)',
    made: { clients, actor: true },
    end: (at, { actor }) =>
      at.admin('DELETE', `/client-metadata-rules/${actor?.document?.rule_id}`),
    status: 204,
    row: ({ actor }) => ({
      table: 'client_metadata_rules',
      id: actor?.document?.rule_id as string,
    }),
    refusals: ['invalid_grant'],
    delegationsEnd: false,
  },
  {
    name: 'the trust in an issuer is ended',
    made: { upstream: jwksUri },
    end: (at, { upstream }) => at.admin('DELETE', `/trusted-issuers/${upstream?.id}`),
    status: 204,
    row: ({ upstream }) => ({ table: 'trusted_issuers', id: upstream?.id as string }),
    refusals: ['invalid_grant'],
    delegationsEnd: false,
  },
  {
    name: 'a subject of a trusted issuer is unlinked',
    made: { upstream: jwksUri },
    end: (at, { upstream }) =>
      at.admin('DELETE', `/trusted-issuers/${upstream?.id}/accounts/${upstream?.subject}`),
    status: 204,
    row: ({ user_id }) => ({ table: 'users', id: user_id }),
    refusals: ['invalid_grant'],
    delegationsEnd: false,
  },
  {
    name: 'a user is suspended whom a trusted issuer vouches for',
    made: { upstream: jwksUri },
    end: (at, { user_id }) => at.admin('PATCH', `/users/${user_id}`, { status: 'suspended' }),
    status: 200,
    row: ({ user_id }) => ({ table: 'users', id: user_id }),
    refusals: ['invalid_grant'],
    delegationsEnd: true,
  },
]

type Named = 'user_id' | 'agent_id' | 'audience_id'

const pick = (of: Contestant, members: Named[]) =>
  Object.fromEntries(members.map((member) => [member, of[member]]))

function block(...members: Named[]): Ending {
  return {
    name: `a block is made by ${members.join(', ')}`,
    end: (at, of) => at.admin('POST', '/blocks', { ...pick(of, members), reason: 'a race' }),
    status: 201,
    row: (_, { body }) => ({ table: 'blocks', id: body.id }),
    refusals: ['access_denied'],
    delegationsEnd: false,
  }
}

function blockOfActor(name: string, others: Named[]): Ending {
  return {
    ...block('agent_id', ...others),
    name,
    made: ACTOR,
    end: (at, of) => {
      const named = { ...pick(of, others), agent_id: of.actor?.agent_id }
      return at.admin('POST', '/blocks', { ...named, reason: 'a race' })
    },
  }
}

/** An end is still to be said. */
function ofActor(
  name: string,
  member: 'agent_id' | 'owner_id' | 'credential_id',
  table: ReturnType<Ending['row']>['table'],
): Ending {
  return {
    name,
    made: ACTOR,
    end: () => Promise.reject(new Error('no end')),
    status: 200,
    row: ({ actor }) => ({ table, id: actor?.[member] as string }),
    refusals: ['invalid_grant'],
    delegationsEnd: false,
  }
}

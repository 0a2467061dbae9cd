/** Everything that ends what a mint rests on, as its caller asks for it, and what the database shows of it. */

import type { Tables } from '../../src/db/tables.ts'
import { exchange, refresh, signOut } from './contestant-requests.ts'
import type { Contestant, Kind } from './contestants.ts'
import { ENDINGS_BY_RULE } from './endings-by-rule.ts'
import type { Answer, Doors } from './house.ts'

export type Ending = {
  name: string
  made?: Kind
  end: (at: Doors, of: Contestant) => Promise<Answer>
  /** What the ending itself answers. */
  status: number
  /** The row that the ending changes or writes: its transaction is the one that decides. */
  row: (of: Contestant, answer: Answer) => { table: keyof Tables; id: string }
  /** What an exchange is told from then on. */
  refusals: string[]
  /** Whether every delegation of the contestant must be over. */
  delegationsEnd: boolean
}

export const ENDINGS: Ending[] = [
  {
    name: 'a delegation is ended',
    end: (at, { delegation_id }) => at.admin('DELETE', `/delegations/${delegation_id}`),
    status: 204,
    row: ({ delegation_id }) => ({ table: 'delegations', id: delegation_id as string }),
    refusals: ['interaction_required'],
    delegationsEnd: true,
  },
  stateChange('a user is suspended', 'users', 'user_id', 'invalid_grant'),
  {
    ...stateChange('a user is deleted', 'users', 'user_id', 'invalid_grant'),
    end: (at, { user_id }) => at.admin('PATCH', `/users/${user_id}`, { status: 'deleted' }),
  },
  {
    // The owner's own delegations end; those of the agents stay, and nothing is minted under them.
    ...stateChange('an owner is suspended', 'users', 'owner_id', 'unauthorized_client'),
    delegationsEnd: false,
  },
  {
    ...stateChange('a tenant is suspended', 'tenants', 'tenant_id', 'unauthorized_client'),
    made: { ownTenant: true },
  },
  move('an agent is suspended', 'agents', 'suspend', 'unauthorized_client'),
  move('an agent is retired', 'agents', 'retire', 'invalid_client'),
  move('an audience is suspended', 'audiences', 'suspend', 'invalid_target'),
  move('an audience is retired', 'audiences', 'retire', 'invalid_target'),
  entitlementDeleted('an entitlement is deleted'),
  {
    name: 'a credential is deleted',
    end: (at, { agent_id, credential_id }) =>
      at.admin('DELETE', `/agents/${agent_id}/credentials/${credential_id}`),
    status: 204,
    row: ({ credential_id }) => ({ table: 'credentials', id: credential_id }),
    refusals: ['invalid_client'],
    delegationsEnd: false,
  },
  {
    name: 'the user signs out',
    end: signOut,
    status: 303,
    row: ({ session_id }) => ({ table: 'sessions', id: session_id }),
    refusals: ['invalid_grant'],
    delegationsEnd: false,
  },
  familyEnd('a spent refresh token comes back', (at, of) => refresh(at, of, of.spent_token)),
  familyEnd('a spent refresh token is exchanged', (at, of) =>
    exchange(at, of, { subject_token: of.spent_token, id_token: undefined }),
  ),
  revocation('agent_id', 'invalid_grant'),
  revocation('user_id', 'invalid_grant'),
  revocation('audience_id', 'interaction_required'),
  revocation('owner_id', 'invalid_grant'),
  { ...revocation('tenant_id', 'invalid_grant'), made: { ownTenant: true } },

  // Nobody has consented yet and nobody is asked: the first mint makes the delegation.
  ...[
    entitlementDeleted('an entitlement is deleted'),
    move('an agent is suspended', 'agents', 'suspend', 'unauthorized_client'),
    move('an audience is suspended', 'audiences', 'suspend', 'invalid_target'),
    stateChange('a user is suspended', 'users', 'user_id', 'invalid_grant'),
    revocation('agent_id', 'invalid_grant'),
    revocation('user_id', 'invalid_grant'),
    revocation('audience_id', 'invalid_target'),
  ].map((ending) => ({
    ...ending,
    name: `${ending.name} (nobody was asked, and no delegation is there yet)`,
    made: { consent: 'admin', delegation: null } as const,
  })),
  {
    name: 'a delegation by policy is ended',
    made: { consent: 'admin' },
    end: (at, { delegation_id }) => at.admin('DELETE', `/delegations/${delegation_id}`),
    status: 204,
    row: ({ delegation_id }) => ({ table: 'delegations', id: delegation_id as string }),
    refusals: ['interaction_required'],
    delegationsEnd: true,
  },

  ...ENDINGS_BY_RULE,
]

/** What ends a user's question while an administrator answers it in the user's stead. */
export const ENDINGS_OF_PARTIES: Ending[] = [
  entitlementDeleted('an entitlement is deleted'),
  move('an agent is suspended', 'agents', 'suspend', 'unauthorized_client'),
  move('an audience is suspended', 'audiences', 'suspend', 'invalid_target'),
  stateChange('a user is suspended', 'users', 'user_id', 'invalid_grant'),
]

function stateChange(
  name: string,
  table: 'users' | 'tenants',
  member: 'user_id' | 'owner_id' | 'tenant_id',
  refusal: string,
): Ending {
  return {
    name,
    end: (at, of) => at.admin('PATCH', `/${table}/${of[member]}`, { status: 'suspended' }),
    status: 200,
    row: (of) => ({ table, id: of[member] }),
    refusals: [refusal],
    delegationsEnd: true,
  }
}

function move(
  name: string,
  table: 'agents' | 'audiences',
  to: 'suspend' | 'retire',
  refusal: string,
): Ending {
  const idOf = (of: Contestant) => (table === 'agents' ? of.agent_id : of.audience_id)
  return {
    name,
    end: (at, of) => at.admin('POST', `/${table}/${idOf(of)}/${to}`),
    status: 200,
    row: (of) => ({ table, id: idOf(of) }),
    refusals: [refusal],
    delegationsEnd: true,
  }
}

function entitlementDeleted(name: string): Ending {
  return {
    name,
    end: (at, { agent_id, audience_id }) =>
      at.admin('DELETE', `/agents/${agent_id}/entitlements/${audience_id}`),
    status: 204,
    row: ({ entitlement_id }) => ({ table: 'entitlements', id: entitlement_id }),
    refusals: ['invalid_target'],
    delegationsEnd: true,
  }
}

function familyEnd(name: string, end: Ending['end']): Ending {
  return {
    name,
    end,
    status: 400,
    row: ({ family_id }) => ({ table: 'refresh_token_families', id: family_id }),
    refusals: ['invalid_grant'],
    delegationsEnd: false,
  }
}

function revocation(
  by: 'agent_id' | 'user_id' | 'audience_id' | 'owner_id' | 'tenant_id',
  refusal: string,
): Ending {
  return {
    name: `all is revoked by ${by}`,
    end: (at, of) => at.admin('POST', '/revocations', { [by]: of[by], reason: 'a race' }),
    status: 202,
    row: (_, answer) => ({ table: 'revocations', id: answer.body.id }),
    refusals: [refusal],
    delegationsEnd: true,
  }
}

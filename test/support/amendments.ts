/**
 * Changes after which a mint goes on and its ID-JAG says something else: no ID-JAG is recorded after the
 * commit of one that says what was true before.
 */

import type { Tables } from '../../src/db/tables.ts'
import type { Contestant, Kind } from './contestants.ts'
import type { Answer, Doors } from './house.ts'

export type Amendment = {
  name: string
  made: Kind
  amend: (at: Doors, of: Contestant) => Promise<Answer>
  status: number
  /** The row that is changed: its transaction is the one that decides. */
  row: (of: Contestant) => { table: keyof Tables; id: string }
  /** Whether an ID-JAG with these claims is of before. */
  stale: (claims: Record<string, unknown>, of: Contestant) => boolean
}

const ofUser = ({ user_id }: Contestant) => ({ table: 'users' as const, id: user_id })
const ofEntitlement = ({ entitlement_id }: Contestant) => ({
  table: 'entitlements' as const,
  id: entitlement_id,
})

const ENTITLED = { client_id: 'racer', scopes: ['docs.read', 'docs.write'], consent: 'user' }
const entitle = (at: Doors, { agent_id, audience_id }: Contestant, members: object) =>
  at.admin('PUT', `/agents/${agent_id}/entitlements/${audience_id}`, { ...ENTITLED, ...members })

const ACCOUNT: Kind = {
  account: true,
  audience: { claims: ['aud_sub'] },
  granted: { claims: ['aud_sub'] },
}
const accountOf = ({ user_id, audience_id }: Contestant) =>
  `/users/${user_id}/audience-accounts/${audience_id}`

export const AMENDMENTS: Amendment[] = [
  {
    name: 'an account at the relying app is changed (IJ-36)',
    made: ACCOUNT,
    amend: (at, of) => at.admin('PUT', accountOf(of), { aud_sub: `new ${of.user_id}` }),
    status: 200,
    row: ofUser,
    stale: ({ aud_sub }, { user_id }) => aud_sub !== `new ${user_id}`,
  },
  {
    name: 'an account at the relying app is removed (IJ-36)',
    made: ACCOUNT,
    amend: (at, of) => at.admin('DELETE', accountOf(of)),
    status: 204,
    row: ofUser,
    stale: ({ aud_sub }) => aud_sub !== undefined,
  },
  {
    name: 'the address is replaced of a user for whom an administrator decided',
    made: {
      consent: 'admin',
      audience: { profile: 'authmd-0.1' },
      granted: { claims: ['email'] },
    },
    amend: (at, { user_id }) =>
      at.admin('PATCH', `/users/${user_id}`, {
        email: `new-${user_id.toLowerCase()}@orbit.example`,
        email_verified: true,
      }),
    status: 200,
    row: ofUser,
    stale: ({ email }) => !String(email).startsWith('new-'),
  },
  {
    name: 'the agent gets another client_id at the audience (IJ-40)',
    made: {},
    amend: (at, of) => entitle(at, of, { client_id: 'newcomer' }),
    status: 200,
    row: ofEntitlement,
    stale: ({ client_id }) => client_id !== 'newcomer',
  },
  {
    name: 'scopes of an entitlement are narrowed (TX-12)',
    made: { asks: { scope: 'docs.read docs.write' } },
    amend: (at, of) => entitle(at, of, { scopes: ['docs.read'] }),
    status: 200,
    row: ofEntitlement,
    stale: ({ scope }) => scope !== 'docs.read',
  },
  {
    name: 'types of authorization details of an entitlement are narrowed (TX-15)',
    made: {
      asks: { authorization_details: JSON.stringify([{ type: 'draft' }, { type: 'export' }]) },
    },
    amend: (at, of) => entitle(at, of, { authorization_details_types: ['draft'] }),
    status: 200,
    row: ofEntitlement,
    stale: ({ authorization_details }) => JSON.stringify(authorization_details).includes('export'),
  },
  {
    name: 'the wider of two permissions of an actor is ended (TX-19)',
    made: { actor: 'narrowed', asks: { scope: 'docs.read docs.write' } },
    amend: (at, { actor }) => at.admin('DELETE', `/actor-permissions/${actor?.permission_id}`),
    status: 204,
    row: ({ actor }) => ({ table: 'actor_permissions', id: actor?.permission_id as string }),
    stale: ({ scope }) => scope !== 'docs.read',
  },
  {
    name: 'an alias is moved to another audience (TX-06)',
    made: { alias: true, elsewhere: true },
    async amend(at, { audience_id, elsewhere, alias }) {
      const left = await at.admin('PATCH', `/audiences/${audience_id}`, { aliases: [] })
      if (left.status !== 200) return left
      return at.admin('PATCH', `/audiences/${elsewhere?.audience_id}`, { aliases: [alias] })
    },
    status: 200,
    row: ({ audience_id }) => ({ table: 'audiences', id: audience_id }),
    stale: ({ aud }, { issuer }) => aud === issuer,
  },
]

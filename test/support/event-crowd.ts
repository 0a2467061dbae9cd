/**
 * Who is revoked: a crowd, of which each delegation minted once, written as rows since thousands of mints would
 * cost more than what is tried; and returners, who mint through the doors and come again after each ending.
 */

import type { Insertable, Kysely } from 'kysely'
import { DEFAULT_TENANT, newId } from '../../src/db/ids.ts'
import type { Tables } from '../../src/db/tables.ts'
import { hashSecret, newSecret } from '../../src/oauth/secret.ts'
import type { AppKind } from './app-script.ts'
import { type Contestant, makeContestants } from './contestants.ts'

export type Endpoints = Partial<Record<AppKind, string>>

/** One person's delegations of one agent, each at another app. */
export type Member = { user_id: string; agent_id: string; delegation_ids: string[] }

/** Delegations of a person. */
export const EACH = 4
/** Rows in one statement. */
const MOST = 1_000
const SCOPES = ['docs.read']

type Place = { tenant_id: string; owner_id: string; kid: string; audience_ids: string[] }

/** One audience for each endpoint, and what a crowd's rows name. */
export async function openPlace(db: Kysely<Tables>, endpoints: Endpoints): Promise<Place> {
  const audience_ids: string[] = []
  let owner_id = ''
  for (const endpoint of Object.values(endpoints)) {
    const kind = { audience: listeningAt(endpoint), delegation: null }
    for (const one of await makeContestants(db, 1, kind)) {
      audience_ids.push(one.audience_id)
      owner_id = one.owner_id
    }
  }
  const { kid } = await db
    .selectFrom('signing_keys')
    .select('kid')
    .where('purpose', '=', 'id_jag')
    .where('alg', '=', 'ES256')
    .where('status', '=', 'active')
    .executeTakeFirstOrThrow()
  return { tenant_id: DEFAULT_TENANT, owner_id, kid, audience_ids }
}

/** An agent and so many people who let it act for them; it minted once for each of them at each app. */
export async function makeMembers(
  db: Kysely<Tables>,
  place: Place,
  count: number,
): Promise<Member[]> {
  const [{ agent_id } = { agent_id: '' }] = await makeContestants(db, 1, { delegation: null })
  const { audience_ids } = place
  const parts = Array.from({ length: count }, (_, n) =>
    Array.from({ length: Math.min(EACH, audience_ids.length) }, (_, app) => ({
      id: newId('dlg'),
      audience_id: audience_ids[(n * EACH + app) % audience_ids.length] as string,
    })),
  )
  const people = parts.map((delegations) => ({ user_id: newId('usr'), agent_id, delegations }))
  for (let at = 0; at < people.length; at += MOST / EACH) {
    await insertMembers(db, place, people.slice(at, at + MOST / EACH))
  }
  return people.map(({ delegations, ...member }) => ({
    ...member,
    delegation_ids: delegations.map(({ id }) => id),
  }))
}

type Person = Omit<Member, 'delegation_ids'> & {
  delegations: { id: string; audience_id: string }[]
}

async function insertMembers(
  db: Kysely<Tables>,
  { tenant_id, owner_id, kid }: Place,
  people: Person[],
): Promise<void> {
  const now = new Date()
  const born = { tenant_id, created_at: now }
  const users: Insertable<Tables['users']>[] = people.map(({ user_id }) => ({
    id: user_id,
    ...born,
    updated_at: now,
  }))
  const delegations = people.flatMap(({ user_id, agent_id, delegations }) =>
    delegations.map(({ id, audience_id }) => ({
      ...{ id, user_id, agent_id, audience_id, ...born },
      ...{ scopes: SCOPES, claims: [], sub_asserted: user_id },
      mode: 'always' as const,
      source: 'user' as const,
    })),
  )
  const issuances = delegations.map(({ id, user_id, agent_id, audience_id }) => ({
    ...{ jti: newSecret(), tenant_id, at: now, auth_time: now, expires_at: now },
    ...{ agent_id, owner_id, user_id, audience_id, delegation_id: id, session_id: newId('ses') },
    ...{ resources: [], scopes: SCOPES, kid },
  }))
  await db.transaction().execute(async (tx) => {
    await tx.insertInto('users').values(users).execute()
    await tx.insertInto('delegations').values(delegations).execute()
    await tx.insertInto('issuances').values(issuances).execute()
  })
}

/** Who mints, is ended and comes again, so many at each app; every other one has a sibling there. */
export async function makeReturners(
  db: Kysely<Tables>,
  endpoints: Endpoints,
  each: number,
): Promise<Contestant[]> {
  const returners: Contestant[] = []
  for (const endpoint of Object.values(endpoints)) {
    for (let n = 0; n < each; n++) {
      // Some understand an event about one agent alone.
      const audience = {
        ...listeningAt(endpoint),
        event_names_agent: n === 1 && returners.length % 2 === 1,
      }
      for (const one of await makeContestants(db, 1, { audience })) {
        returners.push(one)
        if (n % 2) returners.push(await makeSibling(db, one))
      }
    }
  }
  return returners
}

/** Another agent that the same user lets act at the same audience: it is told the same `sub`. */
async function makeSibling(db: Kysely<Tables>, of: Contestant): Promise<Contestant> {
  const [made] = await makeContestants(db, 1, { delegation: null })
  if (made === undefined) throw new Error('one was asked for')
  const { tenant_id, user_id, audience_id, issuer, session_id, cookie } = of
  const shared = { tenant_id, user_id, audience_id, issuer, session_id, cookie }
  const ids = { entitlement_id: newId('ent'), delegation_id: newId('dlg'), family_id: newId('rtf') }
  const sibling = { ...made, ...shared, ...ids, refresh_token: newSecret() }
  const { agent_id, entitlement_id, delegation_id, family_id } = sibling
  const now = new Date()
  const born = { tenant_id, created_at: now }
  const expires_at = new Date(now.getTime() + 86_400_000)
  const pair = { agent_id, audience_id, ...born }
  await db.transaction().execute(async (tx) => {
    await tx
      .insertInto('entitlements')
      .values({ id: entitlement_id, ...pair, ...RIGHTS, client_id: 'sibling', updated_at: now })
      .execute()
    await tx
      .insertInto('delegations')
      .values({
        ...{ id: delegation_id, user_id, ...pair, scopes: SCOPES, claims: [] },
        ...{ mode: 'always', source: 'user', sub_asserted: user_id },
      })
      .execute()
    await tx
      .insertInto('refresh_token_families')
      .values({
        ...{ id: family_id, agent_id, user_id, session_id, expires_at, ...born },
        scope: ['openid', 'offline_access'],
      })
      .execute()
    const hash = hashSecret(sibling.refresh_token)
    await tx
      .insertInto('refresh_tokens')
      .values({ hash, family_id, expires_at, ...born })
      .execute()
  })
  return sibling
}

const RIGHTS = { scopes: SCOPES, consent: 'user' as const }

const listeningAt = (events_endpoint: string) => ({
  events_endpoint,
  events_dialect: 'set' as const,
})

import { randomBytes, randomUUID } from 'node:crypto'
import type { Db } from '../../src/db/tables.ts'
import { GRANT } from '../../src/oauth/names.ts'
import type { House } from './house.ts'
import { PLACES, SCOPES, type World } from './worlds.ts'

/** Whom every world is about. */
export type Cast = {
  tenant_id: string
  user_id: string
  owner_id: string
  agent_id: string
  actor_id: string
  session_id: string
  family_id: string
}
/** What the audience of a world is called. */
export type Place = { issuer: string; alias: string }

type Scene = {
  db: Db
  cast: Cast
  world: World
  audience_id: string
  now: Date
  /** That many seconds from now. */
  at(seconds: number): Date
  end(seconds: number | null): Date | null
}

/** Makes it so; the audience is a new one each time, and with it whatever rests on it. */
export async function becomeWorld(
  { deps: { db }, clock }: House,
  cast: Cast,
  world: World,
): Promise<Place> {
  const { now } = clock
  const at = (seconds: number) => new Date(now.getTime() + seconds * 1000)
  const end = (seconds: number | null) => (seconds === null ? null : at(seconds))
  const scene: Scene = { db, cast, world, audience_id: id('aud'), now, at, end }
  await changeClient(scene)
  await changeUser(scene)
  await changeSession(scene)
  const place = await addAudience(scene)
  await addEntitlement(scene)
  await addPast(scene)
  await addDelegation(scene)
  await changeRules(scene)
  return place
}

const id = (prefix: string) => `${prefix}_${randomBytes(16).toString('base64url')}`

async function changeClient({ db, cast, world, now, at }: Scene): Promise<void> {
  const { client, agent, actor } = world
  const { tenant_id, owner_id, agent_id, actor_id } = cast
  await db
    .updateTable('tenants')
    .set({ status: client.tenant })
    .where('id', '=', tenant_id)
    .execute()
  await db.updateTable('users').set({ status: client.owner }).where('id', '=', owner_id).execute()
  for (const [who, { status, expires, key }] of [
    [agent_id, agent],
    [actor_id, actor],
  ] as const) {
    await db
      .updateTable('agents')
      .set({ status, expires_at: at(expires) })
      .where('id', '=', who)
      .execute()
    await db
      .updateTable('credentials')
      .set({ ended_at: key ? null : now })
      .where('agent_id', '=', who)
      .execute()
  }
  await db
    .updateTable('agents')
    .set({
      grant_types: [client.exchanges ? GRANT.tokenExchange : GRANT.authorizationCode],
      dpop_bound_access_tokens: client.bound,
    })
    .where('id', '=', agent_id)
    .execute()
}

async function changeUser({ db, cast, world: { user }, now }: Scene): Promise<void> {
  const known = { at: now, by: 'environment' }
  const unknown = { at: null, by: null }
  const email = user.email === 'verified' ? known : unknown
  const phone = user.phone === 'verified' ? known : unknown
  await db
    .updateTable('users')
    .set({
      status: user.status,
      email: user.email === 'none' ? null : 'kim@orbit.example',
      email_verified_at: email.at,
      email_verified_by: email.by,
      phone_number: user.phone === 'none' ? null : '+491701234567',
      phone_verified_at: phone.at,
      phone_verified_by: phone.by,
      name: user.named ? 'Kim' : null,
      policy_barred_at: user.barred ? now : null,
    })
    .where('id', '=', cast.user_id)
    .execute()
}

async function changeSession({ db, cast, world: { session }, now, at }: Scene): Promise<void> {
  const { session_id, family_id } = cast
  await db
    .updateTable('sessions')
    .set({
      auth_time: at(-session.age),
      acr: session.acr,
      ended_at: session.lives === 'ended' ? now : null,
      expires_at: at(session.lives === 'over' ? 0 : 1000),
    })
    .where('id', '=', session_id)
    .execute()
  const later = { expires_at: at(100_000) }
  await db.updateTable('refresh_token_families').set(later).where('id', '=', family_id).execute()
  await db.updateTable('refresh_tokens').set(later).where('family_id', '=', family_id).execute()
}

async function addAudience({ db, cast, world, audience_id, now }: Scene): Promise<Place> {
  const { tenant_id, user_id } = cast
  const { account, resources, ...settings } = world.audience
  const place = { issuer: `https://${randomUUID()}.example`, alias: `urn:${randomUUID()}` }
  const dated = { created_at: now, updated_at: now }
  const catalogue = resources.map(({ scopes, types }, index) => ({
    identifier: PLACES[index],
    scopes: scopes.map((name) => ({ name })),
    authorization_details_types: types.map((type) => ({ type })),
  }))
  await db
    .insertInto('audiences')
    .values({
      id: audience_id,
      issuer: place.issuer,
      name: 'Paperclip',
      ...settings,
      resources: JSON.stringify(catalogue),
      subject_type: 'public',
      id_jag_signing_alg: 'ES256',
      ...dated,
    })
    .execute()
  const alias = { tenant_id, alias: place.alias, audience_id }
  await db.insertInto('audience_aliases').values(alias).execute()
  if (account !== 'none') {
    const aud_tenant = account === 'both' ? 'orbit' : null
    await db
      .insertInto('audience_accounts')
      .values({ user_id, audience_id, aud_sub: 'kim', aud_tenant, ...dated })
      .execute()
  }
  return place
}

async function addEntitlement({ db, cast, world, audience_id, now, at, end }: Scene) {
  const { there, named, scopes, resources, types, consent, expires, made } = world.entitlement
  if (!there) return
  await db
    .insertInto('entitlements')
    .values({
      id: id('ent'),
      agent_id: cast.agent_id,
      audience_id,
      client_id: named ? 'client-at-paperclip' : null,
      scopes,
      resources,
      authorization_details_types: types,
      consent,
      expires_at: end(expires),
      created_at: at(-made),
      updated_at: now,
    })
    .execute()
}

/** Delegations that have ended, one after the other. */
async function addPast({ db, cast, world, audience_id, at }: Scene): Promise<void> {
  const { user_id, agent_id } = cast
  for (const [index, { status, source, end_reason }] of world.history.entries()) {
    const ended = at(-300 + 100 * index)
    await db
      .insertInto('delegations')
      .values({
        id: id('dlg'),
        user_id,
        agent_id,
        audience_id,
        sub_asserted: user_id,
        scopes: SCOPES,
        claims: [],
        mode: status === 'consumed' ? 'once' : 'always',
        source,
        status,
        created_at: at(-400 + 100 * index),
        ...(status === 'consumed' && { consumed_at: ended }),
        ...(status === 'revoked' && { revoked_at: ended, end_reason }),
      })
      .execute()
  }
}

async function addDelegation({ db, cast, world, audience_id, at, end }: Scene): Promise<void> {
  if (world.delegation === undefined) return
  const { details, expires, ...delegation } = world.delegation
  const { user_id, agent_id } = cast
  await db
    .insertInto('delegations')
    .values({
      id: id('dlg'),
      user_id,
      agent_id,
      audience_id,
      sub_asserted: user_id,
      ...delegation,
      authorization_details: details && JSON.stringify(details),
      created_at: at(-50),
      expires_at: end(expires),
    })
    .execute()
}

async function changeRules({ db, cast, world, audience_id, now, end }: Scene): Promise<void> {
  const { user_id, agent_id, actor_id } = cast
  for (const table of ['blocks', 'actor_permissions'] as const) {
    await db.updateTable(table).set({ ended_at: now }).where('ended_at', 'is', null).execute()
  }
  const made = { created_at: now, created_by: 'environment', reason: 'x' }
  if (world.block !== undefined) {
    const { of, expires } = world.block
    await db
      .insertInto('blocks')
      .values({
        id: id('blk'),
        user_id: of.user ? user_id : null,
        agent_id: of.agent ? agent_id : null,
        audience_id: of.audience ? audience_id : null,
        expires_at: end(expires),
        ...made,
      })
      .execute()
  }
  for (const { of, scopes, expires } of world.permissions) {
    await db
      .insertInto('actor_permissions')
      .values({
        id: id('apm'),
        agent_id,
        actor_id,
        user_id: of.user ? user_id : null,
        audience_id: of.audience ? audience_id : null,
        scopes,
        expires_at: end(expires),
        ...made,
      })
      .execute()
  }
}

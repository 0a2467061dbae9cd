/** A server whose audiences may have an events endpoint, and keys that the test ends when it likes. */

import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'
import { CompactSign, calculateJwkThumbprint, type JWK } from 'jose'
import type { Insertable } from 'kysely'
import { newId, newTimeOrderedId } from '../../src/db/ids.ts'
import type { Tables } from '../../src/db/tables.ts'
import type { Deps } from '../../src/deps.ts'
import { type NewEvent, queueEvents } from '../../src/events/queue.ts'
import { addSeconds } from '../../src/oauth/numeric-date.ts'
import { type House, openHouse } from '../support/house.ts'
import { makeParties, type Parties } from '../support/parties.ts'

type Alg = 'ES256' | 'RS256'
type Key = { kid: string; alg: Alg; privateKey: KeyObject; jwk: JWK }

export const ENDPOINT = 'https://chat.example/events'

async function makeKey(alg: Alg): Promise<Key> {
  const { privateKey: made, publicKey } =
    alg === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength: 2048 })
  const jwk = publicKey.export({ format: 'jwk' }) as JWK
  const kid = await calculateJwkThumbprint(jwk)
  const privateKey = createPrivateKey(made.export({ format: 'pem', type: 'pkcs8' }))
  return { kid, alg, privateKey, jwk: { ...jwk, kid, alg, use: 'sig' } }
}

/**
 * One key per algorithm signs; `compromise` puts another in its place. `misses` has this replica not hear of it
 * until it reads the keys again.
 */
async function makeKeys() {
  let active = { ES256: await makeKey('ES256'), RS256: await makeKey('RS256') }
  let known = active
  let deaf = false
  let signatures = 0
  let left = Number.POSITIVE_INFINITY
  const sign: Deps['keys']['sign'] = async (purpose, alg, typ, claims) => {
    if (purpose !== 'id_jag') throw new Error(`an event is not signed by a key for ${purpose}`)
    if (left-- <= 0) throw new Error('the server stopped here')
    const key = known[alg as Alg]
    const jws = await new CompactSign(Buffer.from(JSON.stringify(claims)))
      .setProtectedHeader({ typ, kid: key.kid, alg })
      .sign(key.privateKey)
    signatures += 1
    return { jws, kid: key.kid }
  }
  return {
    ring: {
      sign,
      algFor: (_purpose, wanted) => wanted as Alg,
      stillSign: async (_db, kids) =>
        kids.every((kid) => Object.values(active).some((key) => key.kid === kid)),
      refresh: async () => {
        if (!deaf) known = active
      },
    } as Deps['keys'],
    kid: (alg: Alg = 'ES256') => active[alg].kid,
    jwks: () => [active.ES256.jwk, active.RS256.jwk],
    signatures: () => signatures,
    async compromise(alg: Alg = 'ES256', { misses = false } = {}): Promise<string> {
      const { kid } = active[alg]
      active = { ...active, [alg]: await makeKey(alg) }
      if (!misses) known = active
      return kid
    },
    /** From now on reading the keys brings nothing new. */
    deafen() {
      deaf = true
    },
    /** Signs so often, and then fails until told otherwise. */
    lastFor(times: number) {
      left = times
    },
  }
}

export type Outbox = Awaited<ReturnType<typeof openOutbox>>

export async function openOutbox(t: Pick<TestContext, 'after'>) {
  const house: House = await openHouse(t)
  const keys = await makeKeys()
  const deps: Deps = { ...house.deps, keys: keys.ring }
  const { db } = deps
  return {
    house,
    keys,
    deps,
    db,
    wait: house.wait,
    /** Parties whose audience listens, unless changed. */
    parties: (audience: Partial<Insertable<Tables['audiences']>> = {}): Promise<Parties> =>
      makeParties(house, {
        audience: { events_endpoint: ENDPOINT, events_dialect: 'set', ...audience },
      }),
    queue: (events: NewEvent[]) => db.transaction().execute((tx) => queueEvents(tx, deps, events)),
    /** Each of them signed. */
    rows: () =>
      db
        .selectFrom('event_deliveries')
        .selectAll()
        .select((eb) => [eb.ref('jws').$notNull().as('jws'), eb.ref('kid').$notNull().as('kid')])
        .orderBy('audience_id')
        .orderBy('sub')
        .execute(),
    async delegate(
      { tenant_id, agent_id, audience_id }: Parties,
      user_id: string,
      changes: Partial<Insertable<Tables['delegations']>> = {},
    ): Promise<string> {
      const id = newId('dlg')
      const row = {
        id,
        tenant_id,
        user_id,
        agent_id,
        audience_id,
        scopes: ['chat.read'],
        claims: [],
        mode: 'always' as const,
        source: 'user' as const,
        sub_asserted: user_id,
        created_at: deps.now(),
        ...changes,
      }
      await db.insertInto('delegations').values(row).execute()
      return id
    },
    /** So many seconds ago an ID-JAG was minted under this delegation. */
    async mint(delegation_id: string, kid: string, ago = 0): Promise<void> {
      const at = addSeconds(deps.now(), -ago)
      const { user_id, agent_id, audience_id, tenant_id } = await db
        .selectFrom('delegations')
        .select(['user_id', 'agent_id', 'audience_id', 'tenant_id'])
        .where('id', '=', delegation_id)
        .executeTakeFirstOrThrow()
      const row = {
        jti: newTimeOrderedId('', at),
        tenant_id,
        at,
        user_id,
        agent_id,
        audience_id,
        delegation_id,
        owner_id: user_id,
        session_id: newId('ses'),
        resources: [],
        scopes: ['chat.read'],
        kid,
        auth_time: at,
        expires_at: addSeconds(at, 300),
      }
      await db.insertInto('issuances').values(row).execute()
    },
  }
}

/** So many events for one audience, each about somebody else. */
export const someEvents = (audience_id: string, count: number): NewEvent[] =>
  Array.from({ length: count }, () => {
    const user_id = newId('usr')
    return { audience_id, user_id, sub: user_id }
  })

export const someKid = () => randomBytes(32).toString('base64url')

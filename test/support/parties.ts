import type { Insertable } from 'kysely'
import { newId } from '../../src/db/ids.ts'
import type { Tables } from '../../src/db/tables.ts'
import { openSession } from '../../src/sessions/open.ts'
import type { Answer, Form, House } from './house.ts'

/** A user, an agent with its owner, an audience and the entitlement between the two: all live. */
export type Parties = {
  tenant_id: string
  user_id: string
  owner_id: string
  agent_id: string
  audience_id: string
  entitlement_id: string
}

export const API = 'https://chat.example/api'
export const FILES = 'https://chat.example/files'

const CATALOGUE = [
  {
    identifier: API,
    scopes: [
      { name: 'chat.read', description: 'Read your messages' },
      { name: 'chat.write', description: 'Write messages in your name' },
    ],
  },
  { identifier: FILES, scopes: [{ name: 'files.read' }] },
]

/** The same, where the first resource knows types of authorization details too. */
export const CATALOGUE_WITH_TYPES = JSON.stringify([
  {
    ...CATALOGUE[0],
    authorization_details_types: [
      { type: 'message', description: 'Send one message in your name' },
      { type: 'export' },
    ],
  },
  { ...CATALOGUE[1], authorization_details_types: [{ type: 'export' }] },
])

type Changes = {
  user?: Partial<Insertable<Tables['users']>>
  agent?: Partial<Insertable<Tables['agents']>>
  audience?: Partial<Insertable<Tables['audiences']>>
  entitlement?: Partial<Insertable<Tables['entitlements']>>
}

/** Rows as the records' rooms would have written them; what is changed is a row's columns. */
export async function makeParties(
  house: Pick<House, 'deps'>,
  changes: Changes = {},
): Promise<Parties> {
  const { db } = house.deps
  const owner = await makeUser(house, { name: 'Olu Owner' })
  const user = await makeUser(house, changes.user)
  const agent_id = await makeAgent(house, { owner_id: owner.id, ...changes.agent })
  const audience_id = await makeAudience(house, changes.audience)
  const entitlement_id = newId('ent')
  const at = house.deps.now()
  await db
    .insertInto('entitlements')
    .values({
      id: entitlement_id,
      agent_id,
      audience_id,
      client_id: 'scribe-at-chat',
      scopes: ['chat.read', 'chat.write', 'files.read'],
      resources: null,
      consent: 'user',
      created_at: at,
      updated_at: at,
      ...changes.entitlement,
    })
    .execute()
  return {
    tenant_id: user.tenant_id,
    user_id: user.id,
    owner_id: owner.id,
    agent_id,
    audience_id,
    entitlement_id,
  }
}

export async function makeUser(
  { deps }: Pick<House, 'deps'>,
  changes: Partial<Insertable<Tables['users']>> = {},
): Promise<{ id: string; tenant_id: string }> {
  const at = deps.now()
  const id = newId('usr')
  return deps.db
    .insertInto('users')
    .values({
      id,
      email: `${id.toLowerCase()}@orbit.example`,
      name: 'Kim Reyes',
      created_at: at,
      updated_at: at,
      ...changes,
    })
    .returning(['id', 'tenant_id'])
    .executeTakeFirstOrThrow()
}

async function makeAgent(
  { deps }: Pick<House, 'deps'>,
  changes: Partial<Insertable<Tables['agents']>>,
) {
  const at = deps.now()
  const id = newId('agt')
  await deps.db
    .insertInto('agents')
    .values({
      id,
      name: 'Scribe',
      purpose: 'Sums up your chats',
      expires_at: new Date(at.getTime() + 365 * 24 * 3600 * 1000),
      token_endpoint_auth_method: 'client_secret_basic',
      redirect_uris: ['https://scribe.example/callback'],
      grant_types: ['authorization_code', 'refresh_token'],
      id_token_signed_response_alg: 'ES256',
      status: 'active',
      created_at: at,
      updated_at: at,
      ...changes,
    })
    .execute()
  return id
}

async function makeAudience(
  { deps }: Pick<House, 'deps'>,
  { resources, ...changes }: Partial<Insertable<Tables['audiences']>> = {},
) {
  const at = deps.now()
  const id = newId('aud')
  await deps.db
    .insertInto('audiences')
    .values({
      id,
      issuer: `https://chat.example/${id}`,
      name: 'Chat',
      profile: 'idjag',
      resources: resources ?? JSON.stringify(CATALOGUE),
      default_scopes: [],
      default_resources: [],
      claims: [],
      subject_type: 'public',
      id_jag_signing_alg: 'ES256',
      created_at: at,
      updated_at: at,
      ...changes,
    })
    .execute()
  return id
}

/** What a browser with a session can do. The forms it sends carry what the page gave it. */
export type SignedIn = {
  session_id: string
  get(path: string): Promise<Answer>
  /** Reads the page at `from` for its hidden fields first. */
  post(path: string, fields: Form, from?: string): Promise<Answer>
  postBare(path: string, fields: Form): Promise<Answer>
}

export async function signedIn(
  house: House,
  user: { user_id: string; tenant_id: string },
): Promise<SignedIn> {
  const { id, token } = await openSession(house.deps, house.deps.db, {
    user_id: user.user_id,
    tenant_id: user.tenant_id,
    amr: ['pwd'],
    cookie: undefined,
  })
  const headers = { cookie: `session=${token}` }
  const get = (path: string) => house.inject({ method: 'GET', url: path, headers })
  const postBare = (path: string, fields: Form) => house.form(path, fields, headers)
  return {
    session_id: id,
    get,
    postBare,
    async post(path, fields, from = '/account') {
      const page = await get(from)
      return postBare(path, { ...hiddenFields(page), ...fields })
    },
  }
}

/** What the forms of a page bring back by themselves. */
export const hiddenFields = ({ text }: Answer): Form =>
  Object.fromEntries(
    [...text.matchAll(/type="hidden" name="([^"]+)" value="([^"]+)"/g)].map(
      ([, name = '', value]) => [name, value],
    ),
  )

import { KeyObject, type webcrypto } from 'node:crypto'
import { GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import { authorize } from './browser.ts'
import { setField } from './hostile-fields.ts'
import type { AgentName } from './hostile-parties.ts'
import { goodToken } from './hostile-tokens.ts'
import type { Draft, World } from './hostile-world.ts'
import { RESOURCE } from './story.ts'

/** Requests with nothing wrong with them, one for each way in: what is sent is one of them, spoilt. */

type Options = {
  as?: AgentName
  subject?: 'id_token' | 'refresh_token' | 'access_token'
  audience?: string
  fields?: Record<string, string>
  proving?: boolean
}

async function exchange(world: World, options: Options = {}): Promise<Draft> {
  const {
    as = 'secret',
    subject = 'id_token',
    audience = 'plain',
    proving = as === 'bound',
  } = options
  const auth = await world.authenticate(as)
  const fields = {
    grant_type: GRANT.tokenExchange,
    requested_token_type: TOKEN_TYPE.idJag,
    audience: world.parties.audiences[audience] as string,
    scope: 'docs.read',
    subject_token: world.tokens[as]?.[subject] as string,
    subject_token_type: `urn:ietf:params:oauth:token-type:${subject}`,
    ...options.fields,
  }
  return {
    fields: [...Object.entries(fields), ...auth.fields],
    headers: { ...auth.headers, ...(proving && { dpop: [await world.prove()] }) },
  }
}

async function withActors(world: World, as: 'actor' | 'subactor'): Promise<Draft> {
  const { agents } = world.parties
  const tokenOf = (name: 'actor' | 'subactor', claims: object = {}) => {
    const { id } = agents[name]
    const self = { iss: id, sub: id, client_id: agents.keyed.id }
    return goodToken(world.mint, 'an actor token', { ...self, ...claims }, name)
  }
  const inner = await tokenOf('actor')
  const actor_token = as === 'actor' ? inner : await tokenOf(as, { actor_token: inner })
  return exchange(world, { as: 'keyed', fields: { actor_token, actor_token_type: TOKEN_TYPE.jwt } })
}

async function redemption(world: World, as: AgentName): Promise<Draft> {
  const { agents, story } = world.parties
  const code = await authorize(story.browser, agents[as], { scope: 'openid offline_access' })
  const auth = await world.authenticate(as)
  return {
    fields: [['grant_type', GRANT.authorizationCode], ...Object.entries(code), ...auth.fields],
    headers: { ...auth.headers, ...(as === 'bound' && { dpop: [await world.prove()] }) },
  }
}

async function refreshing(
  world: World,
  as: AgentName,
  refresh_token = world.tokens[as]?.refresh_token as string,
): Promise<Draft> {
  const auth = await world.authenticate(as)
  return {
    fields: [['grant_type', GRANT.refreshToken], ['refresh_token', refresh_token], ...auth.fields],
    headers: { ...auth.headers, ...(as === 'bound' && { dpop: [await world.prove()] }) },
  }
}

/** Of a client that nobody here knows yet, but for the host that it is on. */
async function fromNewClient(world: World): Promise<Draft> {
  const { url, privateKey, jwk } = await world.parties.site.publish()
  const key = KeyObject.from(privateKey as webcrypto.CryptoKey)
  const signer = { key, alg: 'ES256' as const, header: { kid: jwk?.kid } }
  const mint = { ...world.mint, signers: { ...world.mint.signers, newcomer: signer } }
  const self = { iss: url, sub: url }
  const client_assertion = await goodToken(mint, 'a client assertion', self, 'newcomer')
  const { fields } = await exchange(world, { as: 'keyed' })
  return { fields: setField(fields, 'client_assertion', client_assertion), headers: {} }
}

const upstream = async (world: World, like: string, audience = 'plain'): Promise<Draft> => {
  const fields = { subject_token: await goodToken(world.mint, like), resource: RESOURCE }
  return exchange(world, { audience, fields })
}

const spent = ({ mint }: World): string => mint.issued('spent refresh_token')

const DETAILS = JSON.stringify([{ type: 'payment', actions: ['initiate'], locations: [RESOURCE] }])

export const BASES: Record<string, (world: World) => Promise<Draft>> = {
  'by its secret': (world) => exchange(world),
  'by Basic': (world) => exchange(world, { as: 'basic' }),
  'by its key': (world) => exchange(world, { as: 'keyed' }),
  'with a proof': (world) => exchange(world, { as: 'keyed', proving: true }),
  'of a bound client': (world) => exchange(world, { as: 'bound' }),
  'of a published client': (world) => exchange(world, { as: 'published' }),
  'of a public client': (world) => exchange(world, { as: 'open' }),
  'of a refresh token': (world) => exchange(world, { subject: 'refresh_token' }),
  'of a bound refresh token': (world) => exchange(world, { as: 'bound', subject: 'refresh_token' }),
  'of a spent refresh token': (world) =>
    exchange(world, { subject: 'refresh_token', fields: { subject_token: spent(world) } }),
  'of an access token': (world) => exchange(world, { subject: 'access_token' }),
  'of a bound access token': (world) => exchange(world, { as: 'bound', subject: 'access_token' }),
  'of an upstream token': (world) => upstream(world, 'an ID token of the upstream'),
  'of somebody new': (world) => upstream(world, 'an ID token of somebody new', 'policy'),
  'of somebody new, who is to be asked': (world) => upstream(world, 'an ID token of somebody new'),
  'from a new client': fromNewClient,
  'of a silent issuer': (world) => upstream(world, 'an ID token of the silent'),
  'with an actor': (world) => withActors(world, 'actor'),
  'with an actor of an actor': (world) => withActors(world, 'subactor'),
  'with details': (world) => exchange(world, { fields: { authorization_details: DETAILS } }),
  'with a resource': (world) => exchange(world, { fields: { resource: RESOURCE } }),
  'for an alias': (world) => exchange(world, { audience: 'alias' }),
  'by policy': (world) => exchange(world, { audience: 'policy', fields: { resource: RESOURCE } }),
  'told pairwise': (world) =>
    exchange(world, {
      audience: 'pairwise',
      fields: { agent_context_id: 'a', agent_platform: 'b' },
    }),
  'key-bound': (world) => exchange(world, { audience: 'key-bound', as: 'keyed', proving: true }),
  'too strict': (world) => exchange(world, { audience: 'strict' }),
  blocked: (world) => exchange(world, { audience: 'blocked' }),
  closed: (world) => exchange(world, { audience: 'closed' }),
  'of nobody known': (world) => exchange(world, { audience: 'nobody knows' }),
  'a code': (world) => redemption(world, 'secret'),
  'a bound code': (world) => redemption(world, 'bound'),
  'a refresh': (world) => refreshing(world, 'secret'),
  'a bound refresh': (world) => refreshing(world, 'bound'),
  'a spent refresh': (world) => refreshing(world, 'secret', spent(world)),
  'a public refresh': (world) => refreshing(world, 'open'),
}

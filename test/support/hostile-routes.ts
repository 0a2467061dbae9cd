import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { ADMIN_KEY, type House } from './house.ts'
import { type Story, tellStory } from './story.ts'

/** Every path of a house with the methods that work there, and records whose ids fit in. */
export type Routes = {
  all: Route[]
  /** Whom the calls of the admin door name: what they change is nobody else's. */
  victim: Story
  /** By the name of a member, what fits there: records that there are, names that nobody has. */
  values: Values
  /** The path with ids of records that there are, as far as a name tells which. */
  pathOf(path: string): string
}
export type Values = Record<string, () => unknown>
export type Route = { path: string; methods: string[] }

export const asAdmin = { authorization: `Bearer ${ADMIN_KEY}` }

export async function listRoutes(house: House): Promise<Routes> {
  const victim = await tellStory(house, {
    audience: { resources: CATALOGUE },
    entitlement: { scopes: ['chat.read', 'chat.write'] },
  })
  const made = async (path: string, body: object) => {
    const answer = await house.admin('POST', path, body)
    if (answer.status !== 201) throw new Error(`${path}: ${answer.status} ${answer.text}`)
    return answer.body.id as string
  }
  const agent_id = victim.agent.id
  const rules = {
    '/blocks/': await made('/blocks', { agent_id, reason: 'x' }),
    '/actor-permissions/': await made('/actor-permissions', {
      agent_id,
      actor_id: await another(),
    }),
    '/trusted-issuers/': await made('/trusted-issuers', {
      issuer: 'http://127.0.0.1:1/x',
      jwks_uri: 'http://127.0.0.1:1/keys',
      clients: [{ client_id: 'x', agent_ids: [agent_id] }],
      provisioning: 'refuse',
    }),
    '/client-metadata-rules/': await made('/client-metadata-rules', {
      host: '127.0.0.1:1',
      owner_id: victim.owner.id,
      purpose: 'x',
      agent_expires_at: later(house),
    }),
  }
  async function another(): Promise<string> {
    return (await tellStory(house)).agent.id
  }
  const delegation = await victim.delegate({ scopes: ['chat.read'] })
  const records: Record<string, string> = {
    '/users/': victim.user.id,
    '/audiences/': victim.audience.id,
    '/delegations/': delegation.id,
    '/tenants/': await made('/tenants', { name: 'x' }),
    '/admin-keys/': await made('/admin-keys', {
      name: 'x',
      scopes: ['users:read'],
      expires_at: later(house),
    }),
    ...rules,
    '/ssf-receivers/': await made('/ssf-receivers', { name: 'x', audience: 'https://x.example/' }),
  }
  const actor_id = await another()
  const { body: user } = await house.admin('GET', `/users/${victim.user.id}`)
  let count = 0
  const ids: Values = {
    credential_id: () => victim.agent.credential_id,
    audience_id: () => victim.audience.id,
    agent_id: () => agent_id,
    actor_id: () => actor_id,
    user_id: () => victim.user.id,
    owner_id: () => victim.owner.id,
    interaction_id: () => 'int_unknown',
    subject: () => 'kim',
  }
  const fresh: Values = {
    tenant_id: () => user.tenant_id,
    agent_ids: () => [agent_id],
    email: () => `kim-${++count}@orbit.example`,
    external_id: () => `emp-${++count}`,
    phone_number: () => `+1202555${String(++count).padStart(6, '0')}`,
    issuer: () => `http://127.0.0.1:1/${++count}`,
    aliases: () => [`urn:example:${++count}`],
    host: () => `127.0.0.1:${++count}`,
    jwk: () => ({ ...victim.agent.jwk, kid: `key-${++count}` }),
    jwks: () => ({ keys: [victim.agent.jwk] }),
    resources: () => ['https://api.chat.example/'],
  }
  const pathOf = (path: string) =>
    path.replace(/[:{](\w+)\}?/g, (_, name) => {
      if (name !== 'id') return String(ids[name]?.() ?? 'unknown')
      const [, id = agent_id] = Object.entries(records).find(([part]) => path.includes(part)) ?? []
      return id
    })
  return { all: await readMap(house, pathOf), victim, values: { ...ids, ...fresh }, pathOf }
}

/** What the examples of the API document speak of. */
const CATALOGUE = [
  {
    identifier: 'https://api.chat.example/',
    scopes: [{ name: 'chat.read' }, { name: 'chat.write' }],
    authorization_details_types: [{ type: 'payment' }],
  },
]

/** Read from the router's own map. */
async function readMap(house: House, pathOf: Routes['pathOf']): Promise<Route[]> {
  let routes: Route[] = []
  const above: string[] = []
  for (const line of house.app.printRoutes({ commonPrefix: false }).split('\n')) {
    const [, indent = '', part = '', methods = ''] =
      /^((?:[│ ] {3})*)[├└]── (\S*) \((.*)\)$/.exec(line) ?? []
    if (part === '') continue
    above.length = indent.length / 4
    above.push(part)
    routes.push({ path: above.join(''), methods: methods.split(', ') })
  }
  routes = routes.filter(({ path }) => path.startsWith('/'))
  // Every path has every method, for most of them are there to say 405: Allow names those that work.
  for (const route of routes) {
    const url = pathOf(route.path)
    const { headers } = await house.inject({ method: 'OPTIONS', url, headers: asAdmin })
    const allow = headers.allow === undefined ? [] : String(headers.allow).split(', ')
    if (allow.length > 0) route.methods = route.methods.filter((known) => allow.includes(known))
  }
  return routes
}

const later = ({ clock }: House) => new Date(clock.now.getTime() + 1e9).toISOString()

/** Of the API document, what a body is made of. */
export type BodySchema = {
  type?: string | string[]
  properties?: Record<string, BodySchema>
  required?: string[]
  items?: BodySchema
  enum?: unknown[]
  examples?: unknown[]
  anyOf?: BodySchema[]
  format?: string
}

/** Members that exclude others, or are for later. */
const LEFT_OUT: [path: RegExp, members: string[]][] = [
  [/\/agents$/, ['jwks_uri']],
  [/\/agents\/{id}$/, ['jwks_uri']],
  [/\/audiences/, ['events_endpoint', 'events_dialect', 'event_type', 'event_names_agent']],
  [/\/audiences/, ['notify_expiry', 'sector']],
  [/\/audiences$/, ['discover']],
  [/\/client-metadata-rules$/, ['url']],
  [/\/delegations$/, ['authorization_details']],
  [/\/revocations$/, ['agent_id', 'user_id', 'audience_id', 'tenant_id']],
]

/** Every call of the admin door that takes a body. */
export function listBodies(): { method: string; path: string; schema: BodySchema }[] {
  const file = resolve(import.meta.dirname, '../../docs/openapi.json')
  const { paths } = JSON.parse(readFileSync(file, 'utf8'))
  return Object.entries(paths as Record<string, Record<string, Operation>>).flatMap(
    ([path, operations]) =>
      Object.entries(operations).flatMap(([method, { requestBody }]) => {
        const schema = requestBody?.content['application/json']?.schema
        if (schema === undefined || !path.startsWith('/admin/')) return []
        const left = LEFT_OUT.flatMap(([of, members]) => (of.test(path) ? members : []))
        const named = Object.entries(schema.properties ?? {})
        const properties = Object.fromEntries(named.filter(([name]) => !left.includes(name)))
        return [{ method: method.toUpperCase(), path, schema: { ...schema, properties } }]
      }),
  )
}
type Operation = { requestBody?: { content: Record<string, { schema: BodySchema }> } }

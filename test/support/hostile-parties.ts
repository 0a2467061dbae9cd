import { randomUUID } from 'node:crypto'
import { type ClientSite, openClientSite } from './client-site.ts'
import { type DpopKey, newDpopKey } from './dpop.ts'
import { CLIENT, type FakeIssuer, startIssuer } from './fake-issuer.ts'
import type { Answer, House } from './house.ts'
import {
  entitle,
  newAgent,
  newAudience,
  RESOURCE,
  type Story,
  type StoryAgent,
  tellStory,
} from './story.ts'

/** One of everything that a request can name, so that a hostile one has something to be wrong about. */
export type Parties = {
  story: Story
  agents: Record<AgentName, StoryAgent>
  /** By what is asked of them; the values are what requests call them. */
  audiences: Record<string, string>
  /** A second user, of whom nobody may speak. */
  stranger: Story
  dpop: DpopKey
  upstream: FakeIssuer
  /** Its keys cannot be had. */
  silent: string
  /** Makes a user of each of its subjects. */
  making: FakeIssuer & { id: string }
  /** Whoever publishes a document there may come. */
  site: ClientSite
}
export type AgentName =
  | 'secret'
  | 'basic'
  | 'keyed'
  | 'bound'
  | 'open'
  | 'published'
  | 'actor'
  | 'subactor'

const DAY = 86_400_000
export const ALIAS = 'urn:paperclip:one'
export const FILES = 'https://files.paperclip.example/'
const ALLOWED = [{ type: 'payment', actions: ['initiate', 'cancel'] }]
const DETAILS = [{ type: 'payment', description: 'Pay' }, { type: 'account' }]

const made = ({ status, text, body }: Answer) => {
  if (status >= 300) throw new Error(`${status} ${text}`)
  return body
}

export async function makeParties(
  t: { after(end: () => Promise<void>): void },
  house: House,
): Promise<Parties> {
  const story = await tellStory(house, {
    agent: { token_endpoint_auth_method: 'client_secret_post' },
    audience: {
      aliases: [ALIAS],
      claims: ['email', 'name', 'aud_sub'],
      resources: [
        {
          identifier: RESOURCE,
          scopes: [{ name: 'docs.read' }, { name: 'docs.write' }],
          authorization_details_types: DETAILS,
        },
        { identifier: FILES, scopes: [{ name: 'files.read' }] },
      ],
    },
    entitlement: { scopes: ['docs.read', 'docs.write', 'files.read'] },
  })
  const { owner, user } = story
  const withMethod = (token_endpoint_auth_method: string) =>
    newAgent(house, owner, { token_endpoint_auth_method })
  const agents: Parties['agents'] = {
    secret: story.agent,
    basic: await withMethod('client_secret_basic'),
    keyed: await newAgent(house, owner),
    bound: await newAgent(house, owner, { dpop_bound_access_tokens: true }),
    open: await withMethod('none'),
    published: await publish(t, house, owner),
    actor: await newAgent(house, owner),
    subactor: await newAgent(house, owner),
  }
  await permit(house, agents)

  const audiences: Record<string, string> = { plain: story.audience.issuer, alias: ALIAS }
  const ids: Record<string, { id: string }> = { plain: story.audience }
  for (const [name, members, consent] of AUDIENCES) {
    const issuer = `https://${name}.${randomUUID()}.example`
    const audience = await newAudience(house, { issuer, ...members })
    audiences[name] = issuer
    ids[name] = audience
    if (consent) {
      for (const agent of [agents.secret, agents.keyed, agents.bound]) {
        await entitle(house, agent, audience, { consent, client_id: `client-${name}` })
      }
    }
  }
  audiences['nobody knows'] = 'https://unknown.example'
  for (const agent of [agents.basic, agents.keyed, agents.bound, agents.open, agents.published]) {
    await entitle(house, agent, story.audience, { scopes: ['docs.read', 'docs.write'] })
  }

  const stranger = await tellStory(house)
  for (const [of, mode] of [
    [agents.secret, 'always'],
    [agents.basic, 'once'],
    [agents.keyed, 'always'],
    [agents.bound, 'always'],
    [agents.published, 'always'],
  ] as const) {
    const expires_at = new Date(house.clock.now.getTime() + 30 * DAY).toISOString()
    await story.delegate({
      ...{ agent_id: of.id, mode, scopes: ['docs.read'] },
      ...(mode === 'always' && { offline: true, expires_at, authorization_details: ALLOWED }),
    })
  }
  await block(house, { user_id: user.id, audience_id: ids.blocked?.id })
  const issuers = await trust(t, house, agents, user)
  const site = await openClientSite(t)
  await letCome(house, owner, { host: site.host })
  return { story, agents, audiences, stranger, dpop: await newDpopKey(), ...issuers, site }
}

const AUDIENCES: [name: string, members: object, consent?: 'admin' | 'user'][] = [
  ['policy', { profile: 'mcp-ema' }, 'admin'],
  ['pairwise', { subject_type: 'pairwise', profile: 'authmd-0.2', claims: ['email'] }, 'admin'],
  ['key-bound', { dpop_required: true }, 'admin'],
  ['strict', { acr_values: ['urn:example:mfa'], max_auth_age: 400 }, 'admin'],
  ['blocked', {}, 'admin'],
  ['closed', {}],
]

/** A client that is known by the document that it publishes. */
async function publish(
  t: { after(end: () => Promise<void>): void },
  house: House,
  owner: { id: string },
): Promise<StoryAgent> {
  const client = await (await openClientSite(t)).publish()
  client.id = (await letCome(house, owner, { url: client.url })).agent_id
  return client
}

async function letCome(house: House, { id: owner_id }: { id: string }, of: object) {
  const agent_expires_at = new Date(house.clock.now.getTime() + 90 * DAY).toISOString()
  const rule = { ...of, owner_id, purpose: 'plans', agent_expires_at }
  return made(await house.admin('POST', '/client-metadata-rules', rule))
}

async function permit(house: House, { keyed, secret, actor, subactor }: Parties['agents']) {
  const pairs = [
    { agent_id: keyed.id, actor_id: actor.id },
    { agent_id: secret.id, actor_id: actor.id, scopes: ['docs.read'] },
    { agent_id: actor.id, actor_id: subactor.id },
  ]
  for (const pair of pairs) made(await house.admin('POST', '/actor-permissions', pair))
}

const block = async (house: House, of: object) =>
  made(await house.admin('POST', '/blocks', { ...of, reason: 'for the test' }))

/** Issuers that are trusted: one whose `kim` is the user, one whose keys nobody can get, one that brings users along. */
async function trust(
  t: { after(end: () => Promise<void>): void },
  house: House,
  { secret, keyed, bound }: Parties['agents'],
  user: { id: string },
) {
  const upstream = await startIssuer(t, house)
  const silent = 'http://127.0.0.1:1/silent'
  const clients = [{ client_id: CLIENT, agent_ids: [secret.id, keyed.id, bound.id] }]
  const register = async (issuer: string, jwks_uri: string, provisioning: string) =>
    made(await house.admin('POST', '/trusted-issuers', { issuer, jwks_uri, clients, provisioning }))
      .id as string
  const id = await register(upstream.issuer, upstream.jwksUri, 'refuse')
  await register(silent, `${silent}/keys`, 'create')
  const making = await startIssuer(t, house)
  const makingId = await register(making.issuer, making.jwksUri, 'create')
  const link = { subject: 'kim', user_id: user.id }
  made(await house.admin('POST', `/trusted-issuers/${id}/accounts`, link))
  return { upstream, silent, making: { ...making, id: makingId } }
}

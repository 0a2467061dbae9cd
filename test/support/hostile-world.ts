import assert from 'node:assert/strict'
import { CLIENT_ASSERTION_TYPE, GRANT } from '../../src/oauth/names.ts'
import { authorize, signIn } from './browser.ts'
import { type Change, watchChanges } from './changes.ts'
import type { Fields } from './hostile-fields.ts'
import { newMint } from './hostile-mint.ts'
import { type AgentName, makeParties, type Parties } from './hostile-parties.ts'
import { goodToken, type Mint } from './hostile-tokens.ts'
import { ADMIN_KEY, type Answer, type House, openHouse } from './house.ts'
import { clientAuthentication, type Tokens } from './story.ts'

/** A house with everything in it, and tokens of everybody. */
export type World = {
  house: House
  parties: Parties
  mint: Mint
  /** Names of tokens that were truly issued. */
  issued: string[]
  /** What an agent was given last. */
  tokens: Record<string, Tokens>
  changes: { take(): Promise<Change[]> }
  /** How an agent proves itself, by its own method. */
  authenticate(as: AgentName): Promise<Draft>
  /** A proof for the token endpoint. */
  prove(claims?: Record<string, unknown>): Promise<string>
  /** Signs in for whoever lost a grant, so that what follows has something to break again. */
  renew(changes: readonly Change[]): Promise<void>
  /** What no answer and no line of the log may hold. */
  secrets(): string[]
}
/** A request that is being written. */
export type Draft = { fields: Fields; headers: Record<string, string[]> }

const SIGNING_IN: readonly AgentName[] = ['secret', 'basic', 'keyed', 'bound', 'open', 'published']

export async function openWorld(
  t: { after(end: () => Promise<void>): void },
  environment: NodeJS.ProcessEnv = {},
): Promise<World> {
  const house = await openHouse(t, {
    RATE_LIMITS: 'off',
    DELEGATE_TOKENS: 'on',
    LOG_LEVEL: 'info',
    ...environment,
  })
  const parties = await makeParties(t, house)
  const tokens: World['tokens'] = {}
  const extra: Record<string, string> = {}
  const issued = [
    ...SIGNING_IN.flatMap((name) =>
      ['id_token', 'access_token', 'refresh_token'].map((kind) => `${name} ${kind}`),
    ),
    ...['spent refresh_token', 'stranger id_token', 'stranger refresh_token', 'id-jag'],
  ]
  const mint = newMint(house, parties, (name) => {
    const [whose = '', kind = ''] = name.split(' ')
    return extra[name] ?? (tokens[whose]?.[kind as keyof Tokens] as string)
  })
  const prove = (claims = {}) => goodToken(mint, 'a DPoP proof', claims)
  const changes = await watchChanges(house)

  const ask = (draft: Draft): Promise<Answer> => {
    const headers: Draft['headers'] = { ...FORM, ...draft.headers }
    const payload = new URLSearchParams(draft.fields).toString()
    return house.inject({ method: 'POST', url: '/oauth2/token', headers, payload })
  }

  async function authenticate(as: AgentName): Promise<Draft> {
    const agent = parties.agents[as]
    if (as === 'basic') {
      const pair = `${agent.client_id}:${agent.client_secret}`
      const authorization = [`Basic ${Buffer.from(pair).toString('base64')}`]
      return { fields: [], headers: { authorization } }
    }
    if (agent.privateKey === undefined) {
      const fields = Object.entries(await clientAuthentication(house, agent))
      return { fields: fields as Draft['fields'], headers: {} }
    }
    const self = { iss: agent.client_id, sub: agent.client_id }
    return {
      fields: [
        ['client_assertion_type', CLIENT_ASSERTION_TYPE],
        ['client_assertion', await goodToken(mint, 'a client assertion', self, as)],
      ],
      headers: {},
    }
  }

  async function begin(as: AgentName, scope: string): Promise<Tokens> {
    const { browser, user } = parties.story
    if (!browser.cookies.has('session')) await signIn(browser, user)
    const code = await authorize(browser, parties.agents[as], { scope })
    const auth = await authenticate(as)
    const { status, text, body } = await ask({
      fields: [...auth.fields, ['grant_type', GRANT.authorizationCode], ...Object.entries(code)],
      headers: { ...auth.headers, ...(as === 'bound' && { dpop: [await prove()] }) },
    })
    assert.equal(status, 200, text)
    return body
  }
  const FULL = 'openid email offline_access'

  async function spend(): Promise<void> {
    const { refresh_token } = await begin('secret', FULL)
    const { fields } = await authenticate('secret')
    await ask({
      fields: [...fields, ['grant_type', GRANT.refreshToken], ['refresh_token', refresh_token]],
      headers: {},
    })
    extra['spent refresh_token'] = refresh_token
  }

  for (const name of SIGNING_IN) tokens[name] = await begin(name, `${FULL} delegate`)
  await spend()
  tokens.stranger = await parties.stranger.signIn()
  const { body } = await parties.story.exchange({ subject_token: tokens.secret?.id_token })
  extra['id-jag'] = body.access_token
  await changes.take()

  const secrets = () => [
    ADMIN_KEY,
    ...Object.values(parties.agents).flatMap(({ client_secret }) => client_secret ?? []),
    ...issued.map((name) => mint.issued(name)),
  ]
  return {
    house,
    parties,
    mint,
    issued,
    tokens,
    changes,
    authenticate,
    prove,
    async renew(written) {
      const ended = written.filter(
        ({ table, after }) => table === 'refresh_token_families' && after?.ended_at,
      )
      if (ended.length === 0) return
      for (const name of SIGNING_IN) {
        const { id } = parties.agents[name]
        if (ended.some(({ after }) => after?.agent_id === id)) {
          tokens[name] = await begin(name, `${FULL} delegate`)
          if (name === 'secret') await spend()
        }
      }
      await changes.take()
    },
    secrets,
  }
}

const FORM = { 'content-type': ['application/x-www-form-urlencoded'] }

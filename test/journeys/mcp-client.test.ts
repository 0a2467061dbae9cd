/**
 * The whole story as an MCP client lives it: the official client library is the agent, unmodified, and finds its
 * way from the 401 of an MCP server to a tool by itself. What it insists on is decided by its authors.
 */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { inspect } from 'node:util'
import {
  type AddClientAuthentication,
  type Client,
  createPrivateKeyJwtAuth,
  discoverAuthorizationServerMetadata,
  exchangeAuthorization,
  requestJwtAuthorizationGrant,
  startAuthorization,
} from '@modelcontextprotocol/client'
import { decodeJwt, exportJWK, type JWK } from 'jose'
import { PASSWORD, redirected } from '../support/browser.ts'
import { type McpServer, SCOPES, startMcpServer } from '../support/fake-mcp-server.ts'
import { openHttpHouse } from '../support/http-house.ts'
import { asking, connect, proving, type Registration } from '../support/mcp-agent.ts'
import { type Story, tellStory } from '../support/story.ts'

const house = await openHttpHouse({ after })
const ISSUER = house.config.issuer

test('the client finds what it insists on in both metadata documents (DS-02, TV-101)', async () => {
  const visited: string[] = []
  const without = (document: string) => async (url: string | URL, init?: RequestInit) => {
    visited.push(new URL(url).pathname)
    return String(url).endsWith(document) ? new Response(null, { status: 404 }) : fetch(url, init)
  }
  const oauth = await discoverAuthorizationServerMetadata(ISSUER, { fetchFn: without('-none') })
  const openid = await discoverAuthorizationServerMetadata(ISSUER, {
    fetchFn: without('/oauth-authorization-server'),
  })
  assert.deepEqual(visited, [
    '/.well-known/oauth-authorization-server',
    '/.well-known/oauth-authorization-server',
    '/.well-known/openid-configuration',
  ])
  for (const metadata of [oauth, openid]) {
    assert.equal(metadata?.issuer, ISSUER)
    assert.equal(metadata?.token_endpoint, `${ISSUER}/oauth2/token`)
    assert.ok(metadata?.token_endpoint_auth_methods_supported?.includes('client_secret_post'))
    assert.deepEqual(metadata?.code_challenge_methods_supported, ['S256'])
  }
})

test('an issuer that is not here ends its search without an error (DS-03)', async () => {
  assert.equal(await discoverAuthorizationServerMetadata(`${ISSUER}/t/none`), undefined)
})

test('from a 401 to a tool in the name of the user, and again when the token ends', async (t) => {
  const { story, server, here, open } = await tell(t)
  const { id } = await story.delegate({ scopes: SCOPES })
  const visited = visits(t, { [ISSUER]: 'idp', [server.issuer]: 'app' })
  const client = await open()
  // Then it asks for a stream, without waiting for the answer.
  assert.deepEqual(visited.slice(0, 10), [
    'POST app/mcp',
    'GET app/.well-known/oauth-protected-resource/mcp',
    'GET app/.well-known/oauth-authorization-server',
    'GET idp/.well-known/oauth-authorization-server',
    'POST idp/oauth2/token',
    'POST app/token',
    'GET idp/.well-known/oauth-authorization-server',
    'GET idp/.well-known/jwks.json',
    'POST app/mcp',
    'POST app/mcp',
  ])
  assert.deepEqual(await whoami(client), { sub: story.user.id, scope: SCOPES.join(' ') })
  const [first] = server.taken
  assert.equal(
    first?.aud,
    server.issuer,
    'as registered, without the slash that the app puts there (TX-05)',
  )
  assert.equal(first?.resource, server.url)
  assert.equal(first?.client_id, server.client.id, 'as the app knows the agent, not we (IJ-40)')
  assert.notEqual(first?.client_id, here.clientId)

  server.endTokens()
  assert.deepEqual(await client.ping(), {})
  const [, second] = server.taken
  assert.notEqual(second?.jti, first?.jti, 'each renewal has an ID-JAG of its own (FL-04)')

  server.endTokens()
  const stopped = await house.admin('DELETE', `/delegations/${id}`)
  assert.ok(stopped.status < 300, stopped.text)
  await assert.rejects(client.ping(), /interaction_required/)
  assert.equal(server.taken.length, 2)
})

test('what the user allowed in part is granted in part, and the session opens', async (t) => {
  const { story, open } = await tell(t)
  await story.delegate({ scopes: ['docs.read'] })
  assert.equal((await whoami(await open())).scope, 'docs.read')
})

test('the helper alone reads the answer as we mean it (TX-05, TX-11)', async (t) => {
  const registered = (url: string) => url.replace('localhost', 'LOCALHOST')
  const { story, server, here, idToken } = await tell(t, { resource: registered })
  await story.delegate({ scopes: SCOPES })
  const { jwtAuthGrant, ...rest } = await requestJwtAuthorizationGrant({
    tokenEndpoint: `${ISSUER}/oauth2/token`,
    clientId: here.clientId,
    clientSecret: here.clientSecret,
    idToken,
    // Its other form, which adds a slash to the one and writes the host of the other small.
    audience: new URL(server.issuer),
    resource: new URL(registered(server.url)),
    scope: 'docs.read',
  })
  assert.deepEqual(rest, { expiresIn: 300, scope: 'docs.read' })
  const { aud, resource } = decodeJwt(jwtAuthGrant)
  assert.deepEqual([aud, resource], [server.issuer, registered(server.url)])
})

for (const method of ['client_secret_post', 'private_key_jwt'] as const) {
  test(`an agent with ${method} is led from the refusal to the question, and then to a session`, async (t) => {
    const { story, here, open } = await tell(t, { method })
    assert.equal(here.clientSecret === undefined, method === 'private_key_jwt')
    const opened: string[] = []
    const fetchFn = asking((uri) => opened.push(uri), here.fetchFn)
    await assert.rejects(
      open({ fetchFn }),
      /^Error: Token exchange failed: interaction_required - /,
    )
    const [question = ''] = opened
    assert.ok(question.startsWith(`${ISSUER}/consent/`), String(opened))

    const page = await story.browser.get(new URL(question).pathname)
    const decision = { decision: 'allow', mode: 'always', scope: SCOPES }
    const decided = await story.browser.submit(page, decision)
    assert.equal(decided.status, 200, decided.text)
    assert.equal((await whoami(await open({ fetchFn }))).sub, story.user.id)
    assert.equal(opened.length, 1)
  })
}

type OAuthErrorResponse = { error: string; error_description: string }
type Refused = {
  what: string
  error: string
  /** What is otherwise than in a story that ends well. */
  told?: Parameters<typeof tell>[1]
  here?: Partial<Registration>
  idToken?: string
  delegated?: false
  suspended?: true
}

const REFUSALS: Refused[] = [
  { what: 'the user was not asked', error: 'interaction_required', delegated: false },
  { what: 'the secret is wrong', error: 'invalid_client', here: { clientSecret: 'guess' } },
  {
    what: 'it sends no secret (FL-05)',
    error: 'invalid_client',
    here: { clientSecret: undefined },
  },
  { what: 'the agent is unknown', error: 'invalid_client', here: { clientId: 'agt_unknown' } },
  { what: 'the agent is suspended', error: 'unauthorized_client', suspended: true },
  { what: 'the ID token is none', error: 'invalid_grant', idToken: 'not.a.token' },
  {
    what: 'the audience is unknown',
    error: 'invalid_target',
    told: { audience: { issuer: 'https://auth.elsewhere.example' } },
  },
  {
    what: 'the MCP server is no resource of the audience (TX-09)',
    error: 'invalid_target',
    told: { resource: (url) => `${url}/other` },
  },
  {
    what: 'none of the scopes is open to the agent',
    error: 'invalid_scope',
    told: { scopes: ['docs.delete'] },
  },
]
for (const { what, error, told, here, idToken, delegated = true, suspended } of REFUSALS) {
  test(`the error has our error_description in full when ${what}`, async (t) => {
    const { story, server, open } = await tell(t, told)
    if (delegated) await story.delegate({ scopes: told?.scopes ?? SCOPES })
    if (suspended) await house.admin('POST', `/agents/${story.agent.id}/suspend`, {})
    const answers: OAuthErrorResponse[] = []
    const fetchFn: Registration['fetchFn'] = async (url, init) => {
      const answer = await fetch(url, init)
      if (!answer.ok) answers.push((await answer.clone().json()) as OAuthErrorResponse)
      return answer
    }
    const thrown = await open({ ...here, fetchFn }, idToken).then(
      () => assert.fail('it was granted'),
      (thrown: Error) => thrown,
    )
    const said = inspect({ answers, thrown }, { depth: 8 })
    const [answer] = answers
    assert.equal(answers.length, 1, said)
    assert.equal(answer?.error, error, said)
    assert.match(answer.error_description, /^[\x20-\x21\x23-\x5b\x5d-\x7e]{20,}$/, said)
    assert.equal(
      thrown.message,
      `Token exchange failed: ${error} - ${answer.error_description}`,
      said,
    )
    assert.equal(server.taken.length, 0, said)
  })
}

test('docs/agents.md shows what runs here', () => {
  const root = join(import.meta.dirname, '../..')
  const read = (path: string) => readFileSync(join(root, path), 'utf8')
  const section = read('docs/agents.md').split('## With the MCP client\n')[1]?.split('\n## ')[0]
  const blocks = [...(section ?? '').matchAll(/```ts\n(.*?)```/gs)].map(([, code = '']) => code)
  assert.ok(blocks.length > 0)
  for (const code of blocks) assert.ok(read('test/support/mcp-agent.ts').includes(code), code)
})

type Method = 'client_secret_post' | 'private_key_jwt'
type Told = {
  method?: Method
  audience?: object
  /** What is registered for the MCP server, when not its address. */
  resource?: (url: string) => string
  scopes?: string[]
}

/** An MCP server of its own, an agent enrolled for it, and the user's ID token; no delegation yet. */
async function tell(t: TestContext, told: Told = {}) {
  const { method = 'client_secret_post', scopes = SCOPES, resource = String } = told
  const server = await startMcpServer(t, { trusts: ISSUER })
  const catalogue = scopes.map((name) => ({ name }))
  const story = await tellStory(house, {
    agent: { token_endpoint_auth_method: method },
    audience: {
      issuer: server.issuer,
      profile: 'mcp-ema',
      resources: [{ identifier: resource(server.url), scopes: catalogue }],
      ...told.audience,
    },
    entitlement: { client_id: server.client.id, scopes },
  })
  const { client_id: clientId, client_secret: clientSecret, privateKey } = story.agent
  const jwk = privateKey && (await exportJWK(privateKey))
  const idToken = await signInWithClient(story, jwk)
  const here = {
    issuer: ISSUER,
    clientId,
    clientSecret,
    ...(jwk && { fetchFn: proving(ISSUER, clientId, jwk) }),
  }
  const open = async (changes: Partial<Registration> = {}, presented = idToken) => {
    const client = await connect(
      server.url,
      { ...here, ...changes },
      thereOf(server),
      async () => presented,
    )
    t.after(() => client.close())
    return client
  }
  return { story, server, here, idToken, open }
}

const thereOf = ({ issuer, client }: McpServer) => ({
  issuer,
  clientId: client.id,
  clientSecret: client.secret,
})

/** The user's part happens on the pages; the client makes the requests and judges `iss` and the tokens. */
async function signInWithClient({ browser, user, agent }: Story, jwk?: JWK): Promise<string> {
  const metadata = await discoverAuthorizationServerMetadata(ISSUER)
  const { client_id, client_secret, redirect_uri } = agent
  const clientInformation = {
    client_id,
    client_secret,
    token_endpoint_auth_method: 'client_secret_post',
    redirect_uris: [redirect_uri],
  }
  const { authorizationUrl, codeVerifier } = await startAuthorization(ISSUER, {
    metadata,
    clientInformation,
    redirectUrl: redirect_uri,
    scope: 'openid',
  })
  const page = await browser.get(authorizationUrl.pathname + authorizationUrl.search)
  const visit = await browser.submit(page, { email: user.email, password: PASSWORD })
  const callback = redirected(visit, agent)
  const tokens = await exchangeAuthorization(ISSUER, {
    metadata,
    clientInformation,
    authorizationCode: String(callback.get('code')),
    iss: String(callback.get('iss')),
    codeVerifier,
    redirectUri: redirect_uri,
    addClientAuthentication: jwk && keyAuthentication(client_id, jwk),
  })
  assert.ok(tokens.id_token)
  return tokens.id_token
}

const keyAuthentication = (client_id: string, privateKey: JWK): AddClientAuthentication =>
  createPrivateKeyJwtAuth({ issuer: client_id, subject: client_id, privateKey, alg: 'ES256' })

async function whoami(client: Client): Promise<{ sub: string; scope: string }> {
  const { content } = await client.callTool({ name: 'whoami' })
  const [said] = content as { text: string }[]
  return JSON.parse(said?.text ?? '')
}

/** The way of everybody in this process, in order; the client and the app ask the same `fetch`. */
function visits(t: TestContext, hosts: Record<string, string>): string[] {
  const visited: string[] = []
  const { fetch } = globalThis
  t.mock.method(globalThis, 'fetch', (...[input, init]: Parameters<typeof fetch>) => {
    const { origin, pathname } = new URL(String(input))
    visited.push(`${init?.method ?? 'GET'} ${hosts[origin] ?? origin}${pathname}`)
    return fetch(input, init)
  })
  return visited
}

/**
 * An MCP server and the authorization server in front of it, as enterprise-managed authorization has them:
 * an ID-JAG is redeemed at the one for an access token of the other. They know who issues ID-JAGs by its
 * URL alone, and nothing of src/ is in them.
 */

import { randomUUID } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import { createRemoteJWKSet, type errors, type JWTPayload, jwtVerify } from 'jose'
import { freePort } from './server-process.ts'

export type McpServer = {
  /** The MCP endpoint, which is its resource identifier too. */
  url: string
  /** Of the authorization server. */
  issuer: string
  /** The agent as it is registered there. */
  client: { id: string; secret: string }
  /** What was in each ID-JAG it took. */
  taken: JWTPayload[]
  /** Lets every access token run out. */
  endTokens(): void
}

type Grant = { sub: string; scope: string }

export const SCOPES = ['docs.read', 'docs.write']

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

export async function startMcpServer(
  t: { after(end: () => Promise<void>): void },
  { trusts }: { trusts: string },
): Promise<McpServer> {
  const port = await freePort()
  const issuer = `http://localhost:${port}`
  const client = { id: 'orbit-at-paperclip', secret: randomUUID() }
  const server = { url: `${issuer}/mcp`, issuer, client, taken: [] as JWTPayload[] }
  const grants = new Map<string, Grant>()

  const app = Fastify()
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    (_request, body, done) => done(null, new URLSearchParams(String(body))),
  )
  describeItself(app, server)
  redeemIdJags(app, server, trusts, grants)
  speakMcp(app, server, grants)
  await app.listen({ host: '127.0.0.1', port })
  t.after(() => app.close())
  return { ...server, endTokens: () => grants.clear() }
}

type Described = Omit<McpServer, 'endTokens'>

function describeItself(app: FastifyInstance, { url, issuer }: Described): void {
  app.get('/.well-known/oauth-protected-resource/mcp', () => ({
    resource: url,
    // As many documents have it; the issuer below is the identifier (OQ-02).
    authorization_servers: [`${issuer}/`],
    scopes_supported: SCOPES,
  }))
  app.get('/.well-known/oauth-authorization-server', () => ({
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    response_types_supported: ['code'],
    grant_types_supported: [JWT_BEARER],
    authorization_grant_profiles_supported: ['urn:ietf:params:oauth:grant-profile:id-jag'],
    token_endpoint_auth_methods_supported: ['client_secret_basic'],
  }))
}

/** The jwt-bearer grant, with every check that the profile asks for (IJ-50…IJ-57). */
function redeemIdJags(
  app: FastifyInstance,
  { url, issuer, client, taken }: Described,
  trusts: string,
  grants: Map<string, Grant>,
): void {
  const basic = `Basic ${btoa(`${client.id}:${client.secret}`)}`
  app.post('/token', async (request, reply) => {
    const refuse = (status: number, error: string, error_description: string) =>
      reply.code(status).send({ error, error_description })
    if (request.headers.authorization !== basic) {
      return refuse(401, 'invalid_client', 'The client is not known here')
    }
    const form = request.body as URLSearchParams
    if (form.get('grant_type') !== JWT_BEARER) {
      return refuse(400, 'unsupported_grant_type', 'Only ID-JAGs are taken here')
    }
    const verified = await jwtVerify(form.get('assertion') ?? '', await keysOf(trusts), {
      typ: 'oauth-id-jag+jwt',
      algorithms: ['ES256', 'RS256'],
      issuer: trusts,
      audience: issuer,
      requiredClaims: ['sub', 'jti', 'exp', 'iat', 'client_id', 'resource'],
    }).catch((error: errors.JOSEError) => error)
    if (verified instanceof Error) return refuse(400, 'invalid_grant', verified.message)

    const { payload } = verified
    if (payload.aud !== issuer) return refuse(400, 'invalid_grant', 'It names several audiences')
    if (payload.client_id !== client.id) return refuse(400, 'invalid_grant', 'Of another client')
    if (payload.resource !== url) return refuse(400, 'invalid_grant', 'For another resource')
    if (form.has('resource') && form.get('resource') !== url) {
      return refuse(400, 'invalid_target', 'There is no such resource')
    }
    if (taken.some(({ jti }) => jti === payload.jti)) {
      return refuse(400, 'invalid_grant', 'It was presented before')
    }
    const asked = form.get('scope')?.split(' ') ?? SCOPES
    const allowed = String(payload.scope).split(' ')
    const scope = asked.filter((one) => allowed.includes(one)).join(' ')
    if (scope === '') return refuse(400, 'invalid_scope', 'None of the scopes is in it')

    taken.push(payload)
    const access_token = randomUUID()
    grants.set(access_token, { sub: String(payload.sub), scope })
    return { access_token, token_type: 'Bearer', expires_in: 300, scope }
  })
}

/** From the issuer's own metadata, whatever a token may point at. */
async function keysOf(issuer: string) {
  const answer = await fetch(`${issuer}/.well-known/oauth-authorization-server`)
  const metadata = (await answer.json()) as { issuer: string; jwks_uri: string }
  if (metadata.issuer !== issuer) throw new Error(`the metadata is not that of ${issuer}`)
  return createRemoteJWKSet(new URL(metadata.jwks_uri))
}

type Message = { id?: number; method: string; params?: { protocolVersion?: string } }

/** JSON-RPC over HTTP without streams: as much of MCP as shows that a session works, and in whose name. */
function speakMcp(app: FastifyInstance, { issuer }: Described, grants: Map<string, Grant>): void {
  const results: Record<string, (message: Message, grant: Grant) => object> = {
    initialize: ({ params }) => ({
      protocolVersion: params?.protocolVersion,
      capabilities: { tools: {} },
      serverInfo: { name: 'paperclip', version: '1.0.0' },
    }),
    ping: () => ({}),
    'tools/list': () => ({ tools: [{ name: 'whoami', inputSchema: { type: 'object' } }] }),
    'tools/call': (_message, grant) => ({
      content: [{ type: 'text', text: JSON.stringify(grant) }],
    }),
  }
  app.get('/mcp', (_request, reply) => reply.code(405).send())
  app.post('/mcp', (request, reply) => {
    const grant = grants.get((request.headers.authorization ?? '').replace(/^Bearer /, ''))
    if (grant === undefined) {
      const metadata = `${issuer}/.well-known/oauth-protected-resource/mcp`
      const challenge = `Bearer resource_metadata="${metadata}", scope="${SCOPES.join(' ')}"`
      return reply.code(401).header('www-authenticate', challenge).send()
    }
    const message = request.body as Message
    if (message.id === undefined) return reply.code(202).send()
    const result = results[message.method]?.(message, grant)
    const unknown = { code: -32601, message: 'Method not found' }
    return reply.send({
      jsonrpc: '2.0',
      id: message.id,
      ...(result === undefined ? { error: unknown } : { result }),
    })
  })
}

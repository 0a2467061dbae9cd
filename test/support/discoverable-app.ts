import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ID_JAG_GRANT_PROFILE, JWT_BEARER_GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'

/** A host of a relying app, where things lie at paths; may be changed while it runs. */
export type AppHost = {
  origin: string
  host: string
  /** Paths that were asked for, in their order. */
  asked: string[]
  /** Answers with this JSON, or as the function does; undefined for what is gone. */
  put(path: string, what: Answering | object | undefined, headers?: Record<string, string>): void
}
export type Answering = (request: IncomingMessage, response: ServerResponse) => void

export async function openAppHost(t: { after(end: () => Promise<void>): void }): Promise<AppHost> {
  const pages = new Map<string, Answering>()
  const asked: string[] = []
  const server = createServer((request, response) => {
    const path = request.url ?? ''
    asked.push(path)
    const page = pages.get(path)
    if (page) return page(request, response)
    response.writeHead(404).end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(async () => {
    server.closeAllConnections()
    await new Promise((done) => server.close(done))
  })
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    host,
    origin: `http://${host}`,
    asked,
    put(path, what, headers = {}) {
      if (what === undefined) pages.delete(path)
      else pages.set(path, typeof what === 'function' ? (what as Answering) : json(what, headers))
    },
  }
}

const json =
  (what: object, headers: Record<string, string>): Answering =>
  (_request, response) =>
    response
      .writeHead(200, { 'content-type': 'application/json', ...headers })
      .end(JSON.stringify(what))

/** Answers 401, with these challenges. */
export const challenge =
  (...values: string[]): Answering =>
  (_request, response) =>
    response.writeHead(401, { 'www-authenticate': values }).end('{"error":"unauthorized"}')

/** An app in the shape of auth.md, whose documents have nothing wrong with them. */
export type DiscoverableApp = {
  /** What is protected, and the address to begin at. */
  url: string
  api: AppHost
  auth: AppHost
  /** The metadata of the resource, and of the server: to be changed, and published anew. */
  resource: Record<string, unknown>
  server: Record<string, unknown> & { agent_auth?: Record<string, unknown> }
  /** Serves both as they are now. */
  publish(headers?: Record<string, string>): void
}

export const RESOURCE_AT = '/.well-known/oauth-protected-resource/chat'
export const SERVER_AT = '/.well-known/oauth-authorization-server'

export async function openApp(t: {
  after(end: () => Promise<void>): void
}): Promise<DiscoverableApp> {
  const [api, auth] = [await openAppHost(t), await openAppHost(t)]
  const at = (path: string) => `${auth.origin}${path}`
  const url = `${api.origin}/chat`
  const app: DiscoverableApp = {
    url,
    api,
    auth,
    resource: {
      resource: url,
      authorization_servers: [auth.origin],
      resource_name: 'Chat',
      scopes_supported: ['chat.read', 'chat.write'],
      bearer_methods_supported: ['header'],
    },
    server: {
      issuer: auth.origin,
      token_endpoint: at('/oauth2/token'),
      revocation_endpoint: at('/oauth2/revoke'),
      grant_types_supported: [JWT_BEARER_GRANT, 'urn:workos:agent-auth:grant-type:claim'],
      agent_auth: {
        skill: at('/auth.md'),
        identity_endpoint: at('/agent/identity'),
        claim_endpoint: at('/agent/identity/claim'),
        events_endpoint: at('/agent/event/notify'),
        identity_types_supported: ['anonymous', 'service_auth', 'identity_assertion'],
        identity_assertion: { assertion_types_supported: [TOKEN_TYPE.idJag] },
        events_supported: [
          'https://schemas.workos.com/events/agent/auth/identity/assertion/revoked',
        ],
      },
    },
    publish(headers) {
      api.put(RESOURCE_AT, app.resource, headers)
      auth.put(SERVER_AT, app.server, headers)
    },
  }
  api.put('/chat', challenge(`Bearer resource_metadata="${api.origin}${RESOURCE_AT}"`))
  app.publish()
  return app
}

/** An authorization server that takes ID-JAGs by the jwt-bearer grant. */
export const plainServer = (origin: string) => ({
  issuer: origin,
  token_endpoint: `${origin}/token`,
  grant_types_supported: [JWT_BEARER_GRANT],
  authorization_grant_profiles_supported: [ID_JAG_GRANT_PROFILE],
})

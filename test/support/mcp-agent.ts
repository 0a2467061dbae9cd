import {
  Client,
  CrossAppAccessProvider,
  createPrivateKeyJwtAuth,
  discoverAndRequestJwtAuthGrant,
  type FetchLike,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client'
import type { JWK } from 'jose'

export type Registration = {
  issuer: string
  clientId: string
  clientSecret?: string | undefined
  fetchFn?: FetchLike
}

/** The agent is registered twice: here, and at the authorization server of the MCP server. */
export async function connect(
  server: string,
  here: Registration,
  there: Registration & { clientSecret: string },
  freshIdToken: () => Promise<string>,
): Promise<Client> {
  const authProvider = new CrossAppAccessProvider({
    clientId: there.clientId,
    clientSecret: there.clientSecret,
    expectedIssuer: there.issuer,
    assertion: async ({ authorizationServerUrl, resourceUrl, scope }) => {
      const { jwtAuthGrant } = await discoverAndRequestJwtAuthGrant({
        idpUrl: here.issuer,
        clientId: here.clientId,
        clientSecret: here.clientSecret,
        idToken: await freshIdToken(),
        audience: authorizationServerUrl,
        resource: resourceUrl,
        scope,
        fetchFn: here.fetchFn,
      })
      return jwtAuthGrant
    },
  })
  const client = new Client({ name: 'orbit-writer', version: '1.0.0' })
  await client.connect(new StreamableHTTPClientTransport(new URL(server), { authProvider }))
  return client
}

/** The client's error has the words of a refusal but no interaction_uri: this reads it on the way. */
export const asking =
  (open: (interactionUri: string) => void, next: FetchLike = fetch): FetchLike =>
  async (url, init) => {
    const answer = await next(url, init)
    if (answer.status !== 400) return answer
    const { interaction_uri } = (await answer.clone().json()) as { interaction_uri?: string }
    if (interaction_uri) open(interaction_uri)
    return answer
  }

/** In place of `clientSecret`, for an agent with private_key_jwt. */
export function proving(issuer: string, clientId: string, privateKey: JWK): FetchLike {
  const claims = { issuer: clientId, subject: clientId, audience: issuer }
  const prove = createPrivateKeyJwtAuth({ ...claims, privateKey, alg: 'ES256' })
  return async (url, init) => {
    if (init?.method !== 'POST') return fetch(url, init)
    const body = new URLSearchParams(String(init.body))
    await prove(new Headers(), body, url)
    return fetch(url, { ...init, body })
  }
}

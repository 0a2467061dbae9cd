import { randomUUID, type webcrypto } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import { GRANT, ID_JAG_GRANT_PROFILE, JWT_BEARER_GRANT } from '../../src/oauth/names.ts'
import type { StoryAgent } from './story.ts'

/** A host on which clients publish what they are. */
export type ClientSite = {
  host: string
  /** A client with a document that has nothing wrong with it, but for what is asked otherwise. */
  publish(members?: object, path?: string): Promise<PublishedClient>
}
export type PublishedClient = StoryAgent & {
  /** Its `client_id`. */
  url: string
  /** What is served at it; may be changed while the site runs. */
  page: SitePage
  /** Says something else in its document from now on. */
  say(members: object): void
  /** Takes another key, and says so. */
  rekey(): Promise<void>
}
export type SitePage = {
  status: number
  headers: Record<string, string>
  body: string
  asked: number
  /** What a request waits for before it is answered. */
  gate: Promise<void> | undefined
}

export async function openClientSite(t: {
  after(end: () => Promise<void>): void
}): Promise<ClientSite> {
  const pages = new Map<string, SitePage>()
  const server = createServer(async (request, response) => {
    const page = pages.get(request.url ?? '')
    if (page) page.asked += 1
    await page?.gate
    response.writeHead(page?.status ?? 404, page?.headers).end(page?.body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => new Promise((done) => server.close(() => done())))
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`

  return {
    host,
    // Documents are remembered by their URL, which must not come back with the port.
    async publish(members = {}, path = `/${randomUUID()}/client.json`) {
      const url = `http://${host}${path}`
      const redirect_uri = `https://${randomUUID()}.example/callback`
      const page: SitePage = { status: 200, headers: {}, body: '', asked: 0, gate: undefined }
      pages.set(path, page)
      let document: object = { ...documentOf(url, redirect_uri), ...members }
      const client: PublishedClient = {
        id: '',
        client_id: url,
        url,
        client_secret: undefined,
        credential_id: '',
        redirect_uri,
        page,
        ...(await newKey()),
        say(changed) {
          document = { ...document, ...changed }
          page.body = JSON.stringify(document)
        },
        async rekey() {
          Object.assign(client, await newKey())
          client.say({ jwks: { keys: [client.jwk] } })
        },
      }
      client.say({ jwks: { keys: [client.jwk] }, ...members })
      return client
    },
  }
}

const documentOf = (url: string, redirect_uri: string) => ({
  client_id: url,
  client_name: 'Orbit Planner',
  client_uri: 'https://orbit.example',
  token_endpoint_auth_method: 'private_key_jwt',
  redirect_uris: [redirect_uri],
  grant_types: [...Object.values(GRANT), JWT_BEARER_GRANT],
  authorization_grant_profiles_supported: [ID_JAG_GRANT_PROFILE],
})

async function newKey(): Promise<{ privateKey: webcrypto.CryptoKey; jwk: JWK }> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  return { privateKey, jwk: { ...(await exportJWK(publicKey)), kid: randomUUID(), alg: 'ES256' } }
}

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { GRANT, ID_JAG_GRANT_PROFILE, JWT_BEARER_GRANT } from '../../src/oauth/names.ts'
import { JWK, REDIRECT } from './contestant-requests.ts'

/** A host where the key of all contestants is published, by whoever has to. */
export type ContestantSite = {
  host: string
  /** Of trusted issuers. */
  jwksUri: string
  /** Below it every address has the metadata document of a client. */
  clients: string
}

export async function openContestantSite(t: {
  after(end: () => Promise<void>): void
}): Promise<ContestantSite> {
  const server = createServer(({ url = '' }, response) => {
    const said = url === '/keys' ? KEYS : { ...documentOf(`http://${host}${url}`), jwks: KEYS }
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(said))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => new Promise((done) => server.close(() => done())))
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return { host, jwksUri: `http://${host}/keys`, clients: `http://${host}/clients` }
}

const KEYS = { keys: [JWK] }

const documentOf = (client_id: string) => ({
  client_id,
  client_name: 'Racer',
  client_uri: 'https://racer.example',
  token_endpoint_auth_method: 'private_key_jwt',
  redirect_uris: [REDIRECT],
  grant_types: [...Object.values(GRANT), JWT_BEARER_GRANT],
  authorization_grant_profiles_supported: [ID_JAG_GRANT_PROFILE],
})

import { randomUUID, type webcrypto } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import type { House } from './house.ts'

/** A platform that signs its users in by itself: it publishes its keys, and makes ID tokens. */
export type FakeIssuer = {
  issuer: string
  jwksUri: string
  /** What it serves; may be changed while it runs. */
  site: {
    discovery: Page
    jwks: Page
  }
  key: IssuerKey
  publish(...keys: IssuerKey[]): void
  /** An ID token with nothing wrong with it, but for what is asked otherwise. */
  idToken(claims?: Record<string, unknown>, by?: Signing): Promise<string>
}
export type Page = { status: number; body: string; asked: number; headers: Record<string, string> }
export type IssuerKey = { privateKey: webcrypto.CryptoKey; jwk: JWK }
export type Signing = { header?: object; key?: IssuerKey }

export const CLIENT = 'orbit-web'

export async function newIssuerKey(alg = 'ES256', kid: string = randomUUID()): Promise<IssuerKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return { privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg } }
}

export async function startIssuer(
  t: { after(end: () => Promise<void>): void },
  house: Pick<House, 'clock'>,
  alg = 'ES256',
): Promise<FakeIssuer> {
  // What is published is remembered by its address, which must not come back with the port.
  const path = `/${randomUUID()}`
  const site = { discovery: newPage(), jwks: newPage() }
  const pages: Record<string, Page> = {
    [`${path}/.well-known/openid-configuration`]: site.discovery,
    [`${path}/keys`]: site.jwks,
  }
  const server = createServer((request, response) => {
    const page = pages[request.url ?? '']
    if (page) page.asked += 1
    response.writeHead(page?.status ?? 404, {
      'content-type': 'application/json',
      ...page?.headers,
    })
    response.end(page?.body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => new Promise((done) => server.close(() => done())))

  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`
  const jwksUri = `${issuer}/keys`
  site.discovery.body = JSON.stringify({ issuer, jwks_uri: jwksUri })
  const key = await newIssuerKey(alg)
  const publish = (...keys: IssuerKey[]) => {
    site.jwks.body = JSON.stringify({ keys: keys.map(({ jwk }) => jwk) })
  }
  publish(key)
  return {
    issuer,
    jwksUri,
    site,
    key,
    publish,
    idToken: (claims = {}, { header = {}, key: by = key } = {}) => {
      const now = Math.floor(house.clock.now.getTime() / 1000)
      const standard = { iss: issuer, sub: randomUUID(), aud: CLIENT, iat: now, exp: now + 300 }
      return new SignJWT({ ...standard, ...claims })
        .setProtectedHeader({ alg: by.jwk.alg as string, kid: by.jwk.kid as string, ...header })
        .sign(by.privateKey)
    },
  }
}

const newPage = (): Page => ({ status: 200, body: '', asked: 0, headers: {} })

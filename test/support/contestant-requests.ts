/** What contestants ask of the servers, through the doors like anybody else. */

import { generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import { CLIENT_ASSERTION_TYPE, GRANT, TOKEN_TYPE, TYP } from '../../src/oauth/names.ts'
import { authorizeUrl } from './browser.ts'
import type { Contestant } from './contestants.ts'
import type { Answer, Doors, Form } from './house.ts'

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
export const KID = 'the key of all contestants'
export const JWK = { ...publicKey.export({ format: 'jwk' }), kid: KID, alg: 'ES256' }
export const REDIRECT = 'https://agent.example/callback'
export const VERIFIER = 'v'.repeat(43)

const clientIdOf = ({ agent_id, document }: Pick<Contestant, 'agent_id' | 'document'>) =>
  document?.url ?? agent_id

/** A fresh client assertion, as form parameters. */
export function assertionOf(of: Contestant, issuer: string): Form {
  const client_id = clientIdOf(of)
  return {
    client_assertion_type: CLIENT_ASSERTION_TYPE,
    client_assertion: signed({ iss: client_id, sub: client_id, aud: issuer }),
  }
}

/** What its actor gives a contestant to present. */
export function actorTokenOf(of: Contestant, issuer: string): Form {
  if (of.actor === undefined) return {}
  const actor = clientIdOf(of.actor)
  const claims = { iss: actor, sub: actor, aud: issuer, client_id: clientIdOf(of) }
  return {
    actor_token: signed(claims, { typ: TYP.actorToken }),
    actor_token_type: TOKEN_TYPE.jwt,
  }
}

/** The exchange of a refresh token, or of an ID token where one is given or a trusted issuer makes one. */
export function exchange(
  at: Doors,
  of: Contestant,
  { id_token, ...overrides }: Form & { id_token?: string | undefined } = {},
  headers: Record<string, string> = {},
): Promise<Answer> {
  const { upstream } = of
  const idToken = upstream
    ? signed({ iss: upstream.issuer, sub: upstream.subject, aud: 'racer' })
    : id_token
  const fields = {
    grant_type: GRANT.tokenExchange,
    requested_token_type: TOKEN_TYPE.idJag,
    audience: of.alias ?? of.issuer,
    scope: 'docs.read',
    subject_token: idToken ?? of.refresh_token,
    subject_token_type: idToken ? TOKEN_TYPE.idToken : TOKEN_TYPE.refreshToken,
    ...of.asks,
    ...actorTokenOf(of, at.config.issuer),
    ...assertionOf(of, at.config.issuer),
    ...overrides,
  }
  return at.form('/oauth2/token', fields, headers)
}

/** Rotates the refresh token that the contestant holds, unless another is named. */
export const refresh = (
  at: Doors,
  of: Contestant,
  refresh_token = of.refresh_token,
  proof = assertionOf(of, at.config.issuer),
  headers: Record<string, string> = {},
): Promise<Answer> =>
  at.form('/oauth2/token', { grant_type: GRANT.refreshToken, refresh_token, ...proof }, headers)

export const redeem = (
  at: Doors,
  of: Contestant,
  proof = assertionOf(of, at.config.issuer),
  headers: Record<string, string> = {},
): Promise<Answer> =>
  at.form(
    '/oauth2/token',
    {
      grant_type: GRANT.authorizationCode,
      code: of.code,
      redirect_uri: REDIRECT,
      code_verifier: VERIFIER,
      ...proof,
    },
    headers,
  )

/** Sends the browser that holds the session for a code. */
export const authorize = (at: Doors, of: Contestant): Promise<Answer> =>
  at.inject({
    method: 'GET',
    url: authorizeUrl({ client_id: clientIdOf(of), redirect_uri: REDIRECT }),
    headers: { cookie: `session=${of.cookie}` },
  })

/** Presses the sign-out button in the browser that holds the session. */
export async function signOut(at: Doors, { cookie }: Contestant): Promise<Answer> {
  const headers = { cookie: `session=${cookie}` }
  const page = await at.inject({ method: 'GET', url: '/oauth2/logout', headers })
  const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1]
  return at.form('/oauth2/logout', { csrf }, headers)
}

/** A JWT of five minutes by the key of all. */
function signed(claims: object, header: object = {}): string {
  const now = Math.floor(Date.now() / 1000)
  const text = [
    { alg: 'ES256', kid: KID, ...header },
    { jti: randomUUID(), iat: now, exp: now + 300, ...claims },
  ]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')
  const signature = sign('sha256', Buffer.from(text), {
    key: privateKey,
    dsaEncoding: 'ieee-p1363',
  })
  return `${text}.${signature.toString('base64url')}`
}

/**
 * Paperclip, the relying app of the protocol reference, and Orbit, its identity provider: the static values
 * TV-01 to TV-06, ID-JAGs with one thing changed, and both of Paperclip's endpoints. Nothing goes over a wire.
 */
import assert from 'node:assert/strict'
import { createPrivateKey, type KeyObject, sign } from 'node:crypto'
import {
  type Accounts,
  createReplayStore,
  type FetchDocument,
  type IdentityEndpointContext,
  IssuerUnavailable,
  type Recognised,
  type Redeemable,
  type Refusal,
  type TokenEndpointContext,
  trustIssuer,
  verifyIdJag,
} from '../../src/relying-app/verify-id-jag.ts'

export const CLOCK = 1795276900
export const ORBIT = 'https://id.orbit.example'
export const PAPERCLIP = 'https://auth.paperclip.example'
export const API = 'https://api.paperclip.example/'
export const OTHER_API = 'https://other.paperclip.example/'
export const ID_JAG = 'urn:ietf:params:oauth:token-type:id-jag'

/** The example key of RFC 7515 A.3, private half included: it is in every copy of that document. */
export const KEY = {
  kty: 'EC',
  crv: 'P-256',
  x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
  y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
  kid: 'oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U',
}
const PRIVATE_KEY = { ...KEY, d: 'jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI' }

/** TV-05, letter by letter. */
export const TV_05 =
  'eyJhbGciOiJFUzI1NiIsInR5cCI6Im9hdXRoLWlkLWphZytqd3QiLCJraWQiOiJvS0l5d3ZHVXBUVlR5eE1RM2J3SUllUVV1ZGZyX0NrTE1qQ0UxOUVDRC1VIn0.eyJpc3MiOiJodHRwczovL2lkLm9yYml0LmV4YW1wbGUiLCJzdWIiOiJwXzRrRDkiLCJhdWQiOiJodHRwczovL2F1dGgucGFwZXJjbGlwLmV4YW1wbGUiLCJjbGllbnRfaWQiOiJodHRwczovL2lkLm9yYml0LmV4YW1wbGUvYWdlbnQtcHJvdmlkZXIuanNvbiIsImp0aSI6ImIyWnQwbTNuSjh5UXg2dTFyQzVhR1EiLCJpYXQiOjE3OTUyNzY4MDAsImV4cCI6MTc5NTI3NzEwMCwiYXV0aF90aW1lIjoxNzk1Mjc1MDAwLCJhbXIiOlsicHdkIiwib3RwIl0sImVtYWlsIjoia2ltQG9yYml0LmV4YW1wbGUiLCJlbWFpbF92ZXJpZmllZCI6dHJ1ZX0.SLdBIEPnMur6B4y2_dITZzgr7WdpveB8yZ5qD7fgb1_WtkR81PFLysqTRZ927NpTLSqhyIh843kp3hmmRVpU8Q'

/** TV-06, a revocation of the same key, for the same user and app: a security event token. */
export const TV_06 =
  'eyJhbGciOiJFUzI1NiIsInR5cCI6InNlY2V2ZW50K2p3dCIsImtpZCI6Im9LSXl3dkdVcFRWVHl4TVEzYndJSWVRVXVkZnJfQ2tMTWpDRTE5RUNELVUifQ.eyJpc3MiOiJodHRwczovL2lkLm9yYml0LmV4YW1wbGUiLCJzdWIiOiJwXzRrRDkiLCJhdWQiOiJodHRwczovL2F1dGgucGFwZXJjbGlwLmV4YW1wbGUiLCJqdGkiOiI4bUNxMlQ1dlgwYUtmN0x3WnIxeTNBIiwiaWF0IjoxNzk1Mjc3MDAwLCJldmVudHMiOnsiaHR0cHM6Ly9zY2hlbWFzLndvcmtvcy5jb20vZXZlbnRzL2FnZW50L2F1dGgvaWRlbnRpdHkvYXNzZXJ0aW9uL3Jldm9rZWQiOnt9fX0.LgsCYCH0z-r4AMVWhKA018sYcpfbVD8MBpAEMQG3CFBRll5mCm56_uYBsoLszrvTz40GECeJhl6xZzSLhc3b4g'

export const HEADER = { alg: 'ES256', typ: 'oauth-id-jag+jwt', kid: KEY.kid }
export const CLAIMS = {
  iss: ORBIT,
  sub: 'p_4kD9',
  aud: PAPERCLIP,
  client_id: `${ORBIT}/agent-provider.json`,
  jti: 'b2Zt0m3nJ8yQx6u1rC5aGQ',
  iat: 1795276800,
  exp: 1795277100,
  auth_time: 1795275000,
  amr: ['pwd', 'otp'],
  email: 'kim@orbit.example',
  email_verified: true,
}
export const PROVIDER_DOCUMENT = {
  client_id: CLAIMS.client_id,
  jwks_uri: `${ORBIT}/.well-known/jwks.json`,
}

type Change = Record<string, unknown>
export type Signer = (input: string) => Buffer

export const es256 =
  (key: KeyObject): Signer =>
  (input) =>
    sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
export const orbitSigns = es256(createPrivateKey({ key: PRIVATE_KEY, format: 'jwk' }))

/** A compact JWS of any two texts. */
export function jwsOf(header: string, payload: string, signer: Signer = orbitSigns): string {
  const input = [header, payload].map((text) => Buffer.from(text).toString('base64url')).join('.')
  return `${input}.${signer(input).toString('base64url')}`
}

/** TV-05's claims, with changes; what is set to undefined is left out. */
export const idJag = (claims: Change = {}, header: Change = {}, signer?: Signer): string =>
  jwsOf(JSON.stringify({ ...HEADER, ...header }), JSON.stringify({ ...CLAIMS, ...claims }), signer)

export type Net = { [url: string]: unknown }
/** What Orbit serves. */
export const ORBIT_NET: Net = {
  [`${ORBIT}/.well-known/oauth-authorization-server`]: {
    issuer: ORBIT,
    jwks_uri: `${ORBIT}/.well-known/jwks.json`,
  },
  [`${ORBIT}/.well-known/jwks.json`]: { keys: [{ ...KEY, use: 'sig', alg: 'ES256' }] },
}

/** Answers from `net`, and keeps a list of what it was asked. */
export function asker(net: Net = ORBIT_NET, maxAge?: number) {
  const asked: string[] = []
  const ask: FetchDocument = async (url) => {
    asked.push(url)
    const document = net[url]
    if (document === undefined) throw new IssuerUnavailable(`there is no ${url}`)
    return { document: document as Record<string, unknown>, maxAge }
  }
  return { ask, asked }
}

const nobody: Accounts = {
  findLinked: async () => undefined,
  findByContact: async () => undefined,
  startClaim: async () => ({}),
}

/** A new app each time: nothing is remembered. */
export const ras = (change: Partial<TokenEndpointContext> = {}): TokenEndpointContext => ({
  profile: 'idjag',
  self: PAPERCLIP,
  issuers: [trustIssuer(ORBIT, asker())],
  replay: createReplayStore(),
  now: () => new Date(CLOCK * 1000),
  client: { id: CLAIMS.client_id },
  asked: {},
  resources: [API, OTHER_API],
  defaultResources: [API],
  ...change,
})

export const authMd = (change: Partial<IdentityEndpointContext> = {}): IdentityEndpointContext => ({
  profile: 'authmd',
  self: PAPERCLIP,
  issuers: [trustIssuer(ORBIT, asker())],
  replay: createReplayStore(),
  now: () => new Date(CLOCK * 1000),
  assertionType: ID_JAG,
  accounts: nobody,
  ...change,
})

export const accounts = (of: Partial<Accounts>): Accounts => ({ ...nobody, ...of })

export async function redeemed(assertion: unknown, context = ras()): Promise<Redeemable> {
  const verdict = await verifyIdJag(assertion, context)
  assert.ok(verdict.ok, `refused: ${JSON.stringify(verdict)}`)
  return verdict
}

export async function recognised(assertion: unknown, context = authMd()): Promise<Recognised> {
  const verdict = await verifyIdJag(assertion, context)
  assert.ok(verdict.ok, `refused: ${JSON.stringify(verdict)}`)
  return verdict
}

export async function refused(
  assertion: unknown,
  context: TokenEndpointContext | IdentityEndpointContext,
): Promise<Refusal> {
  const verdict = await verify(assertion, context)
  assert.ok(!verdict.ok, 'it was accepted')
  // RFC 6749 §5.2, and fit for a quoted string of a header.
  assert.match(verdict.error_description, /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/)
  return verdict
}

/** Of either kind, for tests that go through both. */
export const verify = (
  assertion: unknown,
  context: TokenEndpointContext | IdentityEndpointContext,
): Promise<Redeemable | Recognised | Refusal> =>
  context.profile === 'authmd' ? verifyIdJag(assertion, context) : verifyIdJag(assertion, context)

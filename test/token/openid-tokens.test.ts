// The hashes in an ID token, judged by a client that computes them itself.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import * as oauth from 'oauth4webapi'
import { signJws } from '../../src/oauth/jws.ts'
import { numericDate } from '../../src/oauth/numeric-date.ts'
import { SIGNING_ALGS, type SigningAlg } from '../../src/oauth/signing-alg.ts'
import { idTokenClaims } from '../../src/token/openid-tokens.ts'
import { makeKeys } from '../oauth/jws-keys.ts'

const ISSUER = 'https://id.orbit.example'
const NONCE = 'the nonce'
const keys = makeKeys()

const claimsOf = (alg: SigningAlg, accessToken: string, now: Date) =>
  idTokenClaims(
    {
      issuer: ISSUER,
      client_id: 'agt_1',
      user: {
        id: 'usr_1',
        name: null,
        email: null,
        email_verified_at: null,
        phone_number: null,
        phone_verified_at: null,
      },
      session_id: 'ses_1',
      auth_time: now,
      amr: ['pwd'],
      family_id: 'rtf_1',
      scope: ['openid'],
      nonce: NONCE,
    },
    { now, lifetime: 600, alg, accessToken },
  )

/**
 * What oauth4webapi says of an ID token whose hash is ours. It checks that of a code alone, so ours of an access
 * token stands as that of a code: both are reckoned in the same way (OIDC Core §3.1.3.6, §3.3.2.11).
 */
async function judge(alg: SigningAlg, hashed: string, sent: string): Promise<void> {
  const now = new Date()
  const { at_hash: c_hash, ...claims } = claimsOf(alg, hashed, now)
  const kid = alg
  const idToken = signJws({ typ: 'JWT', kid }, { ...claims, c_hash }, alg, keys[alg].privateKey)
  const jwk = { ...keys[alg].publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' }
  const server = { issuer: ISSUER, jwks_uri: `${ISSUER}/jwks` }
  const client = { client_id: 'agt_1', id_token_signed_response_alg: alg }
  const response = new URL(
    `https://agent.example/#${new URLSearchParams({ code: sent, id_token: idToken })}`,
  )
  assert.equal(claims.iat, numericDate(now))
  await oauth.validateCodeIdTokenResponse(
    server,
    client,
    response,
    NONCE,
    oauth.expectNoState,
    oauth.skipAuthTimeCheck,
    { [oauth.customFetch]: async () => Response.json({ keys: [jwk] }) },
  )
}

for (const alg of SIGNING_ALGS) {
  test(`at_hash is by the hash of ${alg}, as clients reckon it (OP-20)`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.base64String({ minLength: 1 }), async (token) => {
        await judge(alg, token, token)
        await assert.rejects(judge(alg, token, `${token}x`), { message: /c_hash/ })
      }),
      { numRuns: 10 },
    )
  })
}

test('at_hash is half of the digest: 16 bytes of SHA-256, 24 of SHA-384, 32 of SHA-512', () => {
  const lengths = SIGNING_ALGS.map((alg) => {
    const { at_hash } = claimsOf(alg, 'an access token', new Date())
    return [alg, Buffer.from(at_hash, 'base64url').length]
  })
  const expected = { ES256: 16, RS256: 16, EdDSA: 32, PS256: 16, ES384: 24 }
  assert.deepEqual(Object.fromEntries(lengths), expected)
})

import { createHash, randomUUID, type webcrypto } from 'node:crypto'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import type { Doors } from './house.ts'

/** A key that a client proves to hold, with the thumbprint by which tokens are bound to it. */
export type DpopKey = { alg: string; jwk: JWK; jkt: string; privateKey: webcrypto.CryptoKey }

export async function newDpopKey(alg = 'ES256'): Promise<DpopKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true })
  const jwk = await exportJWK(publicKey)
  return { alg, jwk, jkt: await calculateJwkThumbprint(jwk), privateKey }
}

/** A proof for the token endpoint with nothing wrong with it, but for what is asked otherwise. */
export async function proofBy(
  { alg, jwk, privateKey }: DpopKey,
  house: Doors,
  { header = {}, ...claims }: Record<string, unknown> & { header?: object } = {},
): Promise<string> {
  const payload = {
    htm: 'POST',
    htu: `${house.config.issuer}/oauth2/token`,
    iat: Math.floor(house.clock.now.getTime() / 1000),
    jti: randomUUID(),
    ...claims,
  }
  return new SignJWT(payload)
    .setProtectedHeader({ alg, typ: 'dpop+jwt', jwk, ...header })
    .sign(privateKey)
}

/** The headers of a request with such a proof. */
export const proving = async (...of: Parameters<typeof proofBy>): Promise<{ dpop: string }> => ({
  dpop: await proofBy(...of),
})

/** What a proof says of the access token beside it (RFC 9449 §4.2). */
export const athOf = (accessToken: string): string =>
  createHash('sha256').update(accessToken, 'ascii').digest('base64url')

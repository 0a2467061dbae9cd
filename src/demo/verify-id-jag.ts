/**
 * What a relying app does with an ID-JAG before it believes a word of it, with nothing but `jose` and the
 * issuer's URL. The order is that of docs/relying-apps.md. Copy it.
 */
import { createRemoteJWKSet, errors, type JWTPayload, jwtVerify } from 'jose'

export type IdJag = JWTPayload & { sub: string; jti: string; client_id: string; scope?: string }

/** Why an ID-JAG was refused, in words for the client that presented it. */
export class IdJagError extends Error {
  override name = 'IdJagError'
}

/** Seconds that the two clocks may differ. */
const SKEW = 60

/**
 * Believes one issuer. Its keys come from its own metadata, whatever the header of a token may point at;
 * `jose` keeps them and asks again, not too often, when it meets a `kid` it does not know.
 */
export function createIdJagVerifier({ trusts, self }: { trusts: string; self: string }) {
  let known: Promise<ReturnType<typeof createRemoteJWKSet>> | undefined
  const keys = () => {
    known ??= findKeys(trusts).catch((error) => {
      known = undefined
      throw error
    })
    return known
  }
  const seen = createReplayStore()

  /** @throws {IdJagError} when it must not be accepted; another error when that cannot be told now */
  return async function verifyIdJag(assertion: string, clientId: string): Promise<IdJag> {
    const { payload } = await jwtVerify(assertion, await keys(), {
      typ: 'oauth-id-jag+jwt',
      algorithms: ['ES256', 'RS256'],
      issuer: trusts,
      audience: self,
      requiredClaims: ['sub', 'jti', 'client_id', 'exp'],
      clockTolerance: SKEW,
      maxTokenAge: 300,
    }).catch(asIdJagError)
    const claims = payload as IdJag
    // `jose` is content with an audience that is one of several: that token was made for others too.
    if ([claims.aud].flat().length !== 1) throw new IdJagError('it names several audiences')
    if (claims.client_id !== clientId) throw new IdJagError('it was made for another client')
    if (claims.cnf !== undefined) throw new IdJagError('it is bound to a key, and no proof came')
    if (!seen.add(claims)) throw new IdJagError('it was presented before')
    return claims
  }
}

async function findKeys(issuer: string) {
  const answer = await fetch(`${issuer}/.well-known/oauth-authorization-server`, {
    redirect: 'error',
    signal: AbortSignal.timeout(5_000),
  })
  if (!answer.ok) throw new Error(`the metadata of ${issuer} cannot be had: ${answer.status}`)
  const metadata = (await answer.json()) as { issuer?: unknown; jwks_uri?: unknown }
  if (metadata.issuer !== issuer) throw new Error(`the metadata is not that of ${issuer}`)
  return createRemoteJWKSet(new URL(String(metadata.jwks_uri)))
}

/** Each `jti` once, as long as its token could be accepted. Several replicas need one shared store instead. */
function createReplayStore() {
  const ends = new Map<string, number>()
  return {
    add({ jti, exp = 0 }: IdJag): boolean {
      const now = Date.now() / 1000
      for (const [known, end] of ends) if (end < now) ends.delete(known)
      if (ends.has(jti)) return false
      ends.set(jti, exp + SKEW)
      return true
    },
  }
}

/** A JWKS that cannot be read says nothing about the token. */
function asIdJagError(error: unknown): never {
  const unreachable = error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid
  const judged = error instanceof errors.JOSEError && error.code !== 'ERR_JOSE_GENERIC'
  if (judged && !unreachable) throw new IdJagError(error.message, { cause: error })
  throw error
}

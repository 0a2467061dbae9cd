import type { Deps } from '../deps.ts'
import { decodeJws, verifyJws } from '../oauth/jws.ts'
import { TYP } from '../oauth/names.ts'
import { numericDate } from '../oauth/numeric-date.ts'
import type { KeyRing } from './key-ring.ts'

/** Seconds that another replica's clock may be ahead. */
const SKEW = 5

/** What a ring takes for a token of its own server. */
export function createVerifiers(
  { upToDate, verificationKey }: Pick<KeyRing, 'upToDate' | 'verificationKey'>,
  { config: { issuer }, now }: Pick<Deps, 'config' | 'now'>,
): Pick<KeyRing, 'verifyOwn' | 'verifyAccessToken'> {
  const verifyOwn: KeyRing['verifyOwn'] = async (typ, token) => {
    const jws = decodeJws(token)
    if (!jws || jws.header.typ !== typ || typeof jws.header.kid !== 'string') return undefined
    await upToDate()
    const known = verificationKey('id_token', jws.header.kid)
    if (!known || !verifyJws(jws, known.alg, known.key)) return undefined
    return jws.payload.iss === issuer ? jws.payload : undefined
  }
  return {
    verifyOwn,
    async verifyAccessToken(audience, token) {
      const claims = await verifyOwn(TYP.accessToken, token)
      if (claims === undefined || claims.aud !== audience) return undefined
      const { exp, iat } = claims
      const at = numericDate(now())
      if (typeof exp !== 'number' || exp <= at) return undefined
      if (typeof iat !== 'number' || iat > at + SKEW) return undefined
      return claims
    },
  }
}
